"""The plan's rows in full, made of narrow columns a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from landmark.candidates import Candidates
from landmark.deciding import Decisions
from landmark.pairing import NO_PARTNER
from landmark.scene_table import SceneTable

#: Rows of a row group at most, and bytes of the texts of its scenes: where each row is a scene of
#: its own, as in archives, those are most of it.
GROUP_ROWS = 65_536
GROUP_TEXT_BYTES = 8 << 20
PLAN_SCHEMA = pa.schema(
    [
        pa.field("patch_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("sensor", pa.string(), nullable=False),
        pa.field("platform", pa.string(), nullable=False),
        pa.field("datetime", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("frame", pa.string(), nullable=False),
        pa.field("epsg", pa.int32(), nullable=False),
        pa.field("x_min", pa.float64(), nullable=False),
        pa.field("y_max", pa.float64(), nullable=False),
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("mgrs", pa.string(), nullable=False),
        pa.field("orbit_state", pa.string(), nullable=False),
        pa.field("relative_orbit", pa.int32()),
        pa.field("polarisations", pa.string(), nullable=False),
        pa.field("cloud", pa.float32()),
        pa.field("baseline", pa.string(), nullable=False),
        pa.field("offset", pa.int32(), nullable=False),
        pa.field("offset_evidence", pa.string(), nullable=False),
        pa.field("resampling", pa.string(), nullable=False),
        pa.field("pair_id", pa.string()),
        pa.field("pair_gap_s", pa.float64()),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("collection", pa.string(), nullable=False),
        pa.field("scene", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("geometry", pa.binary(), nullable=False),
    ]
)
_OF_PLACE = ("epsg", "x_min", "y_max", "lon", "lat")
_OF_SCENE = (
    "sensor", "platform", "datetime", "mgrs", "orbit_state", "relative_orbit", "polarisations",
    "cloud", "baseline", "offset", "offset_evidence", "item", "collection",
)  # fmt: skip
#: A polygon of five points (the first again at the end) as WKB, little endian.
_POLYGON = np.dtype(
    [("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))]
)


def row_groups(cells: Candidates, scenes: SceneTable, decisions: Decisions) -> Iterator[pa.Table]:
    """Yield the plan's rows (`PLAN_SCHEMA`), one row group after another."""
    for start, stop in _spans(cells.scene, scenes.text_bytes):
        yield _rows(cells, scenes, decisions, slice(start, stop))


def _spans(scene: NDArray[np.int32], text_bytes: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Yield first row and the row after the last of each row group."""
    before = np.concatenate([[0], np.cumsum(text_bytes, dtype=np.int64)])
    start = 0
    while start < len(scene):
        most = scene[start : start + GROUP_ROWS]
        texts = before[most + 1] - before[most[0]]
        stop = start + max(1, int(np.searchsorted(texts, GROUP_TEXT_BYTES, side="right")))
        yield start, stop
        start = stop


def _rows(cells: Candidates, scenes: SceneTable, decisions: Decisions, rows: slice) -> pa.Table:
    scene, place = cells.scene[rows], cells.place[rows]
    places = cells.places
    verdict = pa.array(decisions.verdict[rows])
    partner = decisions.partner[rows]
    alone = partner == NO_PARTNER
    gap = scenes.time_s[cells.scene[partner]] - scenes.time_s[scene]
    first, last = int(scene[0]), int(scene[-1])  # scene by scene: those between are all there are
    near = pa.array(scene - first)
    columns = {
        "patch_id": _patch_ids(cells, scenes, scene, place),
        "status": decisions.statuses.take(verdict),
        "reason": decisions.reasons.take(verdict),
        "frame": places.names.take(pa.array(places.frame[place])),
        **{name: pa.array(getattr(places, name)[place]) for name in _OF_PLACE},
        "resampling": pa.array(["bilinear", "none"]).take(
            pa.array(cells.whole[rows].astype(np.int8))
        ),
        "pair_id": _patch_ids(cells, scenes, cells.scene[partner], cells.place[partner], alone),
        "pair_gap_s": pa.array(gap.astype(np.float64), mask=alone),
        "shard": decisions.shards.take(pa.array(decisions.shard[rows])),
        "row": pa.array(decisions.row[rows]),
        "geometry": polygon_wkb(places.corners[place]),
    }
    facts = scenes.columns.select(_OF_SCENE).slice(first, last + 1 - first).combine_chunks()
    for name in _OF_SCENE:
        columns[name] = facts[name].chunk(0).take(near).cast(PLAN_SCHEMA.field(name).type)
    columns["scene"] = pa.DictionaryArray.from_arrays(near, scenes.texts(first, last + 1))
    return pa.table([columns[name] for name in PLAN_SCHEMA.names], schema=PLAN_SCHEMA)


def _patch_ids(
    cells: Candidates,
    scenes: SceneTable,
    scene: NDArray[np.int32],
    place: NDArray[np.int32],
    mask: NDArray[np.bool_] | None = None,
) -> pa.StringArray:
    frame = pa.array(cells.places.frame[place], mask=mask)
    endings = scenes.columns["ending"].chunk(0)
    return pc.binary_join_element_wise(
        cells.places.names.take(frame), endings.take(pa.array(scene)), "_"
    )


def polygon_wkb(corners: NDArray[np.float64]) -> pa.BinaryArray:
    """Return quadrilaterals as WKB polygons.

    Args:
        corners: (n, 4, 2) longitude and latitude, in the order of the outline.
    """
    made = np.empty(len(corners), dtype=_POLYGON)
    made["order"], made["type"], made["rings"], made["points"] = 1, 3, 1, 5
    made["xy"][:, :4] = corners
    made["xy"][:, 4] = corners[:, 0]
    ends = np.arange(len(corners) + 1, dtype=np.int32) * _POLYGON.itemsize
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(made)]
    return pa.Array.from_buffers(pa.binary(), len(corners), buffers)
