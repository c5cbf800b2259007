"""Side-by-side measurements against peers: one script each, results under `results/`."""
