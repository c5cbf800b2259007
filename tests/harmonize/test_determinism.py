"""Splits, queries and relevance files do not depend on hash seeds or the order of shards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harmonize.datasets import manifest, square, write

_PROGRAM = """
import hashlib, sys
from pathlib import Path
from harmonize.gathering import gather
from harmonize.indexing import build_index
from harmonize.publishing import Publication, publish
from landmark.dataset import Dataset
from landmark.manifest_file import load_manifest
dataset = Dataset(Path(sys.argv[1]))
names = sorted(path.stem for path in dataset.patches.glob("*.parquet"))
names = names[::-1] if sys.argv[2] == "backwards" else names
manifest = load_manifest(str(dataset.manifest))
gathered = gather(dataset, names)
index = build_index(gathered.table, manifest)
publish(dataset, Publication(manifest, gathered.sources, index.table, index.warnings), [])
for path in sorted(dataset.shards.rglob("*")):
    if path.is_file():
        print(path.relative_to(dataset.shards), hashlib.sha256(path.read_bytes()).hexdigest())
"""


@pytest.mark.integration
def test_bytes_are_equal_under_hash_seeds_and_shard_orders(tmp_path: Path) -> None:
    rules = manifest(queries={"min_relevant": 2, "negations": True})
    dataset = write(tmp_path / "data", square(10), rules)
    answers = set()
    for seed, order in (("0", "forwards"), ("1", "backwards")):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(dataset.root), order],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers.add(done.stdout)
    (answer,) = answers
    for name in ("index.parquet", "queries.jsonl", "qrels/binary.tsv", "qrels/graded.tsv"):
        assert name in answer
