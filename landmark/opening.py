"""Opening image files and URLs through GDAL: settings, and errors as one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from landmark import hdf5
from landmark.errors import InputError, LandmarkError
from landmark.scenes import SourceGrid
from landmark.signing import Signed
from landmark.throttle import shared_throttle

# Directory listings and sidecar probes cost requests and can change what a file means; GDAL has
# no time limits or retries of its own by default. A total time limit would also cut slow but
# live transfers, so stalls are caught by the speed limit.
GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 5,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
    # One request less per file; some servers refuse HEAD for signed URLs.
    "CPL_VSIL_CURL_USE_HEAD": "NO",
}


#: GDAL's parallel range requests and decoding threads open connections of their own.
ONE_CONNECTION = {"GDAL_HTTP_MULTIRANGE": "SERIAL", "GDAL_NUM_THREADS": 1}


@contextlib.contextmanager
def open_signed(signed: Signed, name: str, grid: SourceGrid | None = None) -> Iterator[Any]:
    """Open what a signer gave, keeping to its host's limits as far as GDAL lets us.

    GDAL keeps none itself: no file is opened while its host asks for patience. Where a host
    allows few connections, no more files than that are open at once, each read through one.

    Args:
        signed: What to open.
        name: What errors call it: never the signed URL.
        grid: As for `open_image`, which see.
    """
    throttle = shared_throttle()
    with throttle.connection(signed.url, signed.connections):
        if is_remote(signed.url):
            throttle.acquire(signed.url)
        more = ONE_CONNECTION if signed.connections else {}
        with open_image(signed.url, name, signed.headers, grid, more) as source:
            yield source


@contextlib.contextmanager
def open_image(
    path: str,
    name: str = "",
    headers: Mapping[str, str] | None = None,
    grid: SourceGrid | None = None,
    more: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """Open a file or URL; errors become one line that names it.

    Args:
        path: What to open; a URL may be signed; `FILE.h5#DATASET` is an array of an HDF5 file.
        name: What errors call it; "" for the path.
        headers: To send with each request for a URL.
        grid: Where an array of an HDF5 file lies; other files state it themselves.
        more: Settings of GDAL beside ours.

    Raises:
        InputError: A local file cannot be opened.
        LandmarkError: A URL cannot be opened.
    """
    if hdf5.is_hdf5(path):
        with hdf5.open_image(path, grid) as array:
            yield array
        return
    with rasterio.Env(**gdal_options(path, headers), **(more or {})):
        try:
            source = rasterio.open(path)
        except RasterioError as error:
            kind = LandmarkError if is_remote(path) else InputError
            raise kind(problem(path, name, "cannot be opened as an image", error)) from None
        with source:
            yield source


def gdal_options(path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return GDAL's settings for opening and reading a file or URL.

    Args:
        path: What is opened; a URL may be signed.
        headers: To send with each request for a URL.
    """
    options = dict(GDAL_OPTIONS)
    parts = urlsplit(path)
    if parts.scheme in ("http", "https"):
        # Without this a URL that failed once fails for the life of the process, unasked.
        options["CPL_VSIL_CURL_NON_CACHED"] = f"/vsicurl/{parts.scheme}://{parts.netloc}"
    if headers:
        options["GDAL_HTTP_HEADERS"] = "\r\n".join(f"{k}: {v}" for k, v in headers.items())
    return options


@contextlib.contextmanager
def reading(path: str, name: str = "") -> Iterator[None]:
    """Turn read errors into one line that names the file, as in `open_image`."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise LandmarkError(problem(path, name, "cannot be read", error)) from None


def is_remote(path: str) -> bool:
    """Return whether a path is a URL rather than a file of this machine."""
    return "://" in path


def problem(path: str, name: str, what: str, error: Exception) -> str:
    """Return one line on an error, without what was opened: a URL may hold a token.

    Args:
        path: What was opened.
        name: What the line calls it; "" for the path.
        what: What went wrong, e.g. `cannot be read`.
        error: Where it came from.
    """
    detail = str(error.__cause__ or error).splitlines()
    text = detail[0] if detail else type(error).__name__
    # GDAL names a remote file by the last part of its URL, query and all.
    for secret in (path, path.rpartition("/")[2], urlsplit(path).query):
        if secret and is_remote(path):
            text = text.replace(secret, "")
    text = text.replace(path, "").strip(" :',")
    return f"{name or path}: {what}: {text}"
