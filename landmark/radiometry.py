"""What stored numbers mean: offsets, decibels, shares of valid and cloudy pixels.

Pure numpy. The order of the steps is the point: nodata is settled first, then the offset is
removed, and a valid pixel stays valid however dark it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landmark.scenes import Evidence, Unit

_UINT16_MAX = 65535
# Interpolation between whole numbers often hits exact halves (60 m onto 10 m: every weight is a
# multiple of 1/144), and float noise of 1e-11, which depends on the window read, would then decide.
_TIE_DECIMALS = 6
#: SCL class 0 is nodata (Sen2Cor scene classification, ESA Level-2A product definition).
_SCL_NODATA = 0

# Thresholds of `pixel_offset`, in DN (reflectance x 10000), on 1st percentiles of valid pixels.
# Without an offset the darkest band of a scene with any water, shadow or dense vegetation lies
# well under 600; with +1000 in the pixels a floor of 600 would mean a reflectance of -0.04 for
# one pixel in a hundred. Real L2A pieces: 1..531 without, 845 and 1643 (bright ground) with.
_NO_OFFSET_BELOW = 600.0
# With +1000 in the pixels, dark ground stands near 1000 in the visible AND in the infrared
# (Sen2Cor's overcorrection reaches about -250, dark ground up to +300). Bright ground alone
# does not: desert is bright in the infrared, snow and cloud in the visible.
_OFFSET_FLOOR = (700.0, 1300.0)
# Median backscatter of land and water is -7 to -25 dB; of linear power 0.003 to 0.2. Noise
# subtraction leaves powers of some -0.01 (Sentinel-1 thermal noise is about -22 dB).
_DB_MEDIAN, _NOISE_POWER = -1.0, -0.1
#: Share of an image that must hold values before they can prove anything of its unit.
_PROOF_SHARE = 0.5
_VISIBLE = frozenset({"B01", "B02", "B03", "B04"})


def remove_offset(
    dn: NDArray[np.generic], offset: int, nodata: float | None
) -> tuple[NDArray[np.uint16], float]:
    """Return Sentinel-2 reflectance x 10000 without the provider's offset, and the clipped share.

    DN 0, NaN and `nodata` are no data and become 0. Valid pixels are rounded to nearest
    (after rounding to 6 decimals; halves to even), shifted and clipped to 1..65535, so that no
    dark pixel turns into nodata.

    Args:
        dn: Digital numbers as stored, integer or float.
        offset: Number to add: -1000 where the pixels hold +1000, else 0.
        nodata: Further value that means no data, or None.

    Returns:
        uint16 array of the same shape, and the share of valid pixels that had to be clipped
        (0 where none is valid).
    """
    if nodata is not None and not np.isnan(nodata) and nodata != 0:
        dn = np.where(dn == nodata, 0, dn).astype(dn.dtype)
    if dn.dtype == np.uint16 and offset <= 0:
        return _remove_offset_uint16(dn, -offset)
    valid = dn != 0
    if dn.dtype.kind == "f":
        valid &= np.isfinite(dn)
    values = np.where(valid, dn, 0)
    if dn.dtype.kind == "f":
        values = np.rint(np.round(values, _TIE_DECIMALS))
    rounded = values.astype(np.int64) + offset
    clipped = np.clip(rounded, 1, _UINT16_MAX)
    changed = int(np.count_nonzero(valid & (clipped != rounded)))
    share = changed / max(1, int(np.count_nonzero(valid)))
    return np.where(valid, clipped, 0).astype(np.uint16), share


def _remove_offset_uint16(dn: NDArray[np.generic], added: int) -> tuple[NDArray[np.uint16], float]:
    """The same for what the files usually hold, without leaving 16 bits (five times faster)."""
    out: NDArray[np.uint16] = dn.astype(np.uint16)
    if added == 0:
        return out, 0.0
    valid = out != 0
    dark = int(np.count_nonzero((out <= added) & valid))
    np.maximum(out, added + 1, out=out)
    out -= np.uint16(added)
    out *= valid
    return out, dark / max(1, int(np.count_nonzero(valid)))


def to_db(power: NDArray[np.floating], nodata: float | None = None) -> NDArray[np.float32]:
    """Return linear power as float32 dB: log10 in float64, rounded once.

    Zero, negative, infinite, NaN and `nodata` become NaN.
    """
    good = valid_power(power, nodata)
    db = np.full(power.shape, np.nan)
    np.log10(power.astype(np.float64), out=db, where=good)
    return (10.0 * db).astype(np.float32)


def from_db(db: NDArray[np.floating], nodata: float | None = None) -> NDArray[np.float64]:
    """Return dB as linear power (float64); NaN, infinite and `nodata` become NaN."""
    good = np.isfinite(db)
    if nodata is not None:
        good &= db != np.float32(nodata)
    power = np.full(db.shape, np.nan)
    np.power(10.0, db.astype(np.float64) / 10.0, out=power, where=good)
    return power


def valid_power(power: NDArray[np.floating], nodata: float | None) -> NDArray[np.bool_]:
    """Return where linear power is a measurement: finite, above zero and not `nodata`."""
    good = np.isfinite(power)
    np.greater(power, 0, out=good, where=good)
    if nodata is not None:
        good &= power != np.float32(nodata)
    return good


def backscatter_unit(values: NDArray[np.floating]) -> Unit | None:
    """Return the unit that backscatter values show: `db`, `linear`, or None if they prove nothing.

    Power is never below zero (a noise subtraction goes little below), and ground is far below
    1 in power, so that most of its dB values are negative.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, middle = float(finite.min()), float(np.median(finite))
    if middle < _DB_MEDIAN:
        return "db"
    return "linear" if low > _NOISE_POWER and middle >= 0 else None


def plainly_db(values: NDArray[np.floating]) -> bool:
    """Return whether values are finite, and their least too low to be power, as in most patches.

    Two looks at them, where a mask would take several; False says nothing.
    """
    return -math.inf < float(values.min()) <= _NOISE_POWER and float(values.max()) < math.inf


def contradicts(values: NDArray[np.floating], unit: Unit) -> bool:
    """Return whether backscatter values prove that they are of the other unit.

    Cheap where they do not: the least value alone clears nearly every patch. A sliver at the edge
    of a swath proves nothing: its few pixels may all be roofs or ships.

    Args:
        values: As stored, no data as NaN.
        unit: What they are said to be.
    """
    low = float(values.min())
    if math.isnan(low):  # then look past what is not there, which takes longer
        low = float(np.fmin.reduce(values, axis=None))
    suspect = low > _NOISE_POWER if unit == "db" else low < _DB_MEDIAN
    if not suspect or np.count_nonzero(np.isfinite(values)) < _PROOF_SHARE * values.size:
        return False
    return backscatter_unit(values) not in (None, unit)


def valid_fraction(valid: NDArray[np.bool_]) -> float:
    """Return the share of True."""
    return float(np.count_nonzero(valid) / valid.size)


def class_fraction(scl: NDArray[np.uint8] | None, classes: Collection[int]) -> float | None:
    """Return the cloudy share of the classified pixels, or None where nothing is classified.

    Args:
        scl: Scene classification, or None.
        classes: SCL classes that count as cloud.
    """
    if scl is None:
        return None
    known = scl != _SCL_NODATA
    total = np.count_nonzero(known)
    if not total:
        return None
    return float(np.count_nonzero(np.isin(scl, list(classes))) / total)


def pixel_offset(low_percentiles: Mapping[str, float]) -> Literal[0, 1000] | None:
    """Return the offset a scene's dark pixels show: 0, 1000, or None if they prove nothing.

    Args:
        low_percentiles: Band name (`B02`) -> 1st percentile of its valid DN as stored.
    """
    if not low_percentiles:
        return None
    if min(low_percentiles.values()) < _NO_OFFSET_BELOW:
        return 0
    visible = [value for band, value in low_percentiles.items() if band in _VISIBLE]
    infrared = [value for band, value in low_percentiles.items() if band not in _VISIBLE]
    if not visible or not infrared:
        return None
    low, high = _OFFSET_FLOOR
    if low <= min(visible) <= high and low <= min(infrared) <= high:
        return 1000
    return None


def offset_evidence(low_percentiles: Mapping[str, float], offset: int) -> Evidence:
    """Return whether a scene's dark pixels agree with the offset its metadata implies.

    Args:
        low_percentiles: Band name -> 1st percentile of its valid DN as stored.
        offset: What the metadata says is to be added to valid DN: -1000 or 0.

    Returns:
        `agrees`, `conflicts`, or `inconclusive`: bright ground proves nothing.
    """
    found = pixel_offset(low_percentiles)
    if found is None:
        return "inconclusive"
    return "agrees" if found == -offset else "conflicts"
