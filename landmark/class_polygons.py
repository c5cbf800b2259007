"""Polygons with a class attribute on patch frames: which codes lie on a frame, on how many pixels.

As `landmark.rasters`, for maps that come as polygons. A pixel takes the code of the polygon its
centre lies in (of several that overlap the last in the file), as rasterising "by cell centre"
means. Pixels in no polygon are not covered.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.grid import PIXELS, Frame
from landmark.projections import transformer
from landmark.raster_files import NOTHING
from landmark.rasters import Counts, count_pictures, frame_blocks
from landmark.vectors import list_layers

SUFFIXES = frozenset({".gpkg", ".gdb", ".shp", ".geojson", ".json", ".fgb", ".parquet", ".zip"})
#: Edges are cut to this length before they are projected, m: a chord of 1 km bends by less than
#: a hundredth of a pixel between the usual map projections.
_EDGE_M = 1000.0
_EDGE_DEGREES = 0.01
#: Around a block of frames, how much is read, m: projected boxes are not boxes.
_MARGIN_M = 500.0


def is_vector(path: str) -> bool:
    """Tell by its suffix whether a file holds polygons rather than a raster."""
    return Path(path).suffix.lower() in SUFFIXES


def find_field(path: str, pattern: str, layer: str | None = None) -> str:
    """Return the one attribute whose whole name matches a pattern, whatever its case.

    Raises:
        InputError: The file cannot be read, or has no such attribute, or several.
    """
    names = list(_info(path, layer)["fields"])
    found = [name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)]
    if len(found) != 1:
        have = ", ".join(names) or "none"
        raise InputError(
            f"{path}: {'no' if not found else 'more than one'} attribute matches {pattern}; there "
            f"are {have} (name the one with the code as `field`)"
        )
    return str(found[0])


def polygon_codes(
    path: str,
    frames: Sequence[Frame],
    field: str,
    code_of: Callable[[str], int | None],
    layer: str | None = None,
) -> NDArray[np.int32]:
    """Return the codes on frames as pictures, (frames, 120, 120); `NOTHING` in no polygon.

    Args:
        path: Vector file.
        frames: Where.
        field: Attribute that holds the code or a class name.
        code_of: Attribute value -> code; None where it is unknown.
        layer: Layer of a file that holds several.

    Raises:
        InputError: The file cannot be read, or holds a value that is no code.
    """
    pictures = np.full((len(frames), PIXELS, PIXELS), NOTHING, np.int32)
    info = _info(path, layer)
    crs = info["crs"]
    if crs is None:
        raise InputError(f"{path}: states no CRS; write one with ogr2ogr -a_srs EPSG:...")
    if field not in info["fields"]:
        raise InputError(
            f"{path}: has no attribute {field!r}; there are {', '.join(info['fields']) or 'none'}"
        )
    for members in frame_blocks(frames):
        group = [frames[i] for i in members]
        shapes = _shapes(path, layer, field, crs, group, code_of)
        for index, frame in zip(members, group, strict=True):
            _burn(pictures[index], frame, shapes)
    return pictures


def class_counts(
    path: str,
    frames: Sequence[Frame],
    field: str,
    code_of: Callable[[str], int | None],
    layer: str | None = None,
    nodata: Collection[int] = (),
    masks: NDArray[np.bool_] | None = None,
) -> Counts:
    """Count the pixels of each code on each frame; arguments as `polygon_codes`.

    Args:
        path: Vector file.
        frames: Where.
        field: Attribute that holds the code.
        code_of: Attribute value -> code.
        layer: Layer of a file that holds several.
        nodata: Codes that mean "not mapped".
        masks: (frames, s, s) True on pixels to leave out.
    """
    pictures = polygon_codes(path, frames, field, code_of, layer)
    return count_pictures(pictures, {NOTHING, *nodata}, masks)


def _shapes(
    path: str,
    layer: str | None,
    field: str,
    crs: str,
    frames: Sequence[Frame],
    code_of: Callable[[str], int | None],
) -> list[tuple[Any, int]]:
    """Return polygons near frames of one CRS, in that CRS, with their codes, in file order."""
    import pyogrio
    import shapely

    epsg = frames[0].epsg
    west, south, east, north = np.array([frame.bounds for frame in frames]).T
    forward = transformer(crs, epsg)
    box = forward.transform_bounds(
        west.min() - _MARGIN_M,
        south.min() - _MARGIN_M,
        east.max() + _MARGIN_M,
        north.max() + _MARGIN_M,
        direction="INVERSE",
    )
    if not np.isfinite(box).all():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = pyogrio.read_dataframe(
            path, layer=layer, columns=[field], bbox=box, use_arrow=False
        )
    edge = _EDGE_DEGREES if transformer(crs, epsg).source_crs.is_geographic else _EDGE_M
    shapes = []
    for value, geometry in zip(found[field], found.geometry, strict=True):
        if geometry is None or geometry.is_empty:
            continue
        code = code_of(_text(value))
        if code is None:
            raise InputError(f"{path}: {field} {_text(value)!r} is no code of its crosswalk")
        dense = shapely.segmentize(shapely.force_2d(geometry), edge)
        moved = shapely.transform(
            dense, lambda xy: np.column_stack(forward.transform(xy[:, 0], xy[:, 1]))
        )
        shapes.append((moved, code))
    return shapes


def _burn(picture: NDArray[np.int32], frame: Frame, shapes: list[tuple[Any, int]]) -> None:
    import shapely
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    box = shapely.box(*frame.bounds)
    near = [(shape, code) for shape, code in shapes if shape.intersects(box)]
    if near:
        rasterize(
            near,
            out=picture,
            transform=Affine(*frame.transform()),
            all_touched=False,
            dtype="int32",
        )


def _info(path: str, layer: str | None) -> dict[str, Any]:
    import pyogrio

    layers = list_layers(path)
    try:
        if layer is None and len(layers) > 1:
            raise InputError(
                f"{path}: holds {len(layers)} layers ({', '.join(layers)}); name one as `layer`"
            )
        if layer is not None and layer not in layers:
            raise InputError(f"{path}: has no layer {layer!r}; there are {', '.join(layers)}")
        info: dict[str, Any] = pyogrio.read_info(path, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        missing = "" if Path(path).exists() else " (no such file)"
        raise InputError(f"{path}: cannot be read as a vector file{missing}") from error
    return info


def _text(value: Any) -> str:
    """Return an attribute as text: codes come as "311", 311 or 311.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
