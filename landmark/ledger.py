"""Views over the commit marks: what is committed, what has holes. Never the truth themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from landmark.commits import CommitMark, atomic_path, read_mark
from landmark.dataset import Dataset
from landmark.errors import LandmarkError

_LEDGER = pa.schema(
    [
        ("shard", pa.string()),
        ("rows", pa.int64()),
        ("nbytes", pa.int64()),
        ("filtered", pa.int64()),
        ("holes", pa.int64()),
        ("xxh3", pa.string()),
        ("fingerprint", pa.string()),
    ]
)
_FAILURES = pa.schema(
    [
        ("shard", pa.string()),
        ("patch_id", pa.string()),
        ("stage", pa.string()),
        ("cause", pa.string()),
        ("attempts", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Committed:
    """All committed patch shards.

    Attributes:
        marks: Shard name -> its commit mark, in name order.
    """

    marks: dict[str, CommitMark]

    @property
    def patches(self) -> int:
        """Patches written."""
        return sum(mark.rows for mark in self.marks.values())

    @property
    def holes(self) -> int:
        """Patches that could not be made."""
        return sum(len(mark.holes) for mark in self.marks.values())

    def filtered_by_rule(self) -> dict[str, int]:
        """Count what the manifest's rules rejected at fetch, by rule."""
        counts = Counter(f.rule for mark in self.marks.values() for f in mark.filtered)
        return dict(sorted(counts.items()))


def committed_shards(dataset: Dataset) -> Committed:
    """Read the commit marks of all patch shards.

    A damaged mark counts as not committed, so that the next run makes the shard again.
    """
    marks: dict[str, CommitMark] = {}
    for path in sorted(dataset.patches.glob("s[12]-[0-9]*.parquet")):
        mark = readable_mark(path)
        if mark is not None:
            marks[path.stem] = mark
    return Committed(marks)


def readable_mark(path: Path) -> CommitMark | None:
    """Return the mark of a file, or None where it is missing or damaged."""
    try:
        return read_mark(path)
    except LandmarkError:
        return None


def write_views(dataset: Dataset) -> Committed:
    """Rebuild ledger.parquet and failures.parquet from the commit marks."""
    committed = committed_shards(dataset)
    ledger = [
        {
            "shard": name,
            "rows": mark.rows,
            "nbytes": mark.nbytes,
            "filtered": len(mark.filtered),
            "holes": len(mark.holes),
            "xxh3": mark.xxh3,
            "fingerprint": mark.fingerprint,
        }
        for name, mark in committed.marks.items()
    ]
    failures = [
        {
            "shard": name,
            "patch_id": hole.patch_id,
            "stage": hole.stage,
            "cause": hole.cause,
            "attempts": hole.attempts,
        }
        for name, mark in committed.marks.items()
        for hole in mark.holes
    ]
    _write(dataset.ledger, pa.Table.from_pylist(ledger, schema=_LEDGER))
    _write(dataset.failures, pa.Table.from_pylist(failures, schema=_FAILURES))
    return committed


def _write(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
