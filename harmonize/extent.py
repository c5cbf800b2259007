"""Where and when the patches of an index lie, for catalogues."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landmark.grid import SIZE_M

#: Metres of one degree of latitude at its shortest (WGS 84, equator).
_DEGREE_M = 110_574.0


@dataclass(frozen=True)
class Extent:
    """Box and period of patches.

    Attributes:
        boxes: West, south, east, north in degrees (OGC:CRS84), first of all patches, then of each
            UTM zone (south of the equator apart) where there are several.
        start: First acquisition, UTC.
        end: Last acquisition, UTC.
    """

    boxes: tuple[tuple[float, float, float, float], ...]
    start: dt.datetime
    end: dt.datetime


def extent_of(index: pa.Table) -> Extent | None:
    """Return the extent of all patches of an index; None for none.

    Boxes reach half a patch beyond the centres, so that they hold the footprints.
    """
    if not index.num_rows:
        return None
    lon, lat = index["lon"].to_numpy(), index["lat"].to_numpy()
    zones = index["epsg"].to_numpy()
    parts = [np.ones(lon.size, dtype=bool)]
    if np.unique(zones).size > 1:
        parts += [zones == zone for zone in np.unique(zones)]
    times = pc.min_max(index["datetime"]).as_py()
    return Extent(tuple(_box(lon[part], lat[part]) for part in parts), times["min"], times["max"])


def stamp(time: dt.datetime) -> str:
    """Return a time as RFC 3339, whole seconds, UTC."""
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _box(lon: np.ndarray, lat: np.ndarray) -> tuple[float, float, float, float]:
    # Half the diagonal: frames lie at a slant to the meridian.
    reach = SIZE_M * np.sqrt(0.5) / _DEGREE_M
    farthest = min(89.0, float(np.abs(lat).max()) + reach)
    wide = reach / np.cos(np.radians(farthest))
    return (
        round(max(-180.0, float(lon.min() - wide)), 6),
        round(max(-90.0, float(lat.min() - reach)), 6),
        round(min(180.0, float(lon.max() + wide)), 6),
        round(min(90.0, float(lat.max() + reach)), 6),
    )
