"""`landmark check`: reading the index and the split to audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harmonize.audit import Audit, Limits, audit
from harmonize.foreign_splits import published_split, read_split
from harmonize.indexing import INDEX_SCHEMA
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.manifest_file import load_manifest
from landmark.progress import Progress

#: Columns of the index an audit looks at.
COLUMNS = (
    *("patch_id", "sensor", "split", "label_mask", "known_mask", "lon", "lat", "epsg"),
    *("x_min", "y_max", "partner_id", "scene", "datatake", "event_ids"),
)


def check(
    root: Path, limits: Limits, splits: Path | None, *, published: bool, progress: Progress
) -> Audit:
    """Audit the split of a dataset, or another one of its patches.

    Args:
        root: The dataset directory, harmonized.
        limits: What is allowed.
        splits: A CSV file with another split, or None.
        published: Audit the published style, drawn by the manifest's seed.
        progress: Is told how far the work is.

    Raises:
        InputError: The dataset was not harmonized, or the CSV file is wrong.
    """
    dataset = Dataset(root)
    progress.start("audit", 2)
    index = read_index(dataset)
    if splits is not None:
        split = read_split(splits, index["patch_id"].to_pylist())
    elif published:
        manifest = load_manifest(str(dataset.require(dataset.manifest, "fetch")))
        split = published_split(index, manifest.seed)
    else:
        split = np.array(index["split"].to_pylist(), dtype=np.str_)
    progress.advance()
    result = audit(index, split, limits)
    progress.advance()
    progress.finish()
    return result


def read_index(dataset: Dataset) -> pa.Table:
    """Read the columns of index.parquet an audit looks at.

    Raises:
        InputError: There is no index, or an older version of this program wrote it.
    """
    path = dataset.require(dataset.index, "harmonize")
    schema = pq.read_schema(path)
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise InputError(
            f"{path}: lacks the column {missing[0]}: an older version wrote it; run `landmark "
            "harmonize` again"
        )
    wanted = pa.schema([INDEX_SCHEMA.field(name) for name in COLUMNS])
    return pq.read_table(path, columns=list(COLUMNS)).cast(wanted)
