import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from harmonize import dynamic_world
from landmark.errors import InputError
from landmark.grid import Frame

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


def labels(shift=0):
    codes = np.full((120, 120), 1 + shift, "uint8")
    codes[:30] = shift
    codes[30:60] = 8 + shift
    return codes


def test_zero_is_water(tmp_path):
    path = write(tmp_path / "d.tif", labels(), nodata=255)
    dynamic_world.check_raster(path)
    found = dynamic_world.count([path], [FRAME])
    assert (found.codes.tolist(), found.counts.tolist()) == ([0, 1, 8], [[3600, 7200, 3600]])


def test_nodata_zero_is_refused_unless_shifted(tmp_path):
    path = write(tmp_path / "d.tif", labels(), nodata=0)
    with pytest.raises(InputError, match="declares nodata 0") as caught:
        dynamic_world.check_raster(path)
    assert "label_shift" in str(caught.value)
    shifted = write(tmp_path / "s.tif", labels(1), nodata=0)
    with pytest.raises(InputError, match="declares nodata 0"):
        dynamic_world.check_raster(shifted)
    dynamic_world.check_raster(shifted, label_shift=1)
    found = dynamic_world.count([shifted], [FRAME], label_shift=1)
    assert (found.codes.tolist(), found.counts.tolist()) == ([0, 1, 8], [[3600, 7200, 3600]])


def test_shifted_labels_need_an_opt_in(tmp_path):
    path = write(tmp_path / "s.tif", labels(1), nodata=255)
    with pytest.raises(InputError, match="label_shift: 1"):
        dynamic_world.check_raster(path)
    with pytest.raises(InputError, match="holds 9"):
        dynamic_world.count([path], [FRAME])


def test_shifted_zero_is_not_mapped(tmp_path):
    codes = labels(1)
    codes[60:] = 0
    path = write(tmp_path / "s.tif", codes)
    found = dynamic_world.count([path], [FRAME], label_shift=1)
    assert (found.codes.tolist(), found.covered.tolist()) == ([0, 8], [7200])


@pytest.mark.parametrize(("other", "nodata"), [(255, ()), (10, (10,)), (100, (100, 9))])
def test_other_values_are_not_mapped_where_said(tmp_path, other, nodata):
    codes = labels()
    codes[60:] = other
    path = write(tmp_path / "d.tif", codes)
    dynamic_world.check_raster(path, nodata=nodata)
    found = dynamic_world.count([path], [FRAME], nodata=nodata)
    assert (found.codes.tolist(), found.covered.tolist()) == ([0, 8], [7200])


def test_a_code_that_is_no_label_stops_with_its_place(tmp_path):
    codes = labels()
    codes[119, 119] = 10
    path = write(tmp_path / "d.tif", codes)
    with pytest.raises(InputError, match=r"d\.tif: holds code 10 at longitude 9\.0") as caught:
        dynamic_world.count([path], [FRAME])
    assert "no Dynamic World label" in str(caught.value)


def test_floats_with_nan(tmp_path):
    codes = labels().astype("float64")
    codes[60:] = np.nan
    path = write(tmp_path / "f.tif", codes)
    found = dynamic_world.count([path], [FRAME])
    assert (found.codes.tolist(), found.covered.tolist()) == ([0, 8], [7200])
