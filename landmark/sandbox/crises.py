"""The crises between the two dates: where they strike, and the ground they leave behind.

The polygons come first: they are written as vectors, and the ground is changed inside of exactly
these polygons, so that vectors and pixels agree to the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import rasterize, shapes
from rasterio.transform import Affine
from shapely import MultiPolygon, Polygon, box, set_precision, transform, union_all
from shapely.geometry import shape as as_geometry
from shapely.geometry.base import BaseGeometry

from landmark.sandbox import fields
from landmark.sandbox.ground import Ground
from landmark.sandbox.places import Place, later, scenes_of, window_of
from landmark.sandbox.surfaces import Surface

Mask = NDArray[np.bool_]

#: Distance around affected areas that counts as looked at, m.
_ANALYSED_M = 2500.0
#: Width of the strip along a scene's edge that no event reaches into, pixels.
_EDGE = 6
#: Margin of the looked-at area to the scene's edge, m; narrower than `_EDGE`.
_MARGIN_M = 30.0
#: Parts smaller than this are left out of the vectors, m2.
_SMALLEST_M2 = 3000.0
_WATER = (Surface.LAKE, Surface.RIVER)
_WOODS = (Surface.BROADLEAF, Surface.CONIFER, Surface.THICKET, Surface.ORCHARD, Surface.MARSH)
_TOWN = (Surface.TOWN_CORE, Surface.SUBURB, Surface.INDUSTRY)
_NEVER_BURNS = (*_WATER, *_TOWN, Surface.SNOW, Surface.SAND, Surface.ROCK)


@dataclass(frozen=True)
class Crisis:
    """One event.

    Attributes:
        id: Identifier, unique.
        type: `flood`, `fire` or `earthquake`.
        start: First day, ISO.
        end: Last day, ISO.
        areas: Affected areas, longitude and latitude (OGC:CRS84).
        analysed: Areas looked at, same CRS.
    """

    id: str
    type: str
    start: str
    end: str
    areas: tuple[Polygon, ...]
    analysed: MultiPolygon


@dataclass(frozen=True)
class _Plan:
    """An event before it has a shape: half of the place it strikes, and when."""

    id: str
    type: str
    start: str
    end: str
    #: West edge and east edge of the part it may strike, as shares of the place's width.
    part: tuple[float, float]
    #: Share of the possible spots that are struck.
    share: float


_PLANS = {
    "north": (
        _Plan("SYN-FIRE-N1", "fire", "2021-08-21", "2021-08-29", (0.0, 1.0), 0.16),
        _Plan("SYN-QUAKE-N1", "earthquake", "2021-09-25", "2021-09-25", (0.0, 1.0), 0.55),
        _Plan("SYN-FLOOD-N1", "flood", "2021-11-03", "2021-11-11", (0.0, 0.5), 1.0),
        _Plan("SYN-FLOOD-N2", "flood", "2021-11-04", "2021-11-12", (0.5, 1.0), 1.0),
    ),
    "south": (
        _Plan("SYN-FIRE-S1", "fire", "2022-10-18", "2022-10-27", (0.0, 0.5), 0.4),
        _Plan("SYN-FIRE-S2", "fire", "2022-11-05", "2022-11-13", (0.5, 1.0), 0.4),
        _Plan("SYN-QUAKE-S1", "earthquake", "2022-11-20", "2022-11-20", (0.0, 1.0), 0.9),
        _Plan("SYN-FLOOD-S1", "flood", "2022-12-08", "2022-12-16", (0.0, 0.7), 0.6),
    ),
}


def strike(ground: Ground) -> tuple[NDArray[np.uint8], tuple[Crisis, ...]]:
    """Return the surface after the crises of a place (uint8 `Surface` codes), and the crises."""
    after = ground.surface.copy()
    crises = []
    for plan in _PLANS[ground.place.name]:
        wanted = _within(plan.part, _MASKS[plan.type](ground, plan))
        for scene, own in _by_scene(ground.place, plan):
            window = window_of(scene, ground.place)
            crisis = _outline(
                scene, own, wanted[window] if own is plan else _off_edge(wanted[window])
            )
            if own is not plan:
                crisis = replace(crisis, analysed=_looked_at(scene, crisis.analysed))
            if crisis.areas:
                _CHANGES[plan.type](after[window], _burn_in(scene, crisis.areas))
                crises.append(crisis)
    return after, tuple(crises)


def _by_scene(place: Place, plan: _Plan) -> list[tuple[Place, _Plan]]:
    """Return the scenes of a place, each with an event of its own, dated as the scene is."""
    if place.scenes == 1:
        return [(place, plan)]
    return [
        (
            scene,
            replace(
                plan,
                id=f"{plan.id}-{number}",
                start=later(plan.start, scene.days),
                end=later(plan.end, scene.days),
            ),
        )
        for number, scene in enumerate(scenes_of(place), start=1)
    ]


def _looked_at(scene: Place, analysed: MultiPolygon) -> MultiPolygon:
    """Return the part of an analysed area that the scene shows.

    A margin keeps the outline inside of it: in longitude and latitude the straight edge of a scene
    bends by some metres.
    """
    west, south, east, north = scene.bounds
    margin = _MARGIN_M
    inside = box(west + margin, south + margin, east - margin, north - margin)
    kept = analysed.intersection(_move(inside, to_lonlat(scene)))
    parts = kept.geoms if isinstance(kept, MultiPolygon) else (kept,)
    return MultiPolygon([p for p in parts if isinstance(p, Polygon) and not p.is_empty])


def _off_edge(mask: Mask) -> Mask:
    """Return a mask that stays clear of the scene's edge, beyond which nobody looked."""
    kept = np.zeros_like(mask)
    inner = np.s_[_EDGE:-_EDGE, _EDGE:-_EDGE]
    kept[inner] = mask[inner]
    return kept


def to_lonlat(place: Place) -> Transformer:
    """Return the transformation from a place's CRS to longitude and latitude."""
    return Transformer.from_crs(place.epsg, "OGC:CRS84", always_xy=True)


def _flood_mask(ground: Ground, plan: _Plan) -> Mask:
    """Low ground beside rivers and lakes; a smaller `share` floods less far."""
    reach = fields.smooth(ground.seed, f"{plan.id}/reach", ground.place.shape, 240.0)
    # Where the land beside the river rises, the water stays out.
    width = np.maximum(0.0, 30.0 + 26.0 * reach - 14.0 * ground.relief) * np.float32(plan.share)
    lakes = ground.relief < fields.quantile(ground.relief, 0.055 + 0.06 * plan.share)
    lakes &= reach > 0.1
    return ((ground.river < width) | lakes) & ~np.isin(ground.surface, _WATER)


def _fire_mask(ground: Ground, plan: _Plan) -> Mask:
    """Ragged scars around scattered starting points."""
    size = ground.place.size
    mask = np.zeros(ground.place.shape, np.bool_)
    edge = fields.smooth(ground.seed, f"{plan.id}/edge", ground.place.shape, 90.0, 3)
    spots = fields.scatter(ground.seed, f"{plan.id}/spots", size, 400.0, 3)
    spots = [s for s in spots if plan.part[0] <= s[1] / size < plan.part[1]]
    spots.sort(key=lambda spot: float(spot[2][0]))
    for row, column, draws in spots[: _count(plan, len(spots))]:
        radius = 55.0 + 75.0 * float(draws[1])
        reach = int(radius * 2)
        top, left = max(0, row - reach), max(0, column - reach)
        window = np.s_[top : row + reach, left : column + reach]
        local = mask[window]
        rows, columns = np.ogrid[top : top + local.shape[0], left : left + local.shape[1]]
        oblong = 0.6 + 0.8 * draws[2]
        distance = np.hypot((rows - row) * oblong, (columns - column) / oblong) / radius
        local |= (distance + 0.28 * edge[window]) < 1.0
    return mask & ~np.isin(ground.surface, _NEVER_BURNS)


def _quake_mask(ground: Ground, plan: _Plan) -> Mask:
    """Some quarters of most towns."""
    mask = np.zeros(ground.place.shape, np.bool_)
    towns = [
        (fields.stream(ground.seed, f"{plan.id}/{town.row}/{town.column}"), town)
        for town in ground.towns
    ]
    ranked = sorted(((draws.random(), town, draws) for draws, town in towns), key=lambda t: t[0])
    for _, town, draws in ranked[: _count(plan, len(ranked))]:
        for _ in range(1 + int(town.radius > 40)):
            offset = draws.normal(0.0, 0.35 * town.radius, 2)
            radius = town.radius * draws.uniform(0.35, 0.65)
            row, column = int(town.row + offset[0]), int(town.column + offset[1])
            reach = int(radius) + 1
            top, left = max(0, row - reach), max(0, column - reach)
            local = mask[top : max(0, row + reach), left : max(0, column + reach)]
            rows, columns = np.ogrid[top : top + local.shape[0], left : left + local.shape[1]]
            local |= np.hypot(rows - row, columns - column) < radius
    return mask & np.isin(ground.surface, _TOWN)


def _count(plan: _Plan, possible: int) -> int:
    """Return how many of the possible spots are struck: at least one, so that none stays away."""
    return max(1, round(plan.share * possible))


_MASKS = {"flood": _flood_mask, "fire": _fire_mask, "earthquake": _quake_mask}


def _flooded(surface: NDArray[np.uint8], struck: Mask) -> None:
    woods = struck & np.isin(surface, _WOODS)
    open_land = struck & ~woods & ~np.isin(surface, _WATER)
    surface[woods] = Surface.FLOODED_WOOD
    surface[open_land] = Surface.FLOOD_WATER


def _burnt(surface: NDArray[np.uint8], struck: Mask) -> None:
    woods = struck & np.isin(surface, _WOODS)
    surface[struck & ~woods & ~np.isin(surface, _NEVER_BURNS)] = Surface.BURNT_GRASS
    surface[woods] = Surface.BURNT_WOOD


def _shaken(surface: NDArray[np.uint8], struck: Mask) -> None:
    surface[struck & np.isin(surface, _TOWN)] = Surface.RUBBLE


_CHANGES = {"flood": _flooded, "fire": _burnt, "earthquake": _shaken}


def _within(part: tuple[float, float], mask: Mask) -> Mask:
    size = mask.shape[1]
    kept = np.zeros_like(mask)
    columns = np.s_[:, round(part[0] * size) : round(part[1] * size)]
    kept[columns] = mask[columns]
    return kept


def _outline(place: Place, plan: _Plan, wanted: Mask) -> Crisis:
    """Turn a mask into polygons as a mapping service would draw them, from 30 m pixels."""
    coarse = np.ascontiguousarray(wanted[1::3, 1::3]).astype(np.uint8)
    affine = Affine(30.0, 0.0, place.x_min, 0.0, -30.0, place.y_max)
    areas = []
    for geometry, _ in shapes(coarse, mask=coarse.astype(np.bool_), transform=affine):
        area = as_geometry(geometry).simplify(20.0)
        parts = area.geoms if isinstance(area, MultiPolygon) else (area,)
        areas += [p for p in parts if p.area >= _SMALLEST_M2 and p.is_valid]
    around = union_all([a.simplify(200.0).buffer(_ANALYSED_M, quad_segs=2) for a in areas])
    around = around.simplify(200.0)
    rounds = around.geoms if isinstance(around, MultiPolygon) else (around,)
    to_geographic = to_lonlat(place)
    lonlat = [set_precision(_move(a, to_geographic), 1e-6) for a in areas]
    return Crisis(
        id=plan.id,
        type=plan.type,
        start=plan.start,
        end=plan.end,
        areas=tuple(a for a in lonlat if isinstance(a, Polygon) and not a.is_empty),
        analysed=MultiPolygon(
            [set_precision(_move(a, to_geographic), 1e-6) for a in rounds if not a.is_empty]
        ),
    )


def _burn_in(place: Place, areas: tuple[Polygon, ...]) -> Mask:
    """Return the pixels whose centres lie in polygons given in longitude and latitude."""
    back = Transformer.from_crs("OGC:CRS84", place.epsg, always_xy=True)
    burnt = rasterize(
        [(_move(area, back), 1) for area in areas],
        out_shape=place.shape,
        transform=Affine(*place.transform()),
        dtype=np.uint8,
    )
    return burnt.astype(np.bool_)


def _move(geometry: BaseGeometry, transformer: Transformer) -> BaseGeometry:
    """Return a geometry in another CRS."""
    return transform(geometry, lambda xy: np.column_stack(transformer.transform(*xy.T)))
