"""What each kind of ground looks like: reflectance and backscatter.

The numbers are typical magnitudes chosen by hand for a plausible picture; they are not
measurements and carry no more meaning than the rest of this synthetic Earth.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from landmark.manifest import S2_BANDS
from landmark.sandbox.places import Phase
from landmark.taxonomy import CLASSES


class Surface(IntEnum):
    """Kinds of ground; several of them make one class of the taxonomy."""

    LAKE = 0
    RIVER = 1
    BROADLEAF = 2
    CONIFER = 3
    MEADOW = 4
    PASTURE = 5
    MARSH = 6
    WINTER_CROP = 7
    SUMMER_CROP = 8
    ORCHARD = 9
    HEATH = 10
    THICKET = 11
    TOWN_CORE = 12
    SUBURB = 13
    INDUSTRY = 14
    SAND = 15
    ROCK = 16
    SNOW = 17
    FLOOD_WATER = 18
    FLOODED_WOOD = 19
    BURNT_WOOD = 20
    BURNT_GRASS = 21
    RUBBLE = 22


#: Reflectance of pure materials in the order of `S2_BANDS`.
_MATERIALS: dict[str, tuple[float, ...]] = {
    "leaf": (0.018, 0.022, 0.045, 0.025, 0.075, 0.22, 0.28, 0.31, 0.32, 0.33, 0.135, 0.060),
    "needle": (0.015, 0.018, 0.032, 0.020, 0.050, 0.13, 0.165, 0.185, 0.195, 0.2, 0.085, 0.038),
    "crop": (0.025, 0.030, 0.065, 0.035, 0.110, 0.30, 0.38, 0.42, 0.43, 0.44, 0.20, 0.095),
    "grass": (0.028, 0.034, 0.068, 0.046, 0.115, 0.24, 0.29, 0.32, 0.335, 0.34, 0.22, 0.115),
    "straw": (0.050, 0.065, 0.095, 0.115, 0.150, 0.185, 0.205, 0.225, 0.245, 0.255, 0.30, 0.21),
    "soil": (0.060, 0.075, 0.100, 0.130, 0.155, 0.17, 0.18, 0.195, 0.21, 0.215, 0.29, 0.26),
    "sand": (0.110, 0.135, 0.180, 0.225, 0.250, 0.265, 0.275, 0.29, 0.30, 0.305, 0.37, 0.34),
    "rock": (0.100, 0.110, 0.125, 0.140, 0.150, 0.155, 0.16, 0.165, 0.17, 0.17, 0.19, 0.18),
    "roof": (0.080, 0.085, 0.100, 0.150, 0.170, 0.185, 0.195, 0.205, 0.21, 0.215, 0.25, 0.24),
    "asphalt": (0.075, 0.085, 0.090, 0.095, 0.1, 0.105, 0.11, 0.115, 0.12, 0.12, 0.125, 0.12),
    "metal": (0.180, 0.200, 0.215, 0.225, 0.235, 0.24, 0.245, 0.25, 0.255, 0.255, 0.25, 0.22),
    "clear": (0.030, 0.026, 0.018, 0.008, 0.006, 0.004, 0.003, 0.002, 0.0015, 0.001, 8e-4, 5e-4),
    "mud": (0.060, 0.075, 0.110, 0.105, 0.100, 0.060, 0.055, 0.045, 0.035, 0.03, 0.012, 0.008),
    "snow": (0.88, 0.90, 0.88, 0.86, 0.85, 0.83, 0.82, 0.80, 0.78, 0.70, 0.10, 0.08),
    "char": (0.032, 0.034, 0.036, 0.040, 0.046, 0.053, 0.06, 0.066, 0.073, 0.08, 0.14, 0.155),
    "rubble": (0.130, 0.140, 0.160, 0.175, 0.185, 0.19, 0.195, 0.20, 0.205, 0.205, 0.24, 0.23),
}


@dataclass(frozen=True)
class Look:
    """How one kind of ground looks.

    Attributes:
        cover: Class of the taxonomy it belongs to.
        green: Materials with shares, at the green end of its variation.
        dry: Materials with shares, at the dry end.
        spread: How far single places stray between the two ends.
        grain: Standard deviation of brightness from pixel to pixel, relative.
        vv: Mean VV backscatter, dB.
        vh: Mean VH backscatter, dB.
        swing: Backscatter that goes with the variation between both ends, dB.
        grit: Standard deviation of backscatter from pixel to pixel beyond speckle, dB.
    """

    cover: str
    green: dict[str, float]
    dry: dict[str, float]
    spread: float
    grain: float
    vv: float
    vh: float
    swing: float
    grit: float


_LOOKS: dict[Surface, Look] = {
    Surface.LAKE: Look("Water", {"clear": 1.0}, {"clear": 0.8, "mud": 0.2}, 0.3, 0.0,
                       -21.0, -28.0, 1.0, 0.3),
    Surface.RIVER: Look("Water", {"clear": 0.6, "mud": 0.4}, {"mud": 1.0}, 0.2, 0.0,
                        -20.0, -27.0, 0.8, 0.5),
    Surface.BROADLEAF: Look("Trees", {"leaf": 1.0}, {"leaf": 0.4, "straw": 0.4, "soil": 0.2},
                            0.18, 0.13, -9.8, -15.0, -0.4, 0.9),
    Surface.CONIFER: Look("Trees", {"needle": 1.0}, {"needle": 0.7, "leaf": 0.3},
                          0.25, 0.15, -10.4, -15.6, 0.3, 0.9),
    Surface.MEADOW: Look("Grass", {"grass": 0.9, "crop": 0.1}, {"grass": 0.4, "straw": 0.6},
                         0.25, 0.04, -13.2, -19.6, -0.8, 0.5),
    Surface.PASTURE: Look("Grass", {"grass": 0.6, "straw": 0.4}, {"straw": 0.85, "soil": 0.15},
                          0.25, 0.05, -14.2, -20.8, -0.8, 0.6),
    Surface.MARSH: Look("Flooded Vegetation", {"grass": 0.5, "leaf": 0.2, "clear": 0.3},
                        {"grass": 0.2, "straw": 0.3, "clear": 0.5}, 0.3, 0.12,
                        -7.6, -15.8, -0.6, 1.4),
    Surface.WINTER_CROP: Look("Crops", {"crop": 0.85, "soil": 0.15}, {"straw": 0.5, "soil": 0.5},
                              0.3, 0.03, -12.0, -18.6, -1.4, 0.5),
    Surface.SUMMER_CROP: Look("Crops", {"crop": 1.0}, {"soil": 0.75, "straw": 0.25},
                              0.25, 0.03, -10.9, -17.0, -1.6, 0.5),
    Surface.ORCHARD: Look("Crops", {"leaf": 0.45, "soil": 0.35, "grass": 0.2},
                          {"straw": 0.4, "soil": 0.6}, 0.25, 0.09, -10.8, -17.3, -0.6, 0.9),
    Surface.HEATH: Look("Shrub and Scrub", {"needle": 0.4, "grass": 0.35, "soil": 0.25},
                        {"needle": 0.25, "straw": 0.5, "soil": 0.25}, 0.25, 0.09,
                        -12.2, -18.0, -0.6, 0.8),
    Surface.THICKET: Look("Shrub and Scrub", {"leaf": 0.65, "grass": 0.25, "soil": 0.1},
                          {"leaf": 0.4, "straw": 0.4, "soil": 0.2}, 0.25, 0.11,
                          -11.0, -16.4, -0.5, 0.9),
    Surface.TOWN_CORE: Look("Built", {"roof": 0.6, "asphalt": 0.35, "leaf": 0.05},
                            {"roof": 0.55, "asphalt": 0.45}, 0.4, 0.16, -4.8, -11.8, 0.5, 2.6),
    Surface.SUBURB: Look("Built", {"roof": 0.35, "asphalt": 0.25, "grass": 0.25, "leaf": 0.15},
                         {"roof": 0.45, "asphalt": 0.35, "straw": 0.2}, 0.4, 0.18,
                         -7.2, -14.0, 0.5, 2.4),
    Surface.INDUSTRY: Look("Built", {"metal": 0.7, "asphalt": 0.3}, {"metal": 0.4, "asphalt": 0.6},
                           0.5, 0.2, -4.2, -12.8, 0.5, 3.0),
    Surface.SAND: Look("Bare", {"sand": 0.75, "soil": 0.25}, {"sand": 1.0}, 0.4, 0.05,
                       -16.8, -24.6, -0.6, 0.5),
    Surface.ROCK: Look("Bare", {"rock": 0.85, "grass": 0.15}, {"rock": 1.0}, 0.4, 0.10,
                       -12.2, -20.0, 0.4, 1.2),
    Surface.SNOW: Look("Snow and Ice", {"snow": 1.0}, {"snow": 0.85, "rock": 0.15}, 0.3, 0.02,
                       -16.0, -26.0, 0.8, 0.5),
    Surface.FLOOD_WATER: Look("Flooded Area", {"mud": 0.7, "clear": 0.3},
                              {"mud": 0.95, "straw": 0.05}, 0.4, 0.01, -19.8, -26.6, 0.8, 0.8),
    Surface.FLOODED_WOOD: Look("Flooded Area", {"leaf": 0.35, "mud": 0.65},
                               {"straw": 0.25, "mud": 0.75}, 0.3, 0.12, -5.4, -13.8, 0.4, 1.4),
    Surface.BURNT_WOOD: Look("Burned Area", {"char": 0.8, "leaf": 0.1, "soil": 0.1},
                             {"char": 0.95, "soil": 0.05}, 0.4, 0.12, -11.2, -19.4, -0.4, 1.0),
    Surface.BURNT_GRASS: Look("Burned Area", {"char": 0.7, "straw": 0.2, "soil": 0.1},
                              {"char": 0.9, "soil": 0.1}, 0.4, 0.07, -14.8, -22.8, -0.4, 0.7),
    Surface.RUBBLE: Look("Earthquake Damage", {"rubble": 0.9, "roof": 0.1},
                         {"rubble": 0.65, "asphalt": 0.35}, 0.6, 0.30, -9.0, -14.6, 0.5, 4.0),
}  # fmt: skip

#: Where each kind of ground stands between green (0) and dry (1): place, phase -> mean.
_SEASON: dict[tuple[str, Phase], dict[str, float]] = {
    ("north", "before"): {"WINTER_CROP": 0.85, "SUMMER_CROP": 0.1, "MEADOW": 0.3, "PASTURE": 0.4,
                          "BROADLEAF": 0.05, "ORCHARD": 0.15, "HEATH": 0.3, "THICKET": 0.15,
                          "MARSH": 0.15},
    ("north", "after"): {"WINTER_CROP": 0.45, "SUMMER_CROP": 0.9, "MEADOW": 0.45, "PASTURE": 0.55,
                         "BROADLEAF": 0.55, "ORCHARD": 0.65, "HEATH": 0.6, "THICKET": 0.55,
                         "MARSH": 0.6},
    ("south", "before"): {"WINTER_CROP": 0.8, "SUMMER_CROP": 0.95, "MEADOW": 0.75, "PASTURE": 0.85,
                          "BROADLEAF": 0.4, "ORCHARD": 0.6, "HEATH": 0.75, "THICKET": 0.6,
                          "MARSH": 0.5},
    ("south", "after"): {"WINTER_CROP": 0.6, "SUMMER_CROP": 0.35, "MEADOW": 0.3, "PASTURE": 0.4,
                         "BROADLEAF": 0.1, "ORCHARD": 0.25, "HEATH": 0.35, "THICKET": 0.2,
                         "MARSH": 0.2},
}  # fmt: skip


def cover_codes() -> NDArray[np.uint8]:
    """Return the taxonomy position (0..11) of each surface, uint8 of length len(Surface)."""
    return np.array([CLASSES.index(_LOOKS[s].cover) for s in Surface], np.uint8)


def season(place: str, phase: Phase) -> NDArray[np.float32]:
    """Return where each surface stands between green (0) and dry (1) at a date, float32."""
    means = _SEASON[place, phase]
    return np.array([means.get(s.name, 0.4) for s in Surface], np.float32)


def column(name: str) -> NDArray[np.float32]:
    """Return one numeric attribute of `Look` (`spread`, `grain`, `vv`, ...) per surface."""
    return np.array([getattr(_LOOKS[s], name) for s in Surface], np.float32)


def spectra(band: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the reflectance of each surface in a band at its green end and at its dry end."""
    index = S2_BANDS.index(band)
    green, dry = (
        np.array(
            [
                sum(share * _MATERIALS[m][index] for m, share in mixture(_LOOKS[s]).items())
                for s in Surface
            ],
            np.float32,
        )
        for mixture in (lambda look: look.green, lambda look: look.dry)
    )
    return green, dry
