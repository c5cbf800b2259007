"""The corpus: manifest -> scenes -> plan -> patches -> shards."""
