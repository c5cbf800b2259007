"""Patches stand in the plan's order with what the plan, their scene and their pixels say."""

from __future__ import annotations

import numpy as np
import pytest

from landmark.codec import decode_planes, encode_scl, frame_xxh3
from landmark.grid import Frame
from landmark.patch_columns import PatchColumns
from landmark.pixels import PatchPixels
from landmark.scenes import BandAsset, Scene
from landmark.schema import ImageLayout, patch_schema
from tests.landmark.made_shards import S1, S2, random_planes, table_of


def scene_of(layout: ImageLayout, number: int) -> Scene:
    return Scene(
        sensor="s1", provider="p", collection="c", item=f"item-{number}", platform="S1A",
        time="2023-07-04T10:10:31Z", unit="db", unit_source="archive", quantity="unknown",
        bands=tuple(BandAsset(band, f"{number}/{band}.tif") for band in layout.bands),
        baseline="05.09", offset=-1000, offset_evidence="agrees", licence="CC0-1.0",
        notes=("a", "b")[:number],
    )  # fmt: skip


@pytest.mark.parametrize("layout", [S1, S2])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 0, 2], [1], []])
def test_patches_stand_where_the_plan_has_them(order: list[int], layout: ImageLayout) -> None:
    plan = table_of(layout, 4)
    columns, made = PatchColumns(plan, layout), {}
    for number, index in enumerate(order):
        planes = tuple(random_planes(layout, index))
        scl = np.full((60, 60), index, np.uint8) if index % 2 else None
        cloud, clipped, original = (None, 0.1, b"x") if index % 2 else (0.3, None, None)
        how = "bilinear" if index % 2 else "none"
        made[index] = PatchPixels(planes, scl, 0.9 + index / 100, clipped, how, original)
        frame = Frame(f"f{index}", 32632, 1200.0 * index, 7.0)
        columns.add(index, frame, scene_of(layout, number), made[index], cloud)
    table = columns.table()
    assert table.schema.equals(patch_schema(layout), check_metadata=True)
    rows = table.to_pylist()
    planned = plan.to_pylist()
    assert [row["patch_id"] for row in rows] == [
        planned[index]["patch_id"] for index in sorted(order)
    ]
    for row, index in zip(rows, sorted(order), strict=True):
        pixels, number = made[index], order.index(index)
        for ours, theirs in zip(decode_planes(row["image"], layout), pixels.planes, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        image = row["image"]
        assert (row["image_nbytes"], row["image_xxh3"]) == (len(image), frame_xxh3(image))
        assert row["scl"] == (None if pixels.scl is None else encode_scl(pixels.scl))
        assert row["transform"] == [10, 0, 1200 * index, 0, -10, 7]
        assert row["cloud_fraction"] == (None if index % 2 else np.float32(0.3))
        assert row["valid_fraction"] == np.float32(pixels.valid_fraction)
        assert row["clipped_fraction"] == (np.float32(0.1) if index % 2 else None)
        assert row["original"] == pixels.original
        assert row["provenance"] == {
            "provider": "p", "collection": "c", "item": f"item-{number}", "baseline": "05.09",
            "hrefs": [f"{number}/{band}.tif" for band in layout.bands], "offset": -1000,
            "offset_evidence": "agrees", "quantity": "unknown", "unit_source": "archive",
            "resampling": pixels.resampling, "licence": "CC0-1.0",
            "notes": ["a", "b"][:number],
        }  # fmt: skip
        for name in ("datetime", "lon", "lat", "epsg", "geometry", "pair_id", "sensor"):
            assert row[name] == planned[index][name]
