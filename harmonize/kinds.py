"""The kinds of land-cover source a manifest can name, and what each stands for."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from harmonize.corine import CLC_CODES, NODATA_CODES
from harmonize.dynamic_world import LABELS
from landmark.period import Period

#: `<sensing>_<processing>_T<MGRS>`, the id of a Dynamic World image (Earth Engine catalogue).
#: or `dw_<day>_`, as `harmonize.earth_engine` names its composites.
_DW_ID = re.compile(
    r"(?:^dw_(?=\d{8}_))?(\d{4})(\d{2})(\d{2})(?:T\d{6}_\d{8}T\d{6}_T\d{2}[A-Z]{3}|_\d{5}_)"
)
#: `ESA_WorldCover_10m_2021_v200_N45E009_Map.tif`
_WORLDCOVER = re.compile(r"ESA_WorldCover_10m_(\d{4})_v\d+")
#: `32T_20210101-20220101.tif`: one tile and year of Impact Observatory.
_IO = re.compile(r"_(\d{4})0101-\d{4}0101")


def _dynamic_world_date(name: str) -> Period | None:
    match = _DW_ID.search(name)
    if match is None:
        return None
    try:
        day = dt.date(*(int(part) for part in match.groups()))
    except ValueError:
        return None
    return Period(start=day, end=day)


def _year_by(pattern: re.Pattern[str]) -> Callable[[str], Period | None]:
    def date(name: str) -> Period | None:
        match = pattern.search(name)
        if match is None or int(match[1]) < dt.MINYEAR:
            return None
        year = int(match[1])
        return Period(start=dt.date(year, 1, 1), end=dt.date(year, 12, 31))

    return date


def _undated(name: str) -> Period | None:
    return None


@dataclass(frozen=True)
class Kind:
    """What a `kind` of the manifest stands for.

    Attributes:
        prefix: Of its native labels: `clc:311`; "": the crosswalk's source.
        nomenclature: What its crosswalk's rows name as `source`; None: any.
        crosswalk: Default crosswalk; None: the manifest names one.
        codes: Every code it may hold; None: those of the crosswalk.
        threshold: Default presence threshold. A 100 m CORINE pixel is 100 of our pixels, and its
            smallest mapped unit is 25 ha: below 5 % of a patch (7 ha) it says little. 10 m
            sources carry classes from 2 % (3 ha) on.
        nodata: Values that mean "not mapped", besides a file's declared nodata.
        date: File name -> the period the map describes, where names say.
        period: The period every map of the kind describes, or None.
        collection: STAC collection that lists it (Planetary Computer's name), or None.
        asset: Asset key of the map there.
    """

    prefix: str
    nomenclature: str | None
    crosswalk: str | None
    codes: tuple[int, ...] | None
    threshold: float
    nodata: frozenset[int] = frozenset()
    date: Callable[[str], Period | None] = _undated
    period: Period | None = None
    collection: str | None = None
    asset: str = "data"


#: CORINE 2018 maps images of 2017 and 2018 (CLC2018 readme).
_CLC_2018 = Period(start=dt.date(2017, 1, 1), end=dt.date(2018, 12, 31))
_CORINE = Kind("clc", "corine", "corine", CLC_CODES, 0.05, NODATA_CODES, period=_CLC_2018)
WORLDCOVER_CODES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)
IO_CODES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11)

KINDS: MappingProxyType[str, Kind] = MappingProxyType(
    {
        "corine": _CORINE,
        "reference-map": _CORINE,
        "dynamic-world": Kind(
            "dw",
            "dynamic-world",
            "dynamic-world",
            LABELS,
            0.02,
            frozenset({255}),
            date=_dynamic_world_date,
        ),
        "worldcover": Kind(
            "wc",
            "worldcover",
            "worldcover",
            WORLDCOVER_CODES,
            0.02,
            frozenset({0}),
            date=_year_by(_WORLDCOVER),
            collection="esa-worldcover",
            asset="map",
        ),
        # 10 is cloud: not mapped.
        "io-lulc": Kind(
            "io",
            "io-lulc",
            "io-lulc",
            IO_CODES,
            0.02,
            frozenset({0, 10}),
            date=_year_by(_IO),
            collection="io-lulc-annual-v02",
        ),
        "raster": Kind("", None, None, None, 0.02),
        "polygons": Kind("", None, None, None, 0.02),
        # A tag has no share; the threshold is not used.
        "table": Kind("", None, "taxonomy", None, 0.0),
    }
)
