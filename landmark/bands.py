"""From stored values of one band to a finished plane, cut or warped: what each sensor needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from landmark.errors import LandmarkError
from landmark.grid import Frame
from landmark.radiometry import (
    contradicts,
    from_db,
    plainly_db,
    remove_offset,
    to_db,
    valid_power,
)
from landmark.scenes import BandAsset, Scene
from landmark.warping import warp, warp_classes

Plane = NDArray[Any]

#: What finished planes hold, reflectance x 10000 and dB.
_DN, _DB = np.dtype(np.uint16), np.dtype(np.float32)


class Cut(NamedTuple):
    """One band on one frame.

    Attributes:
        plane: The finished values at native size; may be a view of what they were read into.
        warped: Whether they were interpolated.
        clipped: Share of the valid values that removing the offset clipped.
        complete: Whether all values were seen to be valid; False: nobody looked.
    """

    plane: Plane
    warped: bool
    clipped: float = 0.0
    complete: bool = False


@dataclass(frozen=True)
class Place:
    """Where stored values lie, and the frame they are wanted on."""

    transform: Affine
    crs: CRS
    frame: Frame


class Band(NamedTuple):
    """One band of a scene as planes of side x side pixels; subclasses know what it measures.

    Attributes:
        scene: The acquisition.
        asset: File and index of the band.
        side: Pixels per side of a finished plane.
        path: What to open.
    """

    scene: Scene
    asset: BandAsset
    side: int
    path: str

    @property
    def fill(self) -> float:
        """Value that stands for pixels outside the file."""
        return 0.0

    def beyond(self, dtype: np.dtype) -> Cut:
        """Return the plane of a frame that lies outside the file, whose values are of a dtype."""
        nothing = np.full((self.side, self.side), self.fill).astype(dtype)
        return Cut(self.cut(nothing, None).plane, warped=True)

    def accepts(self, dtype: np.dtype) -> bool:
        """Return whether a file of this dtype can hold the band."""
        raise NotImplementedError

    def cut(self, stored: Plane, nodata: float | None) -> Cut:
        """Return a plane of stored values that needs no resampling.

        Args:
            stored: (side, side) values of the file.
            nodata: Nodata value the file states, beside the scene's own.

        Raises:
            LandmarkError: The values cannot be what the scene says.
        """
        raise NotImplementedError

    def warp(self, stored: Plane, nodata: float | None, place: Place) -> Cut:
        """Return a plane resampled from stored values around a frame.

        Raises:
            LandmarkError: The values cannot be what the scene says.
        """
        raise NotImplementedError


class Reflectance(Band):
    """Sentinel-2 DN -> uint16 reflectance x 10000: nodata first, then the warp, then the offset."""

    __slots__ = ()

    def accepts(self, dtype: np.dtype) -> bool:
        """Return whether the dtype holds digital numbers."""
        return dtype.kind in "ui"

    def cut(self, stored: Plane, nodata: float | None) -> Cut:
        """Return reflectance."""
        if self._is_plain(nodata) and stored.dtype == _DN and stored.min() > 0:
            return Cut(stored, warped=False, complete=True)
        for value in nodata_values(nodata, self.scene.nodata):
            if value != 0:
                stored = np.where(stored == value, 0, stored)
        plane, clipped = remove_offset(stored, self.scene.offset, None)
        return Cut(plane, warped=False, clipped=clipped)

    def _is_plain(self, nodata: float | None) -> bool:
        """Return whether DN are reflectance x 10000 as they are, nodata being 0 alone."""
        return not (self.scene.offset or self.scene.nodata or nodata)

    def warp(self, stored: Plane, nodata: float | None, place: Place) -> Cut:
        """Return reflectance, bilinear, rounded to nearest."""
        values = stored.astype(np.float64)
        for value in nodata_values(nodata, self.scene.nodata, 0.0):
            values[stored == value] = np.nan
        warped = warp(values, place.transform, place.crs, place.frame, self.side)
        plane, clipped = remove_offset(warped, self.scene.offset, None)
        return Cut(plane, warped=True, clipped=clipped)


class Backscatter(Band):
    """Sentinel-1 linear power or dB -> float32 dB; interpolated in linear power."""

    __slots__ = ()

    @property
    def fill(self) -> float:
        """NaN."""
        return math.nan

    def accepts(self, dtype: np.dtype) -> bool:
        """Return whether the dtype holds calibrated backscatter (integers are amplitudes)."""
        return dtype.kind == "f"

    def cut(self, stored: Plane, nodata: float | None) -> Cut:
        """Return dB."""
        if self._is_plain(nodata) and stored.dtype == _DB and plainly_db(stored):
            return Cut(stored, warped=False, complete=True)
        stored = self._without_nodata(stored, nodata)
        if self.scene.unit != "db":
            return Cut(to_db(stored), warped=False)
        # Already what is wanted: passing through linear power would only add rounding.
        db = stored.astype(np.float32)
        db[~np.isfinite(db)] = np.nan
        return Cut(db, warped=False)

    def _is_plain(self, nodata: float | None) -> bool:
        """Return whether values are dB as they are, nodata being NaN alone."""
        return self.scene.unit == "db" and _is_nan(nodata) and _is_nan(self.scene.nodata)

    def warp(self, stored: Plane, nodata: float | None, place: Place) -> Cut:
        """Return dB of the bilinear power."""
        stored = self._without_nodata(stored, nodata)
        if self.scene.unit == "db":
            power = from_db(stored)
        else:
            power = np.where(valid_power(stored, None), stored, np.nan).astype(np.float64)
        warped = warp(power, place.transform, place.crs, place.frame, self.side)
        return Cut(to_db(warped), warped=True)

    def _without_nodata(self, stored: Plane, nodata: float | None) -> Plane:
        for value in nodata_values(nodata, self.scene.nodata):
            stored = np.where(stored == np.asarray(value, stored.dtype), np.nan, stored)
        if contradicts(stored, self.scene.unit):
            raise LandmarkError(
                f"{self.path}: its values are not {self.scene.unit}, which it is taken for "
                f"({self.scene.unit_source}); mend the file, or set s1.unit in the manifest"
            )
        return stored


class SceneClasses(Band):
    """Sentinel-2 scene classification, nearest; 0 = nodata."""

    __slots__ = ()

    def accepts(self, dtype: np.dtype) -> bool:
        """Return whether the dtype holds class numbers."""
        return dtype.kind in "ui"

    def cut(self, stored: Plane, nodata: float | None) -> Cut:
        """Return the classes."""
        return Cut(stored.astype(np.uint8), warped=False)

    def warp(self, stored: Plane, nodata: float | None, place: Place) -> Cut:
        """Return the classes of the nearest pixels."""
        classes = stored.astype(np.uint8)
        nearest = warp_classes(classes, place.transform, place.crs, place.frame, self.side)
        return Cut(nearest, warped=True)


def image_band(scene: Scene) -> type[Reflectance | Backscatter]:
    """Return the rules of the image bands of a scene.

    Raises:
        LandmarkError: The scene's unit does not belong to its sensor.
    """
    if (scene.unit == "dn") != (scene.sensor == "s2"):
        raise LandmarkError(f"{scene.item}: unit {scene.unit} does not fit sensor {scene.sensor}")
    return Backscatter if scene.sensor == "s1" else Reflectance


def _is_nan(nodata: float | None) -> bool:
    """Return whether NaN alone is nodata, which it is in any case."""
    return nodata is None or math.isnan(nodata)


def nodata_values(*candidates: float | None) -> list[float]:
    """Return the distinct numeric nodata values; NaN is nodata in any case."""
    return sorted({float(v) for v in candidates if v is not None and not math.isnan(v)})
