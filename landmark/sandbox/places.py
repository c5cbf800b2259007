"""The two places of the synthetic Earth, and the acquisitions over them.

One place lies in a northern UTM zone, one in a southern zone. Both are squares on the lattice of
`landmark.grid`, so that pixels of 10, 20 and 60 m line up with patch frames. A place is seen in
one or several scenes: squares of it that were acquired on days of their own, by passes of their
own, so that a corpus can be split without tearing a scene apart.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Literal

Size = Literal["small", "demo"]
Phase = Literal["before", "after"]

#: Pixels (10 m) per 1.2 km cell and cells per 12 km block of the lattice.
CELL = 120
BLOCK_CELLS = 10
#: Metres a Sentinel-1 raster reaches beyond the place to the west and to the north (no data).
RADAR_MARGIN_WEST_M = 130
RADAR_MARGIN_NORTH_M = 70
#: Days between the acquisitions of neighbouring scenes of a place.
_SCENE_DAYS = 3
#: Relative orbits and days of a repeat cycle of Sentinel-2 and Sentinel-1.
_S2_CYCLE = (143, 10)
_S1_CYCLE = (175, 12)


@dataclass(frozen=True)
class Optical:
    """One Sentinel-2 product: an acquisition in one processing.

    Attributes:
        phase: Before or after the crises of its place.
        platform: `S2A` or `S2B`.
        time: Acquisition, ISO 8601 UTC.
        generated: Processing time, ISO 8601 UTC.
        baseline: Processing baseline as `03.01`.
        relative_orbit: 1..143.
        swath_edge: Whether the edge of the swath cuts the south-western corner off.
    """

    phase: Phase
    platform: str
    time: str
    generated: str
    baseline: str
    relative_orbit: int
    swath_edge: bool = False

    @property
    def offset(self) -> int:
        """What the pixels hold on top of reflectance x 10000: 1000 from baseline 04.00 on."""
        return 1000 if float(self.baseline) >= 4.0 else 0


@dataclass(frozen=True)
class Radar:
    """One Sentinel-1 RTC product.

    Attributes:
        phase: Before or after the crises of its place.
        platform: `S1A` or `S1B`.
        time: Start of the acquisition, ISO 8601 UTC.
        orbit_state: `ascending` or `descending`.
        relative_orbit: 1..175.
        absolute_orbit: Number that only makes the name look like one.
        polarisations: `VV`, `VH`.
        rows: Share of the place's rows the product holds, counted from the north.
    """

    phase: Phase
    platform: str
    time: str
    orbit_state: Literal["ascending", "descending"]
    relative_orbit: int
    absolute_orbit: int
    polarisations: tuple[str, ...] = ("VV", "VH")
    rows: float = 1.0


@dataclass(frozen=True)
class Place:
    """A square of synthetic ground in one UTM zone.

    Attributes:
        name: `north` or `south`.
        epsg: EPSG code of the UTM zone.
        x_min: Western edge, m.
        y_max: Northern edge, m.
        size: Rows and columns of 10 m.
        tile: MGRS tile the place lies in.
        optical: Sentinel-2 products.
        radar: Sentinel-1 products.
        scenes: Scenes along each side of the place.
        days: How much later than those of the first scene the acquisitions are.
    """

    name: str
    epsg: int
    x_min: float
    y_max: float
    size: int
    tile: str
    optical: tuple[Optical, ...]
    radar: tuple[Radar, ...]
    scenes: int = 1
    days: int = 0

    @property
    def region(self) -> str:
        """`north` or `south`, for a scene of a place too."""
        return self.name.split("-")[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of 10 m."""
        return (self.size, self.size)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, m."""
        edge = self.size * 10.0
        return (self.x_min, self.y_max - edge, self.x_min + edge, self.y_max)

    def transform(self, resolution: int = 10) -> tuple[float, float, float, float, float, float]:
        """Return the affine (a, b, c, d, e, f) of the place's grid at a pixel size in m."""
        return (float(resolution), 0.0, self.x_min, 0.0, -float(resolution), self.y_max)


_NORTH = Place(
    name="north",
    epsg=32632,
    x_min=600_000.0,
    y_max=5_040_000.0,
    size=3 * BLOCK_CELLS * CELL,
    tile="32TPR",
    optical=(
        Optical("before", "S2A", "2021-07-14T10:10:31Z", "2021-07-14T13:15:12Z", "03.01", 22),
        # The same acquisition, processed again two years later: the duplicate.
        Optical("before", "S2A", "2021-07-14T10:10:31Z", "2023-11-19T04:21:57Z", "05.10", 22),
        Optical("after", "S2B", "2021-11-06T10:11:29Z", "2021-11-06T12:30:44Z", "03.01", 22),
    ),
    radar=(
        Radar("before", "S1A", "2021-07-13T05:26:15Z", "descending", 168, 38759),
        Radar("before", "S1B", "2021-07-15T17:14:33Z", "ascending", 117, 27801, ("VV",), 1 / 3),
        Radar("after", "S1B", "2021-11-07T17:06:32Z", "ascending", 15, 29478),
    ),
)
_SOUTH = Place(
    name="south",
    epsg=32736,
    x_min=660_000.0,
    # 400 + 649 x 12000: the lattice rows of a southern zone are counted from N = 400.
    y_max=7_788_400.0,
    size=3 * BLOCK_CELLS * CELL,
    tile="36KXC",
    optical=(
        Optical("before", "S2B", "2022-09-08T07:36:19Z", "2022-09-08T11:02:36Z", "04.00", 92),
        Optical("after", "S2A", "2022-12-12T07:36:21Z", "2022-12-12T12:41:09Z", "05.09", 92, True),
    ),
    radar=(
        Radar("before", "S1A", "2022-09-06T03:10:28Z", "descending", 6, 44873),
        Radar("after", "S1A", "2022-12-14T16:04:51Z", "ascending", 174, 46325),
    ),
)


def places(size: Size) -> tuple[Place, ...]:
    """Return the places of a sandbox.

    Args:
        size: `demo`: 3 x 3 blocks of 12 km per place, each block a scene. `small`: 7 x 7 cells of
            1.2 km that reach over the corner where four blocks meet, seen in one scene.
    """
    if size == "demo":
        return (replace(_NORTH, scenes=3), replace(_SOUTH, scenes=3))
    shift = (BLOCK_CELLS - 3) * CELL * 10.0
    return tuple(
        replace(p, x_min=p.x_min + shift, y_max=p.y_max - shift, size=7 * CELL)
        for p in (_NORTH, _SOUTH)
    )


def scenes_of(place: Place) -> tuple[Place, ...]:
    """Return what the scenes of a place show, from the north-west on, each as a place of its own.

    No two scenes share a pass: each was acquired some days later than the one before, and its
    relative orbit is the one the satellites fly on that day.
    """
    if place.scenes == 1:
        return (place,)
    side = place.size // place.scenes
    return tuple(
        _scene(place, row, column, side)
        for row in range(place.scenes)
        for column in range(place.scenes)
    )


def window_of(scene: Place, place: Place) -> tuple[slice, slice]:
    """Return rows and columns (10 m) of a place that one of its scenes shows."""
    top = round((place.y_max - scene.y_max) / 10.0)
    left = round((scene.x_min - place.x_min) / 10.0)
    return (slice(top, top + scene.size), slice(left, left + scene.size))


def _scene(place: Place, row: int, column: int, side: int) -> Place:
    days = (row * place.scenes + column) * _SCENE_DAYS
    return replace(
        place,
        name=f"{place.name}-{row}{column}",
        x_min=place.x_min + 10.0 * side * column,
        y_max=place.y_max - 10.0 * side * row,
        size=side,
        # The edge of the swath cuts a corner in the west of the place only.
        optical=tuple(
            replace(
                product,
                time=later(product.time, days),
                generated=later(product.generated, days),
                relative_orbit=_orbit(product.relative_orbit, days, _S2_CYCLE),
                swath_edge=product.swath_edge and column == 0,
            )
            for product in place.optical
        ),
        radar=tuple(
            replace(
                product,
                time=later(product.time, days),
                relative_orbit=_orbit(product.relative_orbit, days, _S1_CYCLE),
                absolute_orbit=product.absolute_orbit + round(days * _S1_CYCLE[0] / _S1_CYCLE[1]),
            )
            for product in place.radar
        ),
        scenes=1,
        days=days,
    )


def later(time: str, days: int) -> str:
    """Return an ISO 8601 day or UTC time some days later, in the same form."""
    if "T" not in time:
        return (dt.date.fromisoformat(time) + dt.timedelta(days)).isoformat()
    moved = dt.datetime.fromisoformat(time) + dt.timedelta(days)
    return moved.strftime("%Y-%m-%dT%H:%M:%SZ")


def _orbit(first: int, days: int, cycle: tuple[int, int]) -> int:
    """Return the relative orbit flown `days` after `first`, at about the same time of the day."""
    orbits, length = cycle
    return (first - 1 + round(days * orbits / length)) % orbits + 1
