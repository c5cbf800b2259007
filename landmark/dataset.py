"""The dataset directory: where everything lies, and how a dataset is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landmark.errors import InputError

if TYPE_CHECKING:
    from landmark.opened import OpenDataset

SPLITS: tuple[str, ...] = ("train", "val", "corpus")
#: A URL that went through `Path`, which makes one slash of two.
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


@dataclass(frozen=True)
class Dataset:
    """A dataset directory. Holds paths only; nothing is read until asked for."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The resolved manifest (YAML)."""
        return self.root / "manifest.yaml"

    @property
    def plan(self) -> Path:
        """One row per candidate patch (GeoParquet)."""
        return self.root / "plan.parquet"

    @property
    def patches(self) -> Path:
        """What fetch writes: `s1-00000.parquet` and its commit mark, ..."""
        return self.root / "patches"

    @property
    def labels(self) -> Path:
        """What harmonize step 1 writes: one file per patch shard."""
        return self.root / "labels"

    @property
    def shards(self) -> Path:
        """The portable form: shards per sensor and split, index, queries, card."""
        return self.root / "shards"

    @property
    def index(self) -> Path:
        """Which patch lies where, in which split (harmonize step 2)."""
        return self.shards / "index.parquet"

    @property
    def queries(self) -> Path:
        """Text queries, one JSON object per line."""
        return self.shards / "queries.jsonl"

    @property
    def qrels(self) -> Path:
        """Relevance files (TREC)."""
        return self.shards / "qrels"

    @property
    def runs(self) -> Path:
        """One folder per training run."""
        return self.root / "runs"

    @property
    def ledger(self) -> Path:
        """View of all committed shards, rebuilt from their marks."""
        return self.root / "ledger.parquet"

    @property
    def failures(self) -> Path:
        """View of all holes, rebuilt from the commit marks."""
        return self.root / "failures.parquet"

    @property
    def cache(self) -> Path:
        """Search answers, headers, the sandbox, locks: safe to delete."""
        return self.root / "cache"

    @property
    def report(self) -> Path:
        """The self-contained report page."""
        return self.root / "report.html"

    def patch_shard(self, name: str) -> Path:
        """Return the file of a patch shard such as `s1-00003`."""
        return self.patches / f"{name}.parquet"

    def label_shard(self, name: str) -> Path:
        """Return the labels file of a patch shard."""
        return self.labels / f"{name}.parquet"

    def split_shards(self, sensor: str, split: str) -> list[Path]:
        """Return the committed shard files of a sensor and split, in order."""
        return sorted((self.shards / sensor).glob(f"{split}-[0-9]*.parquet"))

    def require(self, path: Path, command: str) -> Path:
        """Return `path` if it exists.

        Raises:
            InputError: It does not; the message names the command that makes it.
        """
        if not path.exists():
            if _URL.match(str(self.root)):
                # Whatever may be a secret is left out: user information and query.
                # A path has lost one of the URL's two slashes.
                shown = re.sub(r":/+(?:[^/]*@)?", "://", str(self.root)).partition("?")[0]
                raise InputError(
                    f"{shown}: commands work on a dataset directory of this machine; copy it "
                    "here (rclone, aws s3 sync, ...), or read it from Python: docs/reading.md"
                )
            if not self.root.is_dir():
                raise InputError(f"{self.root}: no such dataset directory")
            missing = path.relative_to(self.root)
            raise InputError(f"{self.root}: holds no {missing}; run `landmark {command}` first")
        return path


def open(  # noqa: A001 (`landmark.dataset.open` reads as what it does)
    path: str | Path,
    *,
    sensor: str | None = None,
    split: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> OpenDataset:
    """Open a dataset for reading rows, images, xarray and geopandas by patch id.

    Args:
        path: The dataset directory, or a URL (https, s3, gs, ...) under which its shards/ lie;
            behind a URL whole row groups of 64 patches are read (docs/reading.md).
        sensor: `s1` or `s2`; None: both.
        split: `train`, `val` or `corpus` (needs shards/); None: all patches.
        options: For the file system behind a URL (`landmark.remote_files.RemoteFolder`).

    Raises:
        InputError: There is no such dataset, or it holds no such patches.
    """
    from landmark.opened import OpenDataset
    from landmark.opened_files import SENSORS, LocalFiles, RemoteFiles
    from landmark.remote_files import is_remote

    for kind, word, known in (("sensor", sensor, SENSORS), ("split", split, SPLITS)):
        if word is not None and word not in known:
            raise InputError(f"unknown {kind} {word!r}: {', '.join(known)}")
    if is_remote(str(path)):
        return OpenDataset(RemoteFiles(str(path), sensor, split, options))
    return OpenDataset(LocalFiles(Dataset(Path(path)), sensor, split))
