"""HDF5 files of archives: datasets as images, attributes, links. Needs the extra `archives`.

A path is `FILE#GROUP/DATASET`, with `?flip` at its end where the first row is the southern one.
FILE may be a member of a tar or zip file that is not compressed (`landmark.subfiles`).
An archive's tiles are arrays of (rows, columns, bands) or (rows, columns) without a georeference
of their own; `Hdf5Image` gives them the little of rasterio's reading interface that cutting
patches needs, on the grid the plan states. Links that lead out of a file are not followed by
readers: where an archive is spread over files by external links, the plan names the file that
holds the data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from landmark.errors import InputError, LandmarkError
from landmark.scenes import SourceGrid
from landmark.subfiles import SubFile, is_subfile

#: How names of HDF5 files end.
SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
_FLIP = "?flip"
_PACKED = (".tar", ".zip")


def is_hdf5(path: str) -> bool:
    """Return whether a path names a dataset of an HDF5 file."""
    return bool(split_path(path)[1])


def split_path(path: str) -> tuple[str, str]:
    """Return the file of a path and the dataset inside it; ("" for a path that names none).

    Folders may be called with a `#` too: the first one behind a file's suffix counts.
    """
    lower = path.lower()
    ends = [
        place + len(suffix)
        for suffix in (_PACKED if is_subfile(path) else SUFFIXES)
        if (place := lower.find(f"{suffix}#")) >= 0
    ]
    return (path[: min(ends)], path[min(ends) + 1 :]) if ends else (path, "")


@contextlib.contextmanager
def open_file(path: str | Path) -> Iterator[Any]:
    """Open an HDF5 file for reading, with the filters of hdf5plugin (BZip2, Zstd, ...) at hand.

    Raises:
        InputError: The file is missing, cut off or no HDF5, or the extra is not installed.
    """
    require_hdf5(str(path))
    import h5py

    with contextlib.ExitStack() as stack:
        try:
            part = stack.enter_context(SubFile(str(path))) if is_subfile(str(path)) else None
            file = stack.enter_context(h5py.File(path if part is None else part, "r"))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except OSError as error:
            raise InputError(f"{path}: is no whole HDF5 file ({_short(error)})") from None
        yield file


def member(file: Any, name: str, origin: str) -> Any:
    """Return a group or dataset inside a file; links out of the file are not followed.

    Raises:
        LandmarkError: There is no such member, or the way to it is a link.
    """
    import h5py

    place = file
    for part in name.strip("/").split("/"):
        kind = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
        if kind is None:
            raise LandmarkError(f"{origin}: holds no {name}")
        if not isinstance(kind, h5py.HardLink):
            raise LandmarkError(f"{origin}: {name} is a link; it is not followed")
        place = place[part]
    return place


def is_external(link: Any) -> bool:
    """Return whether a link (`group.get(name, getlink=True)`) leads to another file."""
    import h5py

    return isinstance(link, h5py.ExternalLink)


def require_hdf5(origin: str) -> None:
    """Refuse to go on where the extra `archives` is not installed.

    Raises:
        InputError: h5py or hdf5plugin is missing.
    """
    try:
        import h5py  # noqa: F401
        import hdf5plugin  # noqa: F401 (registers its filters when imported)
    except ImportError:
        raise InputError(
            f"{origin}: HDF5 needs h5py and hdf5plugin: install landmark[archives]"
        ) from None


def read_dataset(path: str) -> NDArray[Any]:
    """Return a whole dataset.

    Raises:
        LandmarkError: There is none, or it is damaged (InputError: the file is).
    """
    name, inner = split_path(path)
    with open_file(name) as file:
        dataset = _dataset(file, inner, name)
        return _read(dataset, (), f"{name}: {inner}")


def shape_of(node: Any) -> tuple[int, ...]:
    """Return the shape of a dataset; () for a group."""
    return tuple(int(size) for size in getattr(node, "shape", ()))


def attribute(node: Any, name: str) -> Any:
    """Return an attribute as a plain Python value (bytes decoded), or None."""
    value = node.attrs.get(name)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    return _plain(value)


class Hdf5Image:
    """A dataset of shape (rows, columns[, bands]) as an image on a grid.

    Attributes:
        crs: CRS of the grid.
        transform: Its affine.
        width: Columns.
        height: Rows.
        count: Bands.
        dtypes: dtype name per band.
        block_shapes: (rows, columns) of a chunk per band; of the whole where there are none.
        name: The path.
        nodata: None: HDF5 tiles state none.
    """

    nodata: float | None = None

    def __init__(self, dataset: Any, grid: SourceGrid, path: str) -> None:
        self._dataset, self._path = dataset, path
        self._flipped = path.endswith(_FLIP)
        shape = shape_of(dataset)
        if len(shape) not in (2, 3) or shape[:2] != (grid.height, grid.width):
            raise LandmarkError(
                f"{path}: has shape {shape}, planned were {grid.height} x {grid.width} pixels"
            )
        self.crs = CRS.from_epsg(grid.epsg)
        self.transform = Affine(*grid.transform)
        self.height, self.width = grid.height, grid.width
        self.count = shape[2] if len(shape) == 3 else 1
        self.dtypes = (str(dataset.dtype),) * self.count
        high, wide = (dataset.chunks or shape)[:2]
        self.block_shapes = ((int(high), int(wide)),) * self.count
        self.name = path

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def read(
        self, index: int, window: Window | None = None, out_shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """Return one band (from 1), a window of it, or every n-th pixel of it.

        Raises:
            LandmarkError: The dataset is damaged.
        """
        rows, columns = slice(0, self.height), slice(0, self.width)
        if window is not None:
            rows = slice(int(window.row_off), int(window.row_off + window.height))
            columns = slice(int(window.col_off), int(window.col_off + window.width))
        if self._flipped:
            rows = slice(self.height - rows.stop, self.height - rows.start)
        banded = len(self._dataset.shape) == 3
        if banded and self._dataset.chunks is not None:
            values = _read(self._dataset, (rows, columns, index - 1), self._path)
        else:
            # Without chunks the bands of a pixel lie side by side: one band alone would be as
            # many reads as pixels, which inside a packed file go through Python one by one.
            values = _read(self._dataset, (rows, columns), self._path)
            values = values[:, :, index - 1] if banded else values
        if self._flipped:
            values = values[::-1]
        if out_shape is not None:
            step = max(1, self.height // out_shape[0]), max(1, self.width // out_shape[1])
            values = values[:: step[0], :: step[1]]
        return values


@contextlib.contextmanager
def open_image(path: str, grid: SourceGrid | None) -> Iterator[Hdf5Image]:
    """Open a dataset as an image on the grid the plan states.

    Raises:
        InputError: The file is missing or damaged, or no grid is known.
        LandmarkError: It holds no such dataset, or one of another shape.
    """
    name, inner = split_path(path)
    if grid is None:
        raise InputError(f"{path}: HDF5 tiles state no place; the plan has to")
    with open_file(name) as file:
        yield Hdf5Image(_dataset(file, inner, name), grid, path)


def _dataset(file: Any, inner: str, origin: str) -> Any:
    found = member(file, inner.removesuffix(_FLIP), origin)
    if not hasattr(found, "dtype"):
        raise LandmarkError(f"{origin}: {inner} is a group, not an array")
    return found


def _read(dataset: Any, key: Any, origin: str) -> NDArray[Any]:
    try:
        return np.asarray(dataset[key])
    except (OSError, ValueError, RuntimeError) as error:
        raise LandmarkError(f"{origin}: cannot be read ({_short(error)})") from None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def _short(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
