"""The patches of a shard that is being made, column by column.

A value of Python per patch and column, turned into Arrow at the end: a record per patch would
take twice as long to make and to convert.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from landmark.codec import encode_image, encode_scl, frame_xxh3
from landmark.frame_column import FrameColumn
from landmark.grid import RESOLUTION_M, Frame
from landmark.pixels import PatchPixels
from landmark.scenes import Scene
from landmark.schema import PROVENANCE, ImageLayout, patch_schema

#: Columns that patches have as the plan has them.
_PLANNED = (
    "patch_id", "sensor", "platform", "orbit_state", "relative_orbit", "polarisations", "mgrs",
    "datetime", "lon", "lat", "epsg", "geometry", "pair_id", "pair_gap_s",
)  # fmt: skip
#: Columns and fields of `provenance` that are values of each patch, in the order of `add`.
_OWN = (
    "image_nbytes", "image_xxh3", "scl", "transform", "cloud_fraction", "valid_fraction",
    "clipped_fraction", "original",
)  # fmt: skip
_ORIGIN = (
    "provider", "collection", "item", "hrefs", "baseline", "offset", "offset_evidence", "quantity",
    "unit_source", "resampling", "licence", "notes",
)  # fmt: skip


class PatchColumns:
    """Columns that grow by a patch at a time, in the order patches are read."""

    def __init__(self, rows: pa.Table, layout: ImageLayout) -> None:
        """Begin without patches.

        Args:
            rows: The plan's rows of the shard.
            layout: Of its images.
        """
        self._rows = rows
        self._layout = layout
        self._images = FrameColumn(rows.num_rows)
        self._indices: list[int] = []
        self._own: list[tuple[Any, ...]] = []
        self._origins: list[tuple[Any, ...]] = []

    def add(
        self, index: int, frame: Frame, scene: Scene, pixels: PatchPixels, cloud: float | None
    ) -> None:
        """Add a patch.

        Args:
            index: Its row in the plan.
            frame: Where it lies.
            scene: What it was cut from.
            pixels: What it holds.
            cloud: Cloudy share of it, or None.
        """
        image = encode_image(pixels.planes, self._layout)
        self._images.append(image)
        self._indices.append(index)
        scl = None if pixels.scl is None else encode_scl(pixels.scl)
        self._own.append((
            len(image), frame_xxh3(image), scl, frame.transform(RESOLUTION_M), cloud,
            pixels.valid_fraction, pixels.clipped_fraction, pixels.original,
        ))  # fmt: skip
        self._origins.append((
            scene.provider, scene.collection, scene.item, [one.href for one in scene.bands],
            scene.baseline, scene.offset, scene.offset_evidence, scene.quantity, scene.unit_source,
            pixels.resampling, scene.licence, scene.notes,
        ))  # fmt: skip

    def table(self) -> pa.Table:
        """Return the patches in the plan's order (`patch_schema`)."""
        order = np.argsort(self._indices).tolist()
        schema = patch_schema(self._layout)
        kept = self._rows.select(_PLANNED).take(pa.array(np.sort(self._indices), pa.int64()))
        columns = {name: kept[name].cast(schema.field(name).type) for name in _PLANNED}
        columns["image"] = self._images.finish(order)
        own = {name: schema.field(name).type for name in _OWN}
        origin = {name: PROVENANCE.field(name).type for name in _ORIGIN}
        # Ordered as Python has them: Arrow's `take` would hold all frames of `original` twice.
        columns |= _arrays([self._own[place] for place in order], own)
        fields = _arrays([self._origins[place] for place in order], origin)
        columns["provenance"] = pa.StructArray.from_arrays(
            [fields[one.name] for one in PROVENANCE], fields=list(PROVENANCE)
        )
        return pa.table([columns[name] for name in schema.names], schema=schema)


def _arrays(records: list[tuple[Any, ...]], types: dict[str, pa.DataType]) -> dict[str, pa.Array]:
    """Return a column of each field of records."""
    columns = zip(*records, strict=True) if records else ((),) * len(types)
    return {
        name: _array(list(values), kind)
        for (name, kind), values in zip(types.items(), columns, strict=True)
    }


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):  # of many numbers: one array of all is made faster
        flat = np.fromiter(chain.from_iterable(values), np.float64)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)
    return pa.array(values, kind)
