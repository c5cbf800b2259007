"""Splits other than a dataset's own: a stranger's CSV, or the published style drawn at random."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harmonize.indexing import places_of
from harmonize.splits import SplitPatches, assign
from landmark.errors import InputError
from landmark.manifest import Splits

#: Split of the published corpus: a fifth for training, the rest to be searched, at random.
PUBLISHED = Splits(method="random", train=0.2, val=0.0, corpus=0.8)


def published_split(index: pa.Table, seed: int) -> NDArray[np.str_]:
    """Return the split in the published style of an index's patches, (n,) str."""
    patches = SplitPatches(
        index["patch_id"].to_pylist(),
        places_of(index),
        index["label_mask"].to_numpy().astype(np.int64),
    )
    return assign(patches, PUBLISHED, seed).split


def read_split(path: Path, patch_ids: list[str]) -> NDArray[np.str_]:
    """Read a split from a CSV file with the columns `patch_id` and `split`.

    Other columns are ignored; an empty split leaves the patch in none, and so does a patch the
    file does not name.

    Args:
        path: The file; UTF-8, comma or tab between columns.
        patch_ids: Patches of the dataset.

    Returns:
        (n,) str, the split of each patch of the dataset.

    Raises:
        InputError: The file cannot be read, lacks a column, names a patch twice or one the
            dataset does not have.
    """
    known = {patch_id: row for row, patch_id in enumerate(patch_ids)}
    split = [""] * len(patch_ids)
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter="\t" if "\t" in head else ",", strict=True)
            _require_columns(path, reader.fieldnames or [])
            for row in reader:
                origin = f"{path}:{reader.line_num}"
                name = (row["patch_id"] or "").strip()
                if name not in known:
                    raise InputError(
                        f"{origin}: patch_id: the dataset has no patch {name!r}; ids are those of "
                        "shards/index.parquet"
                    )
                if name in seen:
                    raise InputError(f"{origin}: patch_id: {name!r} stands twice; keep one line")
                if row["split"] is None:
                    raise InputError(f"{origin}: split: the line ends before it")
                seen.add(name)
                split[known[name]] = row["split"].strip()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV file of splits ({error})") from None
    if not any(split):
        raise InputError(f"{path}: puts no patch in a split; give lines of patch_id,split")
    return np.array(split, dtype=np.str_)


def _require_columns(path: Path, columns: object) -> None:
    names = list(columns) if isinstance(columns, list | tuple) else []
    for column in ("patch_id", "split"):
        if column not in names:
            raise InputError(
                f"{path}:1: no column {column!r} among {', '.join(map(str, names)) or 'none'}; "
                "the first line must name patch_id and split"
            )
