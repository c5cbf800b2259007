import csv
import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from harmonize import corine, reference_maps
from harmonize.corine import CLC_CODES, detect_encoding, to_clc_codes
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.rasters import FRAME_PIXELS

FRAME = Frame("f", 32632, 500_400.0, 5_200_800.0)


def write(path, codes, nodata=None):
    profile = {
        "driver": "GTiff",
        "width": codes.shape[1],
        "height": codes.shape[0],
        "count": 1,
        "dtype": codes.dtype,
        "crs": "EPSG:32632",
        "nodata": nodata,
        "transform": Affine(10, 0, FRAME.x_min, 0, -10, FRAME.y_max),
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(codes, 1)
    return str(path)


def test_codes_are_the_nomenclature():
    assert len(CLC_CODES) == 44
    assert list(CLC_CODES) == sorted(CLC_CODES)


@pytest.mark.parametrize(
    ("codes", "encoding"),
    [
        ({1, 44, 48, 255, 0}, "grid"),
        ({23, -128}, "grid"),
        ({311, 523, 999, 128}, "clc"),
        ({48, 255}, "clc"),
        (set(), "clc"),
    ],
)
def test_encoding(codes, encoding):
    assert detect_encoding(codes, "r.tif") == encoding


@pytest.mark.parametrize(("codes", "words"), [({45}, "45"), ({12, 311}, "mixes"), ({600}, "600")])
def test_neither_encoding(codes, words):
    with pytest.raises(InputError, match=words) as caught:
        detect_encoding(codes, "r.tif")
    assert "r.tif" in str(caught.value)


def test_both_encodings_give_the_same_counts(tmp_path):
    grid = np.random.default_rng(0).integers(1, 45, (120, 120)).astype("uint8")
    clc = np.array([0, *CLC_CODES], "uint16")[grid]
    grid[:12], clc[:12] = 48, 999
    one = corine.count([write(tmp_path / "g.tif", grid)], [FRAME])
    two = corine.count([write(tmp_path / "c.tif", clc)], [FRAME])
    np.testing.assert_array_equal(one.codes, two.codes)
    np.testing.assert_array_equal(one.counts, two.counts)
    assert one.covered.tolist() == [108 * 120]
    both = corine.count([str(tmp_path / "g.tif"), str(tmp_path / "c.tif")], [FRAME])
    np.testing.assert_array_equal(both.counts, one.counts)


def test_further_nodata_and_odd_codes(tmp_path):
    codes = np.full((120, 120), 12, "uint8")
    codes[:60] = 99
    path = write(tmp_path / "r.tif", codes)
    with pytest.raises(InputError, match="99"):
        corine.count([path], [FRAME])
    with pytest.raises(InputError, match="99"):
        corine.check_raster(path)
    assert corine.check_raster(path, [99]) == "grid"
    assert corine.count([path], [FRAME], nodata=[99]).codes.tolist() == [211]


def test_picture_translation():
    np.testing.assert_array_equal(
        to_clc_codes(np.array([1, 44, 311, -5, 0], np.int32)), [111, 523, 311, -5, 0]
    )


def test_a_patch_without_its_map_is_not_covered(tmp_path):
    path = write(tmp_path / "m.tif", np.full((120, 120), 312, "uint16"))
    masks = np.zeros((2, 60, 60), bool)
    masks[1, :15] = True
    found = reference_maps.count([None, path], [FRAME, FRAME], masks=masks)
    assert found.codes.tolist() == [312]
    assert found.counts.tolist() == [[0], [14400 * 3 // 4]]
    nothing = reference_maps.count([None], [FRAME])
    assert nothing.counts.shape == (1, 0)
    assert nothing.covered.tolist() == [0]


@pytest.mark.real
def test_real_corine_of_guadeloupe(shared_data):
    path = shared_data / "corine" / "U2018_CLC2018_V2020_20u1_FR_GLP.tif"
    assert corine.check_raster(path) == "grid"
    frames = [Frame(f"{i}-{j}", 32620, 640_800 + 12_000 * i, 1_801_200 - 12_000 * j)
              for i in range(6) for j in range(6)]  # fmt: skip
    found = corine.count([str(path)], frames)
    with rasterio.open(path) as dataset:
        present = {CLC_CODES[code - 1] for code in np.unique(dataset.read(1)) if code}
    assert set(found.codes.tolist()) <= present
    # The raster covers the islands and the sea around them only in part.
    assert {0, FRAME_PIXELS} < set(found.covered.tolist())
    assert {112, 311} <= set(found.codes.tolist())


@pytest.mark.real
def test_real_reference_maps_of_bigearthnet(shared_data):
    """Codes and pixels equal the index, and the 19 names derived from them the dataset's own."""
    metadata = json.loads((shared_data / "corine" / "clc_metadata.json").read_text())
    names = ben19_names(metadata)
    with (shared_data / "reben" / "index.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 90
    paths = {path.name: path for path in shared_data.glob("reben/Reference_Maps/*/*/*.tif")}
    frames = [Frame(r["patch_id"], int(r["epsg"]), float(r["ulx"]), float(r["uly"])) for r in rows]
    maps = [str(paths[f"{row['patch_id']}_reference_map.tif"]) for row in rows]
    found = reference_maps.count(maps, frames)
    for row, counts in zip(rows, found.counts, strict=True):
        pixels = dict(pair.split(":") for pair in row["clc_l3"].split("|"))
        expected = {int(code): int(n) for code, n in pixels.items() if code != "999"}
        own = {int(c): int(n) for c, n in zip(found.codes, counts, strict=True) if n}
        assert own == expected
        assert {names[code] for code in own if code in names} == set(row["labels_19"].split("|"))


def ben19_names(metadata):
    """CLC code -> 19-class name, without the codes that have none."""
    entries = metadata["clc_data"]
    return {int(e["code"]): e["name_19"] for e in entries if e["name_19"] != "UNLABELED"}
