import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject

from landmark.grid import Frame
from landmark.probabilities import composite
from landmark.raster_files import NOTHING

X, Y = 500_400.0, 5_200_800.0
FRAMES = [Frame(f"f{k}", 32632, X + 1200 * k, Y - 300 * k) for k in range(4)]


def write(path, planes, crs, transform, nodata=None):
    with rasterio.open(path, "w", driver="GTiff", width=planes.shape[2], height=planes.shape[1],
                       count=len(planes), dtype="float32", crs=crs, transform=transform,
                       nodata=nodata) as dataset:  # fmt: skip
        dataset.write(planes.astype("float32"))
    return str(path)


def drawn(seed, side):
    planes = np.random.default_rng(seed).dirichlet(np.ones(9), (side, side)).transpose(2, 0, 1)
    planes[:, ::7, ::5] = np.nan
    planes[:, ::11, ::3] = 0
    return planes


def slow(paths, frame):
    """Each map warped whole by GDAL, the mean and the class pixel by pixel."""
    total, maps = np.zeros((9, 120, 120)), np.zeros((120, 120))
    for path in paths:
        with rasterio.open(path) as dataset:
            warped = np.full((9, 120, 120), np.nan, "float32")
            reproject(dataset.read(list(range(1, 10))), warped, src_transform=dataset.transform,
                      src_crs=dataset.crs, dst_transform=Affine(*frame.transform()),
                      dst_crs=f"EPSG:{frame.epsg}", dst_nodata=np.nan,
                      resampling=Resampling.nearest)  # fmt: skip
        good = np.isfinite(warped).all(axis=0) & (warped > 0).any(axis=0)
        total += np.where(good, warped, 0)
        maps += good
    mean = total / np.maximum(maps, 1)
    return np.where(maps > 0, mean.argmax(axis=0), NOTHING), mean.max(axis=0)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32633"])
def test_composites_are_those_of_gdal_and_numpy(tmp_path, crs):
    west, north = Transformer.from_crs("EPSG:32632", crs, always_xy=True).transform(X, Y)
    paths = [
        write(tmp_path / f"{k}.tif", drawn(k, 300), crs,
              Affine(10, 0, west + 200 * k + 3, 0, -10, north - 2))
        for k in range(3)
    ]  # fmt: skip
    codes, top = composite(paths, FRAMES, 9)
    known = 0
    for row, frame in enumerate(FRAMES):
        expected, share = slow(paths, frame)
        assert (codes[row] != expected).mean() < 3 / 14400
        same = codes[row] == expected
        np.testing.assert_allclose(top[row][same], share[same], rtol=1e-5)
        known += (expected != NOTHING).sum()
    assert known > 10_000
    assert (codes == NOTHING).any()
    alone, _ = composite(paths, FRAMES[2:3], 9)
    np.testing.assert_array_equal(alone[0], codes[2])


def test_declared_nodata_and_nothing_at_all(tmp_path):
    planes = np.full((10, 120, 120), 0.1)
    planes[3, 10:] = 0.9
    planes[:9, :10] = -1
    path = write(tmp_path / "n.tif", planes, "EPSG:32632", Affine(10, 0, X, 0, -10, Y), nodata=-1)
    codes, top = composite([path], FRAMES[:1], 9)
    assert (codes[0, :10] == NOTHING).all()
    assert (codes[0, 10:] == 3).all()
    assert top[0, 20, 20] == pytest.approx(0.9)
    codes, top = composite([], FRAMES[:1], 9)
    assert (codes == NOTHING).all()
    assert (top == 0).all()
