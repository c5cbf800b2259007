from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from landmark.archives.containers import Folder
from landmark.archives.published import read_published
from landmark.codec import decode_array
from landmark.errors import InputError, LandmarkError
from landmark.grid import Frame
from landmark.manifest import S2_BANDS
from landmark.pixels import PatchPixels, read_patches
from landmark.radiometry import backscatter_unit
from landmark.scenes import Scene
from landmark.schema import s1_layout, s2_layout
from tests.landmark.archives.made import make_crisislandmark, power, published_image
from tests.landmark.archives.reading import read_images

BEN1 = "benv2s1/S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57"
BEN2 = "benv2s2/S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
FLOOD, FIRE = "mmflood/EMSR1-0-0", "cabuar/uuid_0"


def images() -> dict[str, dict[str, Any]]:
    return {
        BEN1: {"image": published_image("s1"), "labels": ["Pastures"], "split": "train"},
        BEN2: {"image": published_image("s2"), "labels": ["Mixed forest", "Water bodies"]},
        FLOOD: {
            "image": power(2, 120, 120),
            "labels": ["flooded area", "trees"],
            "crs": 4326,
            "step": 1e-4,
            "corner": (12.0, 45.0),
            "timestamp": 1_577_836_800.0,
        },
        FIRE: {
            "image": published_image("s2", 5) + 0.25,
            "labels": ["burned area"],
            "step": 20.0,
            "timestamp": 1_577_836_800.0,
        },
    }


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_crisislandmark(tmp_path / "clm", images())


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_images("crisislandmark", folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def by_key(archive: Path) -> dict[str, tuple[Scene, Frame]]:
    found = {}
    for image in read_images("crisislandmark", archive):
        assert image.frame is not None
        found[image.scene.item] = image.scene, image.frame
    return found


def pixels(archive: Path, scene: Scene, frame: Frame) -> PatchPixels:
    layout = s1_layout() if scene.sensor == "s1" else s2_layout(S2_BANDS)
    (result,) = read_patches(scene, [frame], lambda href: f"{archive}/{href}", layout)
    assert isinstance(result, PatchPixels)
    return result


def test_keys_become_scenes_with_their_own_unit_time_split_and_labels(archive: Path) -> None:
    found = by_key(archive)
    assert list(found) == sorted(found, key=list(images()).index) or len(found) == 4
    ben, frame = found[BEN1]
    assert (ben.time, ben.platform, ben.unit, ben.split) == (
        *("2017-06-12T16:58:09Z", "S1B", "db", "train"),
    )
    assert (frame.epsg, frame.x_min, frame.y_max) == (32632, 500_000, 4_900_000)
    assert ben.notes == ()
    flood, around = found[FLOOD]
    assert (flood.unit, flood.unit_source[:14], flood.split) == (
        *("linear", "values: linear", "corpus"),
    )
    assert flood.tags == ("flooded area", "trees")
    assert (around.epsg, around.x_min % 10, around.y_max % 10) == (32633, 0, 0)
    assert any("float32 seconds" in note for note in flood.notes)
    fire, _ = found[FIRE]
    assert any("20 x 20 m in EPSG:32632" in note for note in fire.notes)
    assert found[BEN2][0].bands[8].band == "B8A"


def test_arrays_come_back_bit_for_bit(archive: Path) -> None:
    for key, (scene, frame) in by_key(archive).items():
        stored = images()[key]["image"].astype(np.float32)
        result = pixels(archive, scene, frame)
        planes = [p.repeat(120 // len(p), 0).repeat(120 // len(p), 1) for p in result.planes]
        back = np.stack(planes).astype(np.float32)
        if key in (BEN1, BEN2):
            assert result.original is None
            assert (back == stored).all()
            assert result.resampling == "none"
        else:
            assert result.original is not None
            assert (decode_array(result.original, stored.shape) == stored).all()
    scene, frame = by_key(archive)[FLOOD]
    slow = 10 * np.log10(images()[FLOOD]["image"].astype(np.float64))
    np.testing.assert_allclose(np.stack(pixels(archive, scene, frame).planes), slow, rtol=1e-6)


def test_coarse_bands_that_do_not_repeat_are_averaged_and_said_so(tmp_path: Path) -> None:
    image = np.random.default_rng(2).integers(1, 4000, (12, 120, 120)).astype(np.float32)
    image[1, :3], image[0, :6, :6], image[4, 0, 0] = 0, 0, np.nan
    archive = make_crisislandmark(tmp_path / "c", {BEN2: {"image": image, "labels": ["Pastures"]}})
    result = pixels(archive, *by_key(archive)[BEN2])
    assert result.resampling == "average"
    assert (result.planes[1] == np.nan_to_num(image[1])).all()
    coarse = image[4].reshape(60, 2, 60, 2)
    assert result.planes[4][0, 0] == round(float(np.nanmean(coarse[0, :, 0, :])))
    assert result.planes[4][7, 9] == np.rint(coarse[7, :, 9, :].mean())
    assert result.planes[0][0, 0] == 0
    assert result.original is not None
    back = decode_array(result.original, (12, 120, 120))
    assert np.array_equal(back, image, equal_nan=True)


def test_an_image_whose_values_contradict_its_source_is_no_patch(archive: Path) -> None:
    scene, frame = by_key(archive)[BEN1]
    with h5py.File(archive / "benv2s1_part1.h5", "r+") as file:
        file[BEN1]["image"][...] = power(2, 120, 120)
    with pytest.raises(LandmarkError, match="values are linear, but its source is db"):
        pixels(archive, scene, frame)
    with h5py.File(archive / "benv2s1_part1.h5", "r+") as file:
        del file[BEN1]["image"]
        file[BEN1]["image"] = np.zeros((2, 60, 60), np.float32)
    with pytest.raises(LandmarkError, match="not float32"):
        pixels(archive, scene, frame)


def test_units_are_seen_by_values() -> None:
    drawn = np.random.default_rng(0)
    assert backscatter_unit(drawn.normal(-12, 5, 1000)) == "db"
    assert backscatter_unit(drawn.gamma(2, 0.05, 1000)) == "linear"
    assert backscatter_unit(np.append(drawn.gamma(2, 0.05, 1000), -0.01)) == "linear"
    assert backscatter_unit(np.append(drawn.gamma(2, 0.05, 1000), -5.0)) is None
    assert backscatter_unit(np.full(5, np.nan)) is None


def test_broken_archives_end_as_one_line(archive: Path) -> None:
    table = archive / "metadata.parquet"
    rows = pq.read_table(table).to_pylist()

    def rewrite(changed: list[dict[str, Any]]) -> str:
        pq.write_table(pa.Table.from_pylist(changed), table)
        return refused(archive)

    assert "lists 1 keys that no HDF5 file holds" in rewrite(
        [*rows, {**rows[0], "key": "mmflood/EMSR9-0-0"}]
    )
    assert "twice" in rewrite([*rows, rows[0]])
    assert "not of a known source" in rewrite([{**rows[0], "key": "other/x"}])
    assert "not of a known source" in rewrite([{**rows[0], "key": "mmflood/../x"}])
    assert "neither train nor test" in rewrite([{**rows[0], "split": "fold1"}])
    pq.write_table(pa.Table.from_pylist(rows), table)
    part = archive / "mmflood_part1.h5"
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    assert "mmflood" in refused(archive)
    part.unlink()
    assert "is a link to 'mmflood_part1.h5', which is no file beside it" in refused(archive)
    part.write_bytes(whole)
    with h5py.File(archive / "crisislandmark.h5", "r+") as main:
        main["mmflood/up"] = h5py.ExternalLink("../elsewhere.h5", "/mmflood/up")
    assert "is a link to '../elsewhere.h5'" in refused(archive)
    with h5py.File(archive / "crisislandmark.h5", "w") as main:
        main.create_group("unknown")
    assert "holds source 'unknown'" in refused(archive)


def test_images_without_a_row_are_told_of_and_left_out(archive: Path) -> None:
    rows = pq.read_table(archive / "metadata.parquet").to_pylist()
    pq.write_table(pa.Table.from_pylist(rows[1:]), archive / "metadata.parquet")
    notes: list[str] = []
    found = read_images("crisislandmark", archive, notes=notes)
    assert len(found) == 3
    assert f"1 images of the HDF5 files are not in metadata.parquet (first: {BEN1})" in notes[0]


def test_groups_without_a_place_end_as_one_line(archive: Path) -> None:
    with h5py.File(archive / "mmflood_part1.h5", "r+") as file:
        del file[FLOOD].attrs["crs"]
    assert "states no crs" in refused(archive)
    with h5py.File(archive / "mmflood_part1.h5", "r+") as file:
        file[FLOOD].attrs["crs"] = [4326.0]
        file[FLOOD]["coords"][...] = np.nan
    assert "are not north up and finite" in refused(archive)


def test_relevance_files_of_several_layouts(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text(
        '{"id": "a", "query": "water"}\n\n{"id": 7, "text": "crops"}\n'
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "a.tsv").write_text("key\trelevance\nm/1\t2\nm/2\t0\n")
    (tmp_path / "qrels" / "all.trec").write_text("7 0 m/3 1\n")
    found = read_published(Folder(tmp_path))
    assert found.queries == (("a", "water"), ("7", "crops"))
    assert found.grades == {"a": {"m/1": 2, "m/2": 0}, "7": {"m/3": 1}}
    for line, message in (
        ("m/1\t1\n", "differently"),
        ("m/9\tmuch\n", "no whole number"),
        ("b 0 m/1 1\n", "does not have"),
        ("m/1\n", "columns"),
    ):
        (tmp_path / "qrels" / "a.tsv").write_text(f"m/1\t2\n{line}")
        with pytest.raises(InputError, match=message):
            read_published(Folder(tmp_path))
    for text, message in (
        ("{", "is no JSON"),
        (json.dumps({"id": "a"}), "has no id or no query"),
        ('{"id": "a", "query": "x"}\n{"id": "a", "query": "y"}', "comes twice"),
        ("", "holds no query"),
    ):
        (tmp_path / "queries.jsonl").write_text(text)
        with pytest.raises(InputError, match=message):
            read_published(Folder(tmp_path))
