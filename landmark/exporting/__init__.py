"""`landmark export`: a dataset's patches in the forms other tools read.

A form is a module with `write(records, folder, context)`. The folder is written under another
name beside its own and gets its name when it is whole.
"""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.exporting.records import Selection, count_records, read_records, select
from landmark.progress import Progress

#: Format -> module that writes it.
MODULES: dict[str, str] = {
    "crisislandmark-hdf5": "landmark.exporting.crisislandmark_hdf5",
    "webdataset": "landmark.exporting.webdataset",
    "geotiff": "landmark.exporting.geotiff",
}


@dataclass(frozen=True)
class ExportSummary:
    """What was written.

    Attributes:
        format: Its format.
        folder: Where.
        patches: Patches written.
        files: Files written.
        seconds: Wall time.
    """

    format: str
    folder: str
    patches: int
    files: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values under the attributes' names."""
        return {**vars(self), "seconds": round(self.seconds, 3)}


def export(
    root: Path, name: str, folder: Path, patch_ids: Sequence[str], progress: Progress
) -> ExportSummary:
    """Write a dataset's patches (or some of them) in another format.

    Args:
        root: A harmonized dataset.
        name: One of `MODULES`.
        folder: Where; it must not exist, or be empty.
        patch_ids: Only these; empty: all patches of all splits.
        progress: Told of every patch.

    Raises:
        InputError: There is no such format, folder or patch, or the dataset has no shards.
    """
    started = time.monotonic()
    if name not in MODULES:
        raise InputError(f"--format {name}: there are {', '.join(MODULES)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--out {folder}: exists and is not an empty folder")
    if not folder.absolute().parent.is_dir():
        raise InputError(f"--out {folder}: its folder does not exist")
    dataset = Dataset(root)
    chosen = select(dataset, patch_ids)
    part = folder.absolute().with_name(f".{folder.name}.part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir()
    try:
        patches = _write(name, dataset, chosen, part, progress)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    files = sum(path.is_file() for path in folder.rglob("*"))
    return ExportSummary(name, str(folder), patches, files, time.monotonic() - started)


def _write(name: str, dataset: Dataset, chosen: Selection, part: Path, progress: Progress) -> int:
    progress.start("export", count_records(chosen))
    written = importlib.import_module(MODULES[name]).write(
        read_records(chosen, progress), part, dataset
    )
    progress.finish()
    return int(written)
