"""Checking every committed byte of a dataset against its commit marks and seals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark.commits import damage
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.loose_files import broken
from landmark.progress import Progress


@dataclass(frozen=True)
class Damage:
    """One damaged file: its path inside the dataset, and what is wrong."""

    file: str
    cause: str


@dataclass(frozen=True)
class VerifySummary:
    """What verification found.

    Attributes:
        shards: Files with commit marks that were checked.
        bad: What is damaged.
    """

    shards: int
    bad: tuple[Damage, ...]

    @property
    def ok(self) -> bool:
        """True if nothing is damaged."""
        return not self.bad

    def to_dict(self) -> dict[str, Any]:
        """Return `{ok, shards, bad: [{file, cause}]}`."""
        return {
            "ok": self.ok,
            "shards": self.shards,
            "bad": [{"file": bad.file, "cause": bad.cause} for bad in self.bad],
        }


def verify(root: Path, progress: Progress) -> VerifySummary:
    """Check every file of patches/, labels/ and shards/, byte by byte.

    Raises:
        InputError: The directory holds no dataset.
    """
    dataset = Dataset(root)
    dataset.require(dataset.patches, "fetch")
    files = list(_marked_files(dataset))
    if not files:
        raise InputError(f"{root}: holds no committed shard; run `landmark fetch` first")
    progress.start("verify", len(files))
    bad = []
    for path in files:
        cause = damage(path)
        if cause is not None:
            bad.append(Damage(path.relative_to(root).as_posix(), cause))
        progress.advance(1, holes=int(cause is not None))
    progress.finish()
    if dataset.index.exists():
        bad += [Damage(f"shards/{line.file}", line.cause) for line in broken(dataset.shards)]
    return VerifySummary(shards=len(files), bad=tuple(bad))


def _marked_files(dataset: Dataset) -> Iterator[Path]:
    """Yield every data file that has, or should have, a commit mark of its own."""
    for folder in (dataset.patches, dataset.labels, dataset.shards / "s1", dataset.shards / "s2"):
        data = set(folder.glob("*.parquet"))
        # A mark whose data file is gone is damage too.
        data |= {mark.with_suffix(".parquet") for mark in folder.glob("*.json")}
        yield from sorted(data)
