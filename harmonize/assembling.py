"""Step 3: shards/, each file a pure function of its index rows.

Image frames are copied as bytes; labels and texts are joined to them. Only where patch shards of
several storage profiles meet in one shard are frames written anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landmark.codec import frame_xxh3, transcode
from landmark.commits import hash_json, mark_path, read_mark, remove_committed
from landmark.dataset import Dataset
from landmark.errors import LandmarkError
from landmark.ledger import readable_mark
from landmark.schema import (
    LABEL_FIELDS,
    PATCH_FIELDS,
    SCHEMA_VERSION,
    TEXT_FIELDS,
    ImageLayout,
    shard_schema,
)
from landmark.shards import ShardReader, commit_shard

_INDEX_COLUMNS = (
    *("patch_id", "patch_file", "patch_row", "shard_row", "split", "pair_id"),
    *("caption", "caption_long"),
)
_PATCH_COLUMNS = tuple(field.name for field in PATCH_FIELDS if field.name != "image")
_LABEL_COLUMNS = tuple(field.name for field in LABEL_FIELDS)


@dataclass(frozen=True)
class AssembleTask:
    """One shard to put together: small and picklable.

    Attributes:
        root: The dataset directory, absolute.
        shard: File relative to it, e.g. `shards/s2/train-00000-of-00003.parquet`.
        rows: Patches of the shard.
        fingerprint: Hash of everything the shard is a function of.
    """

    root: str
    shard: str
    rows: int
    fingerprint: str


def plan_shards(dataset: Dataset, index: pa.Table) -> tuple[AssembleTask, ...]:
    """Return the task of every shard the index numbers, in index order.

    Raises:
        LandmarkError: A patch shard or its labels are not committed.
    """
    contents: dict[str, str] = {}
    for name in sorted(set(index["patch_file"].to_pylist())):
        shard = Path(name).stem
        contents[name] = _content(dataset.patch_shard(shard)) + _content(dataset.label_shard(shard))
    tasks = []
    for shard, start, count in _runs(index["shard_file"]):
        if shard:
            rows = index.slice(start, count).select(_INDEX_COLUMNS).to_pydict()
            sources = {name: contents[name] for name in sorted(set(rows["patch_file"]))}
            print_of = hash_json({"schema": SCHEMA_VERSION, "rows": rows, "sources": sources})
            tasks.append(AssembleTask(str(dataset.root.resolve()), shard, count, print_of))
    return tuple(tasks)


def is_whole(task: AssembleTask) -> bool:
    """Return whether a task's shard is committed and up to date."""
    mark = readable_mark(Path(task.root) / task.shard)
    return mark is not None and mark.fingerprint == task.fingerprint


def remove_others(dataset: Dataset, shards: Iterable[str]) -> int:
    """Remove every shard file (and mark) under shards/ that is not one of `shards`.

    Shards of an earlier numbering would be read as part of a split. Returns how many were
    removed.
    """
    keep = {dataset.root / shard for shard in shards}
    found = {
        path.with_suffix(".parquet")
        for sensor in ("s1", "s2")
        for path in (dataset.shards / sensor).glob("*-of-*.*")
        if path.suffix in (".parquet", ".json")
    }
    for path in sorted(found - keep):
        remove_committed(path)
    for sensor in ("s1", "s2"):
        folder = dataset.shards / sensor
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return len(found - keep)


def assemble_shard(task: AssembleTask) -> int:
    """Put one shard together and commit it; return its number of patches.

    Raises:
        LandmarkError: A source file is damaged, or the index does not hold the shard.
    """
    dataset = Dataset(Path(task.root))
    index = pq.read_table(
        dataset.index, columns=list(_INDEX_COLUMNS), filters=[("shard_file", "=", task.shard)]
    ).sort_by("shard_row")
    if index.num_rows != task.rows:
        raise LandmarkError(
            f"{dataset.index}: holds {index.num_rows} rows of {task.shard}, {task.rows} were "
            "planned; run `landmark harmonize` again"
        )
    commit_shard(dataset.root / task.shard, _shard_table(dataset, index), task.fingerprint)
    return task.rows


def _complete(patches: pa.Table) -> pa.Table:
    """Return rows of patches/ with the columns that early files lack, which say nothing there."""
    for field in PATCH_FIELDS:
        if field.name == "image":
            continue
        if field.name not in patches.column_names:
            patches = patches.append_column(field, pa.nulls(patches.num_rows, field.type))
        elif pa.types.is_struct(field.type):
            place = patches.column_names.index(field.name)
            patches = patches.set_column(place, field, patches[field.name].cast(field.type))
    return patches


def _shard_table(dataset: Dataset, index: pa.Table) -> pa.Table:
    files = index["patch_file"].to_pylist()
    rows = index["patch_row"].to_numpy()
    frames: list[bytes] = [b""] * index.num_rows
    parts: list[pa.Table] = []
    places: list[np.ndarray[Any, np.dtype[np.int64]]] = []
    layout: ImageLayout | None = None
    for name in sorted(set(files)):
        here = np.flatnonzero([file == name for file in files])
        shard = Path(name).stem
        with ShardReader(dataset.patch_shard(shard)) as reader:
            # The first file says how the shard is stored; others may follow another profile.
            layout = layout or reader.layout
            for place in here.tolist():
                frame = reader.frame(int(rows[place]))
                frames[place] = transcode(frame, reader.layout, layout)
            patches = reader.table(_PATCH_COLUMNS)
        labels = pq.read_table(dataset.label_shard(shard), columns=list(_LABEL_COLUMNS))
        own = pa.array(rows[here])
        part = _complete(patches.take(own).replace_schema_metadata(None))
        for field in LABEL_FIELDS:
            part = part.append_column(field, labels[field.name].take(own))
        parts.append(part)
        places.append(here)
    if layout is None:
        raise LandmarkError("a shard without patches cannot be assembled")
    table = pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(places))))
    if table["patch_id"].to_pylist() != index["patch_id"].to_pylist():
        raise LandmarkError("the index does not match patches/; run `landmark harmonize` again")
    partners = index["pair_id"]
    replaced = {
        "image": pa.array(frames, pa.binary()),
        "image_nbytes": pa.array([len(frame) for frame in frames], pa.uint32()),
        "image_xxh3": pa.array([frame_xxh3(frame) for frame in frames], pa.uint64()),
        "pair_id": partners,
        "pair_gap_s": pc.if_else(pc.is_valid(partners), table["pair_gap_s"], None),
        **{field.name: index[field.name] for field in TEXT_FIELDS},
    }
    schema = shard_schema(layout)
    held = {name: replaced[name] if name in replaced else table[name] for name in schema.names}
    return pa.table(held).cast(schema)


def _content(path: Path) -> str:
    mark = read_mark(path)
    if mark is None:
        raise LandmarkError(f"{mark_path(path)}: is missing; run the command that makes it again")
    return mark.xxh3


def _runs(column: pa.ChunkedArray) -> list[tuple[str, int, int]]:
    """Return (value, start, length) of every run of equal values."""
    values = column.to_pylist()
    edges = [i for i in range(len(values)) if i == 0 or values[i] != values[i - 1]]
    return [
        (values[start], start, stop - start)
        for start, stop in zip(edges, [*edges[1:], len(values)], strict=True)
    ]
