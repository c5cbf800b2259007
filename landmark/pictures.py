"""Patches and label maps as pictures for people: fixed stretches, so that pictures compare.

Every stretch is a constant: two patches of equal ground look equal, whatever else is on the page.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from landmark.schema import ImageLayout
from landmark.taxonomy import CLASSES

Rgb = npt.NDArray[np.uint8]

#: Reflectance shown as full brightness. Land is mostly under 0.3; snow and cloud saturate.
TRUE_COLOUR_MAX = 0.3
#: Exponent of the tone curve: lifts dark forest and water without washing out crops.
TRUE_COLOUR_GAMMA = 1 / 1.6
#: dB ranges of red (VV), green (VH) and blue (VV - VH): from calm water to towns.
RADAR_RANGES_DB: tuple[tuple[float, float], ...] = ((-20.0, 0.0), (-27.0, -6.0), (1.0, 14.0))
#: Colour of pixels without data.
NODATA_GREY = 128

#: Class colours. The nine land covers: Dynamic World's own palette (Brown et al. 2022, as in
#: the Earth Engine catalogue); the three crisis classes: our own, away from the nine.
CLASS_COLOURS: dict[str, str] = dict(
    zip(
        CLASSES,
        (
            "#419bdf",
            "#397d49",
            "#88b053",
            "#7a87c6",
            "#e49635",
            "#dfc35a",
            "#c4281b",
            "#a59b8f",
            "#b39fe1",
            "#0bc5d8",
            "#3b1a10",
            "#e0218a",
        ),
        strict=True,
    )
)


def true_colour(image: npt.NDArray[np.generic], layout: ImageLayout) -> Rgb:
    """Return the true-colour picture of a Sentinel-2 patch.

    Red, green, blue are B04, B03, B02 (reflectance 0 to `TRUE_COLOUR_MAX`). A patch that lacks
    one of them is shown grey: the mean of those it has, or else of its first band.

    Args:
        image: (bands, rows, columns), stored values, bands in the order of `layout`.
        layout: Names the bands, the scale to reflectance and nodata.

    Returns:
        (rows, columns, 3) uint8; pixels without data in a shown band are grey.
    """
    wanted = [layout.bands.index(band) for band in ("B04", "B03", "B02") if band in layout.bands]
    planes = np.asarray(image[wanted or [0]])
    missing = (planes == layout.nodata).any(axis=0)
    values = planes.astype(np.float32) * np.float32(layout.scale / TRUE_COLOUR_MAX)
    if len(wanted) < 3:
        values = np.repeat(values.mean(axis=0, keepdims=True), 3, axis=0)
    values = np.clip(values, 0.0, 1.0) ** np.float32(TRUE_COLOUR_GAMMA)
    return _to_rgb(values, missing)


def radar_composite(image: npt.NDArray[np.floating], bands: tuple[str, ...] = ("VV", "VH")) -> Rgb:
    """Return the colour composite of a Sentinel-1 patch.

    Red is VV, green VH, blue VV - VH, each over its range of `RADAR_RANGES_DB`; a patch of one
    polarisation is grey. Water comes out dark, vegetation green, towns bright, bare ground blue.

    Args:
        image: (bands, rows, columns), dB, NaN where there is no data.
        bands: Names of the bands.

    Returns:
        (rows, columns, 3) uint8; pixels without data in a shown band are grey.
    """
    if "VV" in bands and "VH" in bands:
        vv, vh = image[bands.index("VV")], image[bands.index("VH")]
        planes = np.stack([vv, vh, vv - vh])
        ranges = RADAR_RANGES_DB
    else:
        planes = np.stack([image[0]] * 3)
        ranges = (RADAR_RANGES_DB[0 if bands[0] in ("VV", "HH") else 1],) * 3
    low, high = (np.array(side, np.float32)[:, None, None] for side in zip(*ranges, strict=True))
    missing = ~np.isfinite(planes).all(axis=0)
    values = np.clip((np.where(missing, 0.0, planes) - low) / (high - low), 0.0, 1.0)
    return _to_rgb(values, missing)


def picture_of(image: npt.NDArray[np.generic], layout: ImageLayout) -> Rgb:
    """Return the picture of a patch of either sensor: true colour or radar composite.

    Args:
        image: (bands, rows, columns), stored values.
        layout: Of the file the patch lies in.
    """
    if layout.sensor == "s2":
        return true_colour(image, layout)
    return radar_composite(np.asarray(image, np.float32), layout.bands)


def class_picture(classes: npt.NDArray[np.integer]) -> Rgb:
    """Return a map of classes in `CLASS_COLOURS`.

    Args:
        classes: (rows, columns), taxonomy positions 0..11; anything else is shown as no data.

    Returns:
        (rows, columns, 3) uint8.
    """
    palette = np.full((len(CLASSES) + 1, 3), NODATA_GREY, np.uint8)
    for position, name in enumerate(CLASSES):
        palette[position] = list(bytes.fromhex(CLASS_COLOURS[name][1:]))
    known = (classes >= 0) & (classes < len(CLASSES))
    shown: Rgb = palette[np.where(known, classes, len(CLASSES))]
    return shown


def upscale(rgb: Rgb, factor: int) -> Rgb:
    """Return a picture enlarged by a whole factor; pixels stay sharp squares."""
    return np.repeat(np.repeat(rgb, factor, axis=0), factor, axis=1)


def png_bytes(rgb: Rgb) -> bytes:
    """Return a picture as PNG; equal pictures give equal bytes."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(stream, format="PNG", compress_level=9)
    return stream.getvalue()


def _to_rgb(values: npt.NDArray[np.floating], missing: npt.NDArray[np.bool_]) -> Rgb:
    """Return (3, rows, columns) values in 0..1 as (rows, columns, 3) bytes."""
    rgb = np.rint(np.moveaxis(values, 0, -1) * 255).astype(np.uint8)
    rgb[missing] = NODATA_GREY
    return rgb


def with_outlines(
    rgb: Rgb, outlines: Sequence[tuple[Sequence[tuple[float, float]], str]], width: int = 2
) -> Rgb:
    """Return a picture with lines drawn on it.

    Args:
        rgb: (rows, columns, 3).
        outlines: Points (column, row) in pixels of the picture, and a colour `#rrggbb`.
        width: Of a line, pixels.
    """
    image = Image.fromarray(np.ascontiguousarray(rgb))
    draw = ImageDraw.Draw(image)
    for points, colour in outlines:
        if len(points) > 1:
            draw.line([(float(x), float(y)) for x, y in points], fill=colour, width=width)
    return np.asarray(image)


def side_by_side(pictures: Sequence[Rgb], gap: int = 8) -> Rgb:
    """Return pictures of one height in a row, with white between them."""
    white = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, white)]
    return np.concatenate(parts[:-1], axis=1)


def with_legend(rgb: Rgb, names: Sequence[str], columns: int = 4) -> Rgb:
    """Return a picture with the colours of classes named below it."""
    line, swatch = 24, 14
    rows = -(-len(names) // columns)
    image = Image.new("RGB", (rgb.shape[1], rgb.shape[0] + line * rows + 6), "white")
    image.paste(Image.fromarray(np.ascontiguousarray(rgb)), (0, 0))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=15)
    for position, name in enumerate(names):
        x = 4 + (position % columns) * rgb.shape[1] // columns
        y = rgb.shape[0] + 8 + position // columns * line
        draw.rectangle((x, y, x + swatch, y + swatch), fill=CLASS_COLOURS[name], outline="black")
        draw.text((x + swatch + 8, y - 2), name, fill="black", font=font)
    return np.asarray(image)
