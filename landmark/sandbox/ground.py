"""The ground of a place before any crisis: relief, water, towns, woods and fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landmark.sandbox import fields
from landmark.sandbox.places import Place, window_of
from landmark.sandbox.surfaces import Surface

#: Leaning of the five widespread covers per place, in standard deviations of their noise.
_LEANING = {
    "north": {"trees": 0.25, "grass": 0.12, "crops": 0.40, "shrub": 0.08, "bare": -0.20},
    "south": {"trees": 0.22, "grass": 0.22, "crops": 0.16, "shrub": 0.16, "bare": -0.02},
}


@dataclass(frozen=True)
class Town:
    """A town: where it lies and how large it is, pixels."""

    row: int
    column: int
    radius: float


@dataclass(frozen=True)
class Ground:
    """The ground of a place; all arrays are of the place's shape at 10 m.

    Attributes:
        place: Where it lies.
        seed: Seed of the sandbox.
        surface: `Surface` codes, uint8.
        parcels: A random number per field parcel, uint32.
        relief: Height, standard deviations, float32.
        river: Distance to the nearest river's middle line, pixels, float32.
        towns: Towns.
    """

    place: Place
    seed: int
    surface: NDArray[np.uint8]
    parcels: NDArray[np.uint32]
    relief: fields.Field
    river: fields.Field
    towns: tuple[Town, ...]

    def within(self, scene: Place) -> Ground:
        """Return the part of the ground that a scene of the place shows (towns: none)."""
        window = window_of(scene, self.place)
        return Ground(
            scene,
            self.seed,
            self.surface[window],
            self.parcels[window],
            self.relief[window],
            self.river[window],
            (),
        )


def build_ground(place: Place, seed: int, threads: int = 1) -> Ground:
    """Return the ground of a place, a pure function of place and seed.

    Args:
        place: Where.
        seed: Seed of the sandbox.
        threads: Fields computed at a time; does not change the result.
    """
    key, shape = place.name, place.shape

    def noise(name: str, wavelength: float, octaves: int = 2) -> fields.Field:
        return fields.smooth(seed, f"{key}/{name}", shape, wavelength, octaves)

    tasks: dict[str, Callable[[], NDArray]] = {
        "relief": lambda: noise("relief", 480.0, 4),
        "ridges": lambda: noise("ridges", 540.0, 4),
        "wet": lambda: noise("wet", 160.0),
        "kinds": lambda: noise("kinds", 260.0),
        "edges": lambda: noise("edges", 40.0, 2),
        "parcels": lambda: fields.parcels(seed, f"{key}/parcels", shape, 32.0, 18.0),
    } | {name: (lambda name=name: noise(name, 420.0, 3)) for name in _LEANING[key]}
    made = dict(zip(tasks, _in_threads(tasks.values(), threads), strict=True))
    river = _rivers(place, seed)
    surface = _open_land(place, made)
    _mountains(place, surface, made)
    _waters(surface, made, river)
    towns = _towns(place, seed, surface, made["edges"])
    return Ground(place, seed, surface, made["parcels"], made["relief"], river, towns)


def _in_threads(tasks: Iterable[Callable[[], NDArray]], threads: int) -> list[NDArray]:
    with ThreadPoolExecutor(threads) as pool:
        return [f.result() for f in [pool.submit(task) for task in tasks]]


def _open_land(place: Place, made: dict[str, NDArray]) -> NDArray[np.uint8]:
    """Return woods, grass, crops, shrub and bare ground: the strongest noise wins."""
    parcels: NDArray[np.uint32] = made["parcels"]
    kinds, edges = made["kinds"], made["edges"]
    # Fields and pastures end at parcel borders, woods and shrub at ragged ones.
    tidy = (fields.uniform_of(parcels, 1) - np.float32(0.5)) * np.float32(0.7)
    ragged = edges * np.float32(0.16)
    extra = {"trees": ragged, "grass": -tidy, "crops": tidy, "shrub": -ragged, "bare": tidy * 0}
    lot = fields.uniform_of(parcels, 2)
    subtypes: dict[str, NDArray] = {
        "trees": np.where(kinds > 0.35, Surface.CONIFER, Surface.BROADLEAF),
        "grass": np.where(kinds + lot > 0.5, Surface.PASTURE, Surface.MEADOW),
        "crops": np.select(
            [lot < 0.42, lot < 0.86], [Surface.WINTER_CROP, Surface.SUMMER_CROP], Surface.ORCHARD
        ),
        "shrub": np.where(kinds > 0.0, Surface.HEATH, Surface.THICKET),
        "bare": np.where(kinds > 0.6, Surface.ROCK, Surface.SAND),
    }
    best = np.full(place.shape, -np.inf, np.float32)
    surface = np.zeros(place.shape, np.uint8)
    for name, leaning in _LEANING[place.name].items():
        score = made[name] + extra[name] + np.float32(leaning)
        wins = score > best
        best[wins] = score[wins]
        surface[wins] = subtypes[name][wins]
    return surface


def _mountains(place: Place, surface: NDArray[np.uint8], made: dict[str, NDArray]) -> None:
    ridges = made["ridges"] + made["edges"] * np.float32(0.05)
    rock = fields.quantile(ridges, 0.895 if place.name == "north" else 0.965)
    surface[ridges > rock] = Surface.ROCK
    if place.name == "north":
        surface[ridges > fields.quantile(ridges, 0.925)] = Surface.SNOW


def _rivers(place: Place, seed: int) -> fields.Field:
    """Return the distance to the nearer of two rivers (west-east, north-south), pixels.

    The distance is the one across the river's general direction, corrected by its local slope:
    good near the river, where it matters.
    """
    size = place.size
    along = np.arange(size, dtype=np.float32)
    distances = []
    for name, middle in (("west-east", 0.46), ("north-south", 0.62)):
        bends = fields.curve(seed, f"{place.name}/river/{name}", size, 420.0) * np.float32(60.0)
        bends += fields.curve(seed, f"{place.name}/bends/{name}", size, 110.0) * np.float32(14.0)
        slope = np.sqrt(1.0 + np.gradient(bends) ** 2, dtype=np.float32)
        line = np.float32(middle * size) + bends
        distances.append(np.abs(along[:, None] - line[None, :]) / slope[None, :])
    # The second river runs along the rows: same construction, transposed.
    return np.minimum(distances[0], distances[1].T).astype(np.float32)


def _waters(surface: NDArray[np.uint8], made: dict[str, NDArray], river: fields.Field) -> None:
    low = made["relief"] + made["edges"] * np.float32(0.04)
    wet = made["wet"]
    shore = fields.quantile(low, 0.055)
    marsh = (low < fields.quantile(low, 0.13)) & (wet > -0.2)
    marsh |= (river < 34) & (wet > 0.75)
    surface[marsh] = Surface.MARSH
    surface[river < 7.0 + 1.5 * made["kinds"]] = Surface.RIVER
    surface[low < shore] = Surface.LAKE


def _towns(
    place: Place, seed: int, surface: NDArray[np.uint8], edges: fields.Field
) -> tuple[Town, ...]:
    """Paint towns over the land (never over water) and return them."""
    towns = []
    for row, column, draws in fields.scatter(seed, f"{place.name}/towns", place.size, 300.0, 3):
        radius = 20.0 + 55.0 * float(draws[0]) ** 1.5
        if draws[1] > 0.85:
            continue
        reach = int(radius * 1.8)
        top, left = max(0, row - reach), max(0, column - reach)
        window = np.s_[top : row + reach, left : column + reach]
        here = surface[window]
        rows, columns = np.ogrid[top : top + here.shape[0], left : left + here.shape[1]]
        distance = np.hypot(rows - row, columns - column) / np.float32(radius)
        distance = distance + edges[window] * np.float32(0.22)
        dry = (here != Surface.LAKE) & (here != Surface.RIVER)
        here[dry & (distance < 1.0)] = Surface.SUBURB
        here[dry & (distance < 0.55)] = Surface.TOWN_CORE
        if draws[2] > 0.5:
            quarter = (np.abs(rows - row - radius * 0.8) < radius * 0.4) & (
                np.abs(columns - column) < radius * 0.6
            )
            here[dry & quarter] = Surface.INDUSTRY
        towns.append(Town(row, column, radius))
    return tuple(towns)
