"""stackstac cutting patches, for `fetch_disk.py`: runs in an interpreter of its own.

Reads `task.json` of the folder given, writes `patches.npy` there, prints CPU and wall seconds of
the cutting. Needs stackstac 0.5, pandas 2, rasterio and pystac; nothing of landmark.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from pathlib import Path

import dask
import numpy as np
import stackstac
from rasterio.enums import Resampling

SIZE_M = 1200


def main(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    left, top = task["corner"]
    out = np.empty((len(task["cells"]), len(task["bands"]), 120, 120), np.uint16)
    cpu, wall = time.process_time(), time.perf_counter()
    with dask.config.set(scheduler="synchronous"):
        for patch, (column, row) in zip(out, task["cells"], strict=True):
            x, y = left + column * SIZE_M, top - row * SIZE_M
            stack = stackstac.stack(
                [task["item"]],
                assets=task["bands"],
                epsg=32632,
                resolution=10,
                bounds=(x, y - SIZE_M, x + SIZE_M, y),
                dtype=np.dtype("uint16"),
                fill_value=np.uint16(0),
                rescale=False,
                resampling=Resampling.nearest,
                xy_coords=False,
            )
            patch[...] = stack.values[0]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    np.save(folder / "patches.npy", out)
    versions = {name: importlib.metadata.version(name) for name in ("stackstac", "pandas")}
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "versions": versions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
