"""Step 2: which patch belongs to which split, and where in shards/ it will lie.

One process, small columns only. The index is a pure function of patches/, labels/ and the
manifest; equal inputs give equal bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harmonize.gathering import GATHERED_SCHEMA, centres
from harmonize.hashing import draws
from harmonize.places import Places
from harmonize.splits import SplitPatches, assign
from harmonize.text_codes import coded_schema, distinct
from harmonize.ties import Kind, ties_of
from landmark.dataset import SPLITS
from landmark.manifest import Manifest
from landmark.schema import METADATA_KEY, SCHEMA_VERSION

#: Patch shards whose patches are shuffled together. More would mix no better to the eye of a
#: model, but every shard would have to be put together from as many files.
MIXED_FILES = 64
#: Rows of a row group of index.parquet.
_GROUP_ROWS = 1 << 16

_ORDER = (
    *("patch_id", "sensor", "split", "drop_reason", "patch_file", "patch_row"),
    *("shard_file", "shard_row", "label_mask", "known_mask", "caption", "caption_long"),
    *("datetime", "lon", "lat", "epsg", "x_min", "y_max", "pair_id", "block"),
    *("partner_id", "scene", "datatake", "event_ids", "licences", "attributions"),
)
_OWN_FIELDS = {
    "split": pa.field("split", pa.string(), nullable=False),
    "drop_reason": pa.field("drop_reason", pa.string(), nullable=False),
    "shard_file": pa.field("shard_file", pa.string(), nullable=False),
    "shard_row": pa.field("shard_row", pa.int32(), nullable=False),
    "block": pa.field("block", pa.string(), nullable=False),
}
#: Columns of index.parquet. `split` is "" for a dropped patch, whose `drop_reason` says why;
#: `shard_file` is "" and `shard_row` -1 where shards/ does not hold the patch. `pair_id` is null
#: unless the partner exists and is in the same split; `partner_id` is what the plan chose, so that
#: a split can be audited. `licences` names the strictest first.
INDEX_SCHEMA = pa.schema(
    [_OWN_FIELDS.get(name) or GATHERED_SCHEMA.field(name) for name in _ORDER],
    metadata={METADATA_KEY: json.dumps({"schema": SCHEMA_VERSION}).encode()},
)


@dataclass(frozen=True)
class Index:
    """The index and what deciding it brought up.

    Attributes:
        table: `INDEX_SCHEMA` with coded texts: kept patches in the order of the shards (sensor,
            split, shard, row), dropped ones after them.
        warnings: One line each.
        kept_whole: Kinds of ties that no two splits share.
    """

    table: pa.Table
    warnings: tuple[str, ...]
    kept_whole: tuple[Kind, ...] = ()


def build_index(table: pa.Table, manifest: Manifest, own: Mapping[str, str] | None = None) -> Index:
    """Decide splits, shard numbers and partners of all patches.

    Args:
        table: All patches, `GATHERED_SCHEMA` with coded texts.
        manifest: The split rules.
        own: patch_id -> the split its archive publishes it in (`splits.method: source`).
    """
    patches = SplitPatches(
        patch_ids=table["patch_id"].to_pylist(),
        places=places_of(table),
        label_masks=table["label_mask"].to_numpy().astype(np.int64),
        ties=ties_of(table),
        years=pc.year(table["datetime"]).to_numpy(),
        own=own,
    )
    assignment = assign(patches, manifest.splits, manifest.seed)
    columns = {"split": assignment.split, "drop_reason": assignment.drop_reason}
    for name, values in (columns | {"block": assignment.block}).items():
        table = table.append_column(_OWN_FIELDS[name], pa.array(values.tolist(), pa.string()))
    table = _same_split_partners(table)
    table = table.take(pa.array(_shard_order(table, manifest.seed)))
    files, rows = _number(table, manifest.shards.rows)
    table = table.append_column(_OWN_FIELDS["shard_file"], files).append_column(
        _OWN_FIELDS["shard_row"], rows
    )
    table = table.select(_ORDER).cast(coded_schema(INDEX_SCHEMA)).combine_chunks()
    return Index(table, assignment.warnings, assignment.kept_whole)


def places_of(table: pa.Table) -> Places:
    """Return where the patches of a gathered table or an index lie."""
    x, y = centres(table)
    return Places(
        epsg=table["epsg"].to_numpy().astype(np.int64),
        x=x,
        y=y,
        lon=table["lon"].to_numpy(),
        lat=table["lat"].to_numpy(),
    )


def without_shards(index: pa.Table, keep: frozenset[str]) -> pa.Table:
    """Return the index with `shard_file` only where it is one of `keep`."""
    held = pc.is_in(index["shard_file"], pa.array(sorted(keep), pa.string()))
    files = pc.if_else(held, index["shard_file"], "")
    rows = pc.if_else(held, index["shard_row"], pa.scalar(-1, pa.int32()))
    columns = {name: index[name] for name in index.schema.names}
    return pa.table(columns | {"shard_file": files, "shard_row": rows}, schema=index.schema)


def index_bytes(index: pa.Table) -> bytes:
    """Return the bytes of index.parquet."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, INDEX_SCHEMA, compression="zstd", version="2.6") as writer:
        for start in range(0, index.num_rows, _GROUP_ROWS):
            writer.write_table(index.slice(start, _GROUP_ROWS).cast(INDEX_SCHEMA))
    return sink.getvalue()


def _same_split_partners(table: pa.Table) -> pa.Table:
    """Null `pair_id` unless the partner exists and is in the same split."""
    pairs, splits = table["pair_id"], table["split"].combine_chunks()
    if not table.num_rows:
        return table
    partner = pc.index_in(pairs, value_set=table["patch_id"].combine_chunks())
    theirs = splits.take(partner.combine_chunks())
    kept = pc.fill_null(pc.and_(pc.equal(theirs, splits), pc.not_equal(splits, "")), False)
    place = table.schema.get_field_index("pair_id")
    field = GATHERED_SCHEMA.field("pair_id")
    return table.set_column(place, field, pc.if_else(kept, pairs, pa.scalar(None, pa.string())))


def _shard_order(table: pa.Table, seed: int) -> NDArray[np.int64]:
    """Return the order of rows: sensor, split, then mixed by a seeded draw; dropped ones last."""
    patch_ids = table["patch_id"].to_pylist()
    lots = draws(patch_ids, seed, "shard-order")
    names, file_of = distinct(table["patch_file"])
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(draws(names, seed, "shard-mix"))] = np.arange(len(names))
    # Ranks count within a sensor, so that the files of the other one cannot shift the mixture.
    sensors = np.array(table["sensor"].to_pylist(), dtype=np.str_)
    sensor_of = np.array([name.split("/")[-1].split("-")[0] for name in names], dtype=np.str_)
    for sensor in np.unique(sensor_of):
        own = sensor_of == sensor
        rank[own] = np.argsort(np.argsort(rank[own]))
    places = {split: number for number, split in enumerate((*SPLITS, ""))}
    split = np.array([places[name] for name in table["split"].to_pylist()], dtype=np.int64)
    mixed = rank[file_of] // MIXED_FILES
    return np.lexsort((lots, mixed, split, sensors, split == len(SPLITS)))


def _number(table: pa.Table, most_rows: int) -> tuple[pa.Array, pa.Array]:
    """Return `shard_file` and `shard_row` of rows that are in shard order already.

    Shards of one split differ by at most one row.
    """
    files: list[str] = []
    rows: list[int] = []
    keys = list(zip(table["sensor"].to_pylist(), table["split"].to_pylist(), strict=True))
    start = 0
    while start < len(keys):
        sensor, split = keys[start]
        stop = start
        while stop < len(keys) and keys[stop] == keys[start]:
            stop += 1
        count = stop - start
        shards = -(-count // most_rows)
        for number, part in enumerate(np.array_split(np.arange(count), shards)):
            name = f"shards/{sensor}/{split}-{number:05d}-of-{shards:05d}.parquet" if split else ""
            files += [name] * part.size
            rows += range(part.size) if split else [-1] * part.size
        start = stop
    return pa.array(files, pa.string()), pa.array(rows, pa.int32())
