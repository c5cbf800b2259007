from __future__ import annotations

import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

import landmark.dataset
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.manifest import S2_BANDS
from landmark.schema import (
    ImageLayout,
    label_schema,
    patch_schema,
    s1_layout,
    s2_layout,
    shard_schema,
)
from landmark.shards import commit_shard, decode_image, encode_image, encode_scl, frame_xxh3

S1, S2 = s1_layout(), s2_layout(S2_BANDS)


def planes(layout: ImageLayout, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    if layout.dtype == "float32":
        made = [rng.normal(-12, 3, shape).astype(np.float32) for shape in layout.shapes]
        made[0][0, 0] = np.nan
        return made
    return [rng.integers(1, 4000, shape, dtype=np.uint16) for shape in layout.shapes]


def rows(layout: ImageLayout, names: list[str], schema: pa.Schema) -> pa.Table:
    frames = [encode_image(planes(layout, seed), layout) for seed in range(len(names))]
    scl = [encode_scl(np.full((60, 60), 4, np.uint8)) if layout is S2 else None for _ in names]
    known = {
        "patch_id": names,
        "sensor": [layout.sensor] * len(names),
        "image": frames,
        "image_nbytes": [len(frame) for frame in frames],
        "image_xxh3": [frame_xxh3(frame) for frame in frames],
        "scl": scl,
        "datetime": [1_600_000_000_000_000] * len(names),
        "lon": [8.0] * len(names),
        "lat": [46.0] * len(names),
        "epsg": [32632] * len(names),
        "transform": [[10.0, 0, 600_000, 0, -10, 5_100_000]] * len(names),
        "geometry": [b"\x01"] * len(names),
        "label_mask": [0b101] * len(names),
        "known_mask": [0b1111] * len(names),
        "labels": [["Water", "Grass"]] * len(names),
        "fractions": [[0.5] * 12] * len(names),
        "label_sources": [[]] * len(names),
        "native_labels": [[]] * len(names),
        "events": [[]] * len(names),
        "caption": ["Water. Grass"] * len(names),
        "caption_long": [""] * len(names),
        "split": ["train"] * len(names),
    }
    arrays = [
        pa.array(known[f.name], f.type) if f.name in known else pa.nulls(len(names), f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    dataset = Dataset(tmp_path)
    for name, layout, ids in (
        ("s1-00000", S1, ["a_s1"]),
        ("s2-00000", S2, ["a_s2", "b_s2"]),
        ("s2-00001", S2, ["c_s2"]),
    ):
        table = rows(layout, ids, patch_schema(layout))
        commit_shard(dataset.patch_shard(name), table, "print")
    return tmp_path


@pytest.fixture
def harmonized(fetched: Path) -> Path:
    for layout, split, ids in (
        (S1, "train", ["a_s1"]),
        (S2, "train", ["a_s2", "b_s2"]),
        (S2, "corpus", ["c_s2"]),
    ):
        path = Dataset(fetched).shards / layout.sensor / f"{split}-00000-of-00001.parquet"
        commit_shard(path, rows(layout, ids, shard_schema(layout)), "print")
    return fetched


def test_patches_are_found_by_id_over_all_files(fetched: Path) -> None:
    with landmark.dataset.open(fetched) as opened:
        assert list(opened) == ["a_s1", "a_s2", "b_s2", "c_s2"]
        assert len(opened) == 4
        assert "b_s2" in opened
        assert "x" not in opened
        assert np.array_equal(opened.planes("b_s2")[5], planes(S2, 1)[5])
        assert np.array_equal(
            opened.image("b_s2"), decode_image(encode_image(planes(S2, 1), S2), S2)
        )
        assert opened.scl("c_s2").tolist() == np.full((60, 60), 4).tolist()
        assert opened.scl("a_s1") is None
        assert opened.row("c_s2")["epsg"] == 32632
        assert "image" not in opened.rows.column_names
        with pytest.raises(InputError, match="holds no patch 'x'"):
            opened.image("x")


def test_labels_join_the_patches_they_were_made_for(fetched: Path) -> None:
    dataset = Dataset(fetched)
    for name, layout, ids in (("s2-00000", S2, ["a_s2", "b_s2"]),):
        table = rows(layout, ids, shard_schema(layout)).select(label_schema().names)
        commit_shard(dataset.label_shard(name), table.cast(label_schema()), "print")
    with landmark.dataset.open(fetched, sensor="s2") as opened:
        assert opened.row("a_s2")["labels"] == ["Water", "Grass"]
        assert opened.row("c_s2")["labels"] is None


def test_shards_come_before_patches_and_know_splits(harmonized: Path) -> None:
    with landmark.dataset.open(harmonized, sensor="s2", split="corpus") as opened:
        assert list(opened) == ["c_s2"]
        assert opened.row("c_s2")["caption"] == "Water. Grass"
    with landmark.dataset.open(harmonized) as opened:
        assert {path.parent.name for path in opened.files} == {"s1", "s2"}


def test_uncommitted_files_do_not_count(fetched: Path) -> None:
    (fetched / "patches" / "s2-00001.json").unlink()
    assert "c_s2" not in landmark.dataset.open(fetched)


def test_what_is_not_there_is_named(fetched: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such dataset directory"):
        landmark.dataset.open(tmp_path / "none")
    with pytest.raises(InputError, match="run `landmark harmonize` first"):
        landmark.dataset.open(fetched, split="val")
    with pytest.raises(InputError, match="unknown split 'test'"):
        landmark.dataset.open(fetched, split="test")
    with pytest.raises(InputError, match="unknown sensor"):
        landmark.dataset.open(fetched, sensor="s3")


def test_xarray_carries_place_and_meaning(harmonized: Path) -> None:
    with landmark.dataset.open(harmonized) as opened:
        array = opened.to_xarray("a_s2")
        assert array.dims == ("band", "y", "x")
        assert array.shape == (12, 120, 120)
        assert array.band.values.tolist() == list(S2_BANDS)
        assert (float(array.x[0]), float(array.y[0])) == (600_005.0, 5_099_995.0)
        assert (float(array.x[-1]), float(array.y[-1])) == (601_195.0, 5_098_805.0)
        assert array.attrs["crs"] == "EPSG:32632"
        assert array.attrs["labels"] == ["Water", "Grass"]
        assert (array.attrs["scale"], array.attrs["nodata"]) == (1e-4, 0)
        assert np.array_equal(array.sel(band="B05").values, opened.image("a_s2")[4])
        assert math.isnan(opened.to_xarray("a_s1").attrs["nodata"])


def test_torch_samples_follow_torchgeo(harmonized: Path) -> None:
    torch = pytest.importorskip("torch")
    from landmark.torch import PatchDataset

    patches = PatchDataset(harmonized, "s2", "train")
    assert len(patches) == 2
    sample = patches[1]
    assert sample["image"].dtype == torch.float32
    assert sample["image"].shape == (12, 120, 120)
    assert sample["image"][1, 0, 0] == pytest.approx(planes(S2, 1)[1][0, 0] / 10000)
    assert sample["bounds"].tolist() == [600_000, 5_098_800, 601_200, 5_100_000]
    assert sample["crs"] == "EPSG:32632"
    assert sample["label"].tolist() == [1, 0, 1] + [0] * 9
    assert sample["known"].tolist() == [1] * 4 + [0] * 8
    assert (sample["patch_id"], sample["caption"]) == ("b_s2", "Water. Grass")
    batch = next(iter(torch.utils.data.DataLoader(patches, batch_size=2)))
    assert batch["image"].shape == (2, 12, 120, 120)
    assert batch["label"].shape == (2, 12)
    copy = pickle.loads(pickle.dumps(patches))
    assert torch.equal(copy[0]["image"], patches[0]["image"])


def test_torch_radar_keeps_nan_unless_filled(harmonized: Path) -> None:
    pytest.importorskip("torch")
    from landmark.torch import PatchDataset

    assert PatchDataset(harmonized, "s1")[0]["image"][0, 0, 0].isnan()
    filled = PatchDataset(harmonized, "s1", fill=-50.0, transforms=lambda s: {**s, "more": 1})
    assert filled[0]["image"][0, 0, 0] == -50.0
    assert filled[0]["more"] == 1
    assert "label" in filled[0]


def test_torch_samples_of_a_fetched_dataset_have_no_labels(fetched: Path) -> None:
    pytest.importorskip("torch")
    from landmark.torch import PatchDataset

    assert "label" not in PatchDataset(fetched, "s2")[0]


def test_opening_needs_no_torch() -> None:
    code = "import sys, landmark.dataset, landmark.opened; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_opening_reads_no_shard(harmonized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows are counted by the commit marks: no footer, no column is read."""
    reads: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("ShardReader", "pq.read_table"):
            reader = f"landmark.opened_files.{name}"
            patch.setattr(reader, lambda path, **_: reads.append(path.name))
        opened = landmark.dataset.open(harmonized)
        assert len(opened) == 4
    assert reads == []
    assert opened[1] == "a_s2"
    assert opened[-1] == "c_s2"
    with pytest.raises(IndexError, match="holds 4 patches, not 4"):
        opened[4]


def test_patches_become_a_geodataframe(tmp_path: Path) -> None:
    square = shapely.box(7, 45, 8, 46)
    table = rows(S2, ["a_s2", "b_s2"], shard_schema(S2))
    place = table.schema.get_field_index("geometry")
    table = table.set_column(place, table.schema.field(place), pa.array([square.wkb] * 2))
    path = Dataset(tmp_path).shards / "s2" / "train-00000-of-00001.parquet"
    commit_shard(path, table, "print")
    with landmark.dataset.open(tmp_path) as opened:
        frame = opened.to_geodataframe()
        few = opened.to_geodataframe(["caption"])
        with pytest.raises(InputError, match="no column 'nonsense'"):
            opened.to_geodataframe(["nonsense"])
    assert frame.index.tolist() == ["a_s2", "b_s2"]
    assert frame.crs == "OGC:CRS84"
    assert frame.geometry.iloc[0].equals(square)
    assert frame.loc["b_s2", "epsg"] == 32632
    assert few.columns.tolist() == ["caption", "geometry"]


def test_a_sample_is_plotted_in_the_colours_of_the_gallery(harmonized: Path) -> None:
    from landmark.pictures import picture_of
    from landmark.torch import PatchDataset

    for sensor, layout in (("s1", S1), ("s2", S2)):
        patches = PatchDataset(harmonized, sensor, "train")
        figure = patches.plot(patches[0])
        (axes,) = figure.axes
        shown = axes.images[0].get_array()
        stored = decode_image(encode_image(planes(layout, 0), layout), layout)
        difference = np.abs(np.asarray(shown, int) - picture_of(stored, layout).astype(int))
        assert difference.max() <= 1
        assert axes.get_title() == f"a_{sensor}\nWater. Grass"
        assert patches.plot(patches[0], show_titles=False).axes[0].get_title() == ""
