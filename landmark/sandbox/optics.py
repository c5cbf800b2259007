"""Sentinel-2 pixels: reflectance of the ground through haze, clouds and the sensor's noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landmark.manifest import S2_BANDS
from landmark.sandbox import fields
from landmark.sandbox.ground import Ground
from landmark.sandbox.places import Optical, Phase
from landmark.sandbox.surfaces import Surface, column, season, spectra

#: Pixel size of each band, m.
RESOLUTION: dict[str, int] = {
    **dict.fromkeys(S2_BANDS, 20),
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B01", "B09"), 60),
}
#: Path radiance left after atmospheric correction, share of the haze field per band.
_HAZE = dict(
    zip(S2_BANDS, (1.0, 0.8, 0.55, 0.4, 0.33, 0.28, 0.25, 0.2, 0.18, 0.15, 0.05, 0.03), strict=True)
)
_CLOUD = dict(
    zip(
        S2_BANDS,
        (0.70, 0.69, 0.67, 0.66, 0.66, 0.66, 0.66, 0.66, 0.66, 0.50, 0.46, 0.34),
        strict=True,
    )
)
#: Scene classes counted as cloud cover: medium and high probability, thin cirrus.
SCL_CLOUD = (8, 9, 10)
#: Standard deviation of the sensor's noise, reflectance.
_NOISE = {10: 0.0016, 20: 0.0010, 60: 0.0007}
#: Shadow of a cloud: distance to the north-west, pixels, and the light that remains.
_SHADOW_SHIFT = (42, 36)
_SHADE_VISIBLE, _SHADE_INFRARED = 0.62, 0.42
#: Side of the strips a band is computed in, pixels of 10 m (a multiple of 6).
_STRIP = 600


@dataclass(frozen=True)
class Sky:
    """What lies between ground and sensor at one date; arrays of the place's shape at 10 m.

    Attributes:
        cloud: Opacity 0..1, float32.
        cirrus: Opacity of thin cloud 0..1, float32.
        shadow: Depth of cloud shadow 0..1, float32.
        haze: Reflectance added in the blue, float32.
        seen: Whether the swath covers the pixel, bool.
    """

    cloud: fields.Field
    cirrus: fields.Field
    shadow: fields.Field
    haze: fields.Field
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class State:
    """The ground of a place at one date; arrays of the place's shape at 10 m.

    Attributes:
        surface: `Surface` codes, uint8.
        dryness: Where each pixel stands between green (0) and dry (1), float32.
        stray: The part of `dryness` that is not the season's, standard deviations, float32.
        light: Relative brightness, float32.
    """

    surface: NDArray[np.uint8]
    dryness: fields.Field
    stray: fields.Field
    light: fields.Field


def make_state(ground: Ground, surface: NDArray[np.uint8], phase: Phase) -> State:
    """Return the ground of a place at one date, with its surface then."""
    place, seed = ground.place, ground.seed
    name = f"{place.name}/{phase}"
    stray = fields.smooth(seed, f"{name}/stray", place.shape, 90.0, 2) * np.float32(0.7)
    lots = fields.uniform_of(ground.parcels, 3 if phase == "before" else 4)
    tilled = np.isin(
        surface,
        (Surface.WINTER_CROP, Surface.SUMMER_CROP, Surface.ORCHARD, Surface.PASTURE),
    )
    stray += np.where(tilled, (lots - np.float32(0.5)) * np.float32(2.6), np.float32(0.0))
    dryness = season(place.region, phase)[surface]
    dryness += column("spread")[surface] * stray
    np.clip(dryness, 0.0, 1.0, out=dryness)

    # Slopes that face the morning sun in the south-east are brighter.
    slope = np.gradient(ground.relief, axis=0) + np.gradient(ground.relief, axis=1)
    light = slope * np.float32(-3.5)
    np.clip(light, -0.25, 0.25, out=light)
    light += fields.smooth(seed, f"{place.name}/soil", place.shape, 60.0, 2) * np.float32(0.05)
    light += (fields.uniform_of(ground.parcels, 5) - np.float32(0.5)) * np.float32(0.12)
    light += column("grain")[surface] * fields.white(seed, f"{place.name}/grain", place.shape)
    light += np.float32(1.0)
    np.clip(light, 0.3, 2.0, out=light)
    return State(surface, dryness, stray, light)


def make_sky(ground: Ground, product: Optical) -> Sky:
    """Return the sky of an acquisition (the same for each processing of it)."""
    place, seed = ground.place, ground.seed
    name, shape = f"{place.name}/{product.phase}/sky", place.shape
    size = place.size
    # Clouds gather in parts of the scene, so that some patches are rejected and most are not.
    weather = fields.smooth(seed, f"{name}/weather", shape, 900.0, 1)
    puffs = fields.smooth(seed, f"{name}/puffs", shape, 150.0, 4) + weather * np.float32(1.1)
    floor = fields.quantile(puffs, 0.90)
    cloud = np.clip((puffs - floor) * np.float32(2.5), 0.0, 1.0, dtype=np.float32)
    veil = fields.smooth(seed, f"{name}/veil", shape, 320.0, 2)
    cirrus = np.clip((veil - fields.quantile(veil, 0.965)) * np.float32(0.5), 0.0, 0.3)
    shadow = np.zeros(shape, np.float32)
    down, right = _SHADOW_SHIFT
    shadow[: size - down, : size - right] = cloud[down:, right:]
    haze = fields.smooth(seed, f"{name}/haze", shape, 1500.0, 1) * np.float32(0.004)
    haze += np.float32(0.012 if product.phase == "before" else 0.016)
    np.maximum(haze, 0.0, out=haze)
    seen = np.ones(shape, np.bool_)
    if product.swath_edge:
        rows = np.arange(size, dtype=np.float32)[:, None]
        seen = np.arange(size)[None, :] >= (rows / size - 0.35) * np.float32(0.16 * size)
    return Sky(cloud, cirrus.astype(np.float32), shadow, haze, seen)


def reflectance_dn(ground: Ground, state: State, sky: Sky, phase: Phase, band: str) -> NDArray:
    """Return a band as reflectance x 10000 with noise, unclipped: int32, 0 where not seen.

    Coarse bands are means of the 10 m reflectance, and are not seen where any part of the pixel is
    not; the noise is added at the band's own resolution. Not seen is told by `seen_at`.

    Args:
        ground: The ground.
        state: The ground at this date.
        sky: The sky at this date.
        phase: `before` or `after`; with the band it names the noise.
        band: One of `S2_BANDS`.
    """
    green, dry = spectra(band)
    span = dry - green
    step = RESOLUTION[band] // 10
    shade = _SHADE_VISIBLE if band in ("B01", "B02", "B03", "B04", "B05") else _SHADE_INFRARED
    noise = fields.stream(ground.seed, f"{ground.place.name}/{phase}/noise/{band}")
    size = ground.place.size
    result = np.empty((size // step, size // step), np.int32)
    for top in range(0, size, _STRIP):
        rows = np.s_[top : min(top + _STRIP, size)]
        surface = state.surface[rows]
        value = span[surface]
        value *= state.dryness[rows]
        value += green[surface]
        value *= state.light[rows]
        value *= 1.0 - np.float32(shade) * sky.shadow[rows]
        value += np.float32(_HAZE[band]) * sky.haze[rows]
        for layer in (sky.cirrus[rows], sky.cloud[rows]):
            value += layer * (np.float32(_CLOUD[band]) - value)
        value = _mean(value, step)
        value += noise.standard_normal(value.shape, dtype=np.float32) * np.float32(
            _NOISE[RESOLUTION[band]]
        )
        result[top // step : top // step + len(value)] = np.rint(value * np.float32(10000.0))
    return result


def seen_at(sky: Sky, resolution: int) -> NDArray[np.bool_]:
    """Return which pixels of a resolution (10, 20, 60 m) the swath covers whole."""
    step = resolution // 10
    rows, columns = sky.seen.shape
    blocks = sky.seen.reshape(rows // step, step, columns // step, step)
    whole: NDArray[np.bool_] = np.all(blocks, axis=(1, 3))
    return whole


def to_stored(dn: NDArray[np.int32], seen: NDArray[np.bool_], offset: int) -> NDArray[np.uint16]:
    """Return pixels as a product stores them: with its offset, valid >= 1, nodata 0, uint16."""
    stored = np.clip(dn + offset, 1, 65535).astype(np.uint16)
    stored[~seen] = 0
    return stored


def scene_classes(ground: Ground, state: State, sky: Sky, phase: Phase) -> NDArray[np.uint8]:
    """Return the 20 m scene classification (SCL codes 0, 2..11), uint8."""
    codes = _SCL[state.surface[::2, ::2]]
    dryness = state.dryness[::2, ::2]
    codes = np.where((codes == 4) & (dryness > 0.72), 5, codes).astype(np.uint8)
    unsure = fields.smooth(ground.seed, f"{ground.place.name}/{phase}/unsure", codes.shape, 12, 1)
    codes[(unsure > 2.6) & (codes != 11)] = 7
    cloud, cirrus, shadow = (_mean(a, 2) for a in (sky.cloud, sky.cirrus, sky.shadow))
    codes[shadow > 0.30] = 3
    codes[cirrus > 0.04] = 10
    codes[cloud > 0.12] = 8
    codes[cloud > 0.50] = 9
    codes[~seen_at(sky, 20)] = 0
    return codes


def _scl_codes() -> NDArray[np.uint8]:
    codes = np.full(len(Surface), 4, np.uint8)
    for surface in (Surface.LAKE, Surface.RIVER, Surface.FLOOD_WATER, Surface.FLOODED_WOOD):
        codes[surface] = 6
    for surface in (Surface.TOWN_CORE, Surface.INDUSTRY, Surface.SAND, Surface.ROCK):
        codes[surface] = 5
    for surface in (Surface.RUBBLE, Surface.BURNT_GRASS, Surface.SUBURB):
        codes[surface] = 5
    codes[Surface.BURNT_WOOD] = 2
    codes[Surface.SNOW] = 11
    return codes


_SCL = _scl_codes()


def _mean(values: fields.Field, step: int) -> fields.Field:
    """Return block means of `step` x `step` pixels, summed in a fixed order."""
    if step == 1:
        return values
    rows = values[0::step].copy()
    for k in range(1, step):
        rows += values[k::step]
    total = rows[:, 0::step].copy()
    for k in range(1, step):
        total += rows[:, k::step]
    total *= np.float32(1.0 / step**2)
    return total
