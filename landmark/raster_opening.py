"""Opening label rasters: files of this machine, and URLs that may need a signature.

A raster stays open over many reads, longer than some signatures last. So reads go
through `OpenRasters.ask`, which opens a remote raster anew, signed anew, when a read fails.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from landmark.errors import InputError, LandmarkError
from landmark.opening import ONE_CONNECTION, gdal_options, is_remote, problem
from landmark.signing import NO_ACCESS, Access, Signed, signer
from landmark.throttle import shared_throttle

T = TypeVar("T")
#: Attempts to open or read a remote raster; GDAL itself does not retry a broken transfer.
ATTEMPTS = 3
PAUSE_S = 0.5
#: How GDAL words an answer that a new signature may mend.
_REFUSED = ("response code: 401", "response code: 403")


@dataclass(frozen=True)
class OpenRaster:
    """A raster held open.

    Attributes:
        path: What it is called: the path or the unsigned URL.
        dataset: rasterio's dataset.
        signed: What was opened.
    """

    path: str
    dataset: Any
    signed: Signed

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """Give the dataset under GDAL's settings for its place; errors become one line.

        Raises:
            LandmarkError: A read failed.
        """
        from rasterio.errors import RasterioError

        try:
            with _settings(self.signed):
                yield self.dataset
        except RasterioError as error:
            raise LandmarkError(
                problem(self.signed.url, self.path, "cannot be read", error)
            ) from None

    def close(self) -> None:
        """Close the file."""
        self.dataset.close()


def open_raster(path: str, access: Access = NO_ACCESS) -> OpenRaster:
    """Open a raster; a remote one that fails is tried `ATTEMPTS` times, signed anew if refused.

    Args:
        path: Of a file, or an unsigned URL.
        access: How URLs are signed.

    Raises:
        InputError: A file is missing or no raster, or a credential is missing.
        LandmarkError: A URL cannot be opened.
    """
    if not is_remote(path):
        return _open(path, Signed(path))
    signing = signer(access)
    signed = signing.sign(path)
    for attempt in range(1, ATTEMPTS):
        try:
            return _open(path, signed)
        except LandmarkError as error:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
            refused = any(words in str(error) for words in _REFUSED)
            signed = (signing.renew(path, signed) if refused else None) or signing.sign(path)
    return _open(path, signed)


@contextlib.contextmanager
def opened_raster(path: str, access: Access = NO_ACCESS) -> Iterator[Any]:
    """Give rasterio's dataset of a raster for a few reads. Errors as `open_raster`."""
    raster = open_raster(path, access)
    with contextlib.closing(raster), raster.reading() as dataset:
        yield dataset


class OpenRasters:
    """Rasters kept open by path, the least recently read closed first."""

    def __init__(self, access: Access, most: int) -> None:
        self._access = access
        self._most = most
        self._open: dict[str, OpenRaster] = {}

    def ask(self, path: str, question: Callable[[Any], T]) -> T:
        """Return what a question (a read) gives on the open dataset of a path.

        A remote raster whose read fails is opened anew and asked again, `ATTEMPTS` times in all.

        Raises:
            LandmarkError: It cannot be read.
        """
        for attempt in range(1, ATTEMPTS if is_remote(path) else 1):
            raster = self._opened(path)
            try:
                with raster.reading() as dataset:
                    return question(dataset)
            except InputError:
                raise
            except LandmarkError:
                self._open.pop(path).close()
                time.sleep(PAUSE_S * 2 ** (attempt - 1))
        with self._opened(path).reading() as dataset:
            return question(dataset)

    def close(self) -> None:
        """Close all."""
        for raster in self._open.values():
            raster.close()
        self._open.clear()

    def _opened(self, path: str) -> OpenRaster:
        raster = self._open.pop(path, None) or open_raster(path, self._access)
        self._open[path] = raster
        if len(self._open) > self._most:
            self._open.pop(next(iter(self._open))).close()
        return raster


def _open(path: str, signed: Signed) -> OpenRaster:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    remote = is_remote(path)
    try:
        with warnings.catch_warnings(), _settings(signed):
            # A missing georeference is reported by the reader, as an error with the file's name.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return OpenRaster(path, rasterio.open(signed.url), signed)
    except RasterioIOError as error:
        if remote:
            text = problem(signed.url, path, "cannot be opened as a raster", error)
            raise LandmarkError(text) from None
        missing = "" if Path(path).exists() else " (no such file)"
        raise InputError(f"{path}: cannot be read as a raster{missing}") from error


@contextlib.contextmanager
def _settings(signed: Signed) -> Iterator[None]:
    """Keep to a remote raster's host while it is asked: patience, connections, GDAL's settings.

    A raster that only lies open keeps no connection: a call may hold more than a host allows.
    """
    import rasterio

    if not is_remote(signed.url):
        yield
        return
    throttle = shared_throttle()
    more = ONE_CONNECTION if signed.connections else {}
    with throttle.connection(signed.url, signed.connections):
        throttle.acquire(signed.url)
        with rasterio.Env(**gdal_options(signed.url, signed.headers), **more):
            yield
