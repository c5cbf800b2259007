"""Files behind a URL, whole or by byte range: fsspec does the transfers, patience is added here.

`http` and `https` go through fsspec's own client (aiohttp; proxies and .netrc of the environment
hold), `s3`, `gs` and `az` through obstore, which needs no SDK and takes credentials from the
environment as the vendors' tools do (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`,
`GOOGLE_APPLICATION_CREDENTIALS`, ...). Nothing of a URL that may hold a secret is ever shown.
"""

from __future__ import annotations

import io
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from landmark.errors import InputError, LandmarkError
from landmark.requesting import RETRIED

T = TypeVar("T")
_OBJECT_STORES = ("s3", "gs", "az", "abfs")
SCHEMES = ("http", "https", *_OBJECT_STORES, "file", "memory")
_INSTALL = "pip install 'landmark[remote]'"
#: Seconds to connect, and between two pieces of an answer.
_CONNECT_S, _READ_S = 20.0, 60.0


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and how long it is waited before the second attempt.

    Each further wait is twice as long, plus up to a fifth at random.
    """

    attempts: int = 5
    backoff_s: float = 0.5


@dataclass(frozen=True)
class RemotePath:
    """A file behind a URL, as it may be shown: no user, no query.

    Attributes:
        folder: The folder's URL.
        relative: The file below it, with forward slashes.
    """

    folder: str
    relative: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.relative).name

    def __str__(self) -> str:
        return f"{self.folder}/{self.relative}"


def is_remote(place: str) -> bool:
    """Tell whether a dataset is behind a URL rather than in a directory of this machine."""
    return "://" in place


class _ShortError(OSError):
    """An answer of another length than was asked for."""


class RemoteFolder:
    """A folder behind a URL. Thread-safe; pickles, and connects again where it is unpickled.

    Attributes:
        shown: The URL without user and query.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any] | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Make ready; nothing is read yet.

        Args:
            url: `https://HOST/PATH`, `s3://BUCKET/PATH`, ... A query (a signature, say) is put
                behind the path of every file.
            options: For the fsspec file system: `headers`, `auth` (http), or obstore's settings,
                such as `skip_signature=True` for public buckets, `region`, `endpoint`.
            patience: With faults that pass.

        Raises:
            InputError: No such scheme, or a library for it is missing.
        """
        parts = urlsplit(url)
        self._parts = parts._replace(path=parts.path.rstrip("/"), fragment="")
        host = parts.netloc.rpartition("@")[2]
        self.shown = urlunsplit((parts.scheme, host, self._parts.path, "", ""))
        self._arguments = (url, dict(options or {}), patience)
        self._patience = patience or Patience()
        self._files = _file_system(parts.scheme.lower(), options or {}, self.shown)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFolder, self._arguments

    def path(self, relative: str) -> RemotePath:
        """Return what a file below the folder is called in messages."""
        return RemotePath(self.shown, relative)

    def read(self, relative: str) -> bytes:
        """Return a whole file.

        Raises:
            FileNotFoundError: There is none.
            LandmarkError: It cannot be read, after all attempts.
        """
        url = self._url(relative)
        return self._patiently(relative, lambda: bytes(self._files.cat_file(url)))

    def read_range(self, relative: str, start: int, stop: int) -> bytes:
        """Return some bytes of a file, `stop` not among them.

        Raises:
            FileNotFoundError: There is no such file.
            LandmarkError: They cannot be read, after all attempts; the file may be shorter.
        """
        url = self._url(relative)

        def attempt() -> bytes:
            data = bytes(self._files.cat_file(url, start=start, end=stop))
            # Past the end of a file, or from a server that ignores ranges, other bytes come back.
            if len(data) != stop - start:
                raise _ShortError(f"gave {len(data)} bytes instead of {stop - start}")
            return data

        return self._patiently(relative, attempt)

    def _url(self, relative: str) -> str:
        return urlunsplit(self._parts._replace(path=f"{self._parts.path}/{relative}"))

    def _patiently(self, relative: str, attempt: Callable[[], T]) -> T:
        for number in range(1, self._patience.attempts + 1):
            try:
                return attempt()
            except Exception as error:  # every file system has errors of its own
                if isinstance(error, FileNotFoundError) or _status(error) == 404:
                    raise FileNotFoundError(str(self.path(relative))) from None
                if not _passes(error):
                    raise LandmarkError(
                        f"{self.path(relative)}: cannot be read: {_reason(error)}"
                    ) from None
                if number == self._patience.attempts:
                    raise LandmarkError(
                        f"{self.path(relative)}: cannot be read: {_reason(error)} "
                        f"({number} attempts)"
                    ) from None
            wait = self._patience.backoff_s * 2 ** (number - 1)
            time.sleep(wait * (1 + random.random() / 5))  # noqa: S311 (no secret)
        raise AssertionError("an attempt returns or raises")


class RangeFile(io.RawIOBase):
    """A file read by ranges, for libraries that want a file: known pieces cost no request."""

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        size: int,
        pieces: Sequence[tuple[int, bytes]] = (),
    ) -> None:
        """Make ready.

        Args:
            fetch: Gives the bytes from a position up to another.
            size: Of the file.
            pieces: (position, bytes) of what is known.
        """
        super().__init__()
        self._fetch, self._size, self._pieces = fetch, size, tuple(pieces)
        self._place = 0

    def readable(self) -> bool:
        """Tell that it is."""
        return True

    def seekable(self) -> bool:
        """Tell that it is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; return the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file goes."""
        start = self._place
        stop = min(start + len(buffer), self._size)
        if stop <= start:
            return 0
        for position, data in self._pieces:
            if position <= start and stop <= position + len(data):
                buffer[: stop - start] = data[start - position : stop - position]
                break
        else:
            buffer[: stop - start] = self._fetch(start, stop)
        self._place = stop
        return stop - start


class _WithoutQuery(logging.Filter):
    """fsspec logs each URL at debug level, signatures and all: their queries are cut off."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?...", record.getMessage()), ()
        return True


_QUERY = re.compile(r"\?\S+")
_without_query = _WithoutQuery()
_constructing = threading.Lock()


def _file_system(scheme: str, options: Mapping[str, Any], shown: str) -> Any:
    if scheme not in SCHEMES:
        raise InputError(
            f"{shown}: {scheme or 'this'} is no scheme read here: {', '.join(SCHEMES)}"
        )
    try:
        import fsspec

        with _constructing:
            if scheme in _OBJECT_STORES:
                return _object_store(scheme, options)
            if scheme in ("http", "https"):
                import aiohttp

                logging.getLogger("fsspec.http").addFilter(_without_query)
                timeout = aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_S, sock_read=_READ_S
                )
                client = {"timeout": timeout, "trust_env": True}
                return fsspec.filesystem("http", client_kwargs=client, **options)
            return fsspec.filesystem(scheme, **options)
    except ImportError as error:
        raise InputError(
            f"{shown}: reading it needs {error.name or 'fsspec'}: {_INSTALL}"
        ) from None
    except (TypeError, ValueError):
        # The message might repeat an option's value, and that might be a secret.
        raise InputError(f"{shown}: the options given do not suit {scheme}") from None


def _object_store(scheme: str, options: Mapping[str, Any]) -> Any:
    from obstore.fsspec import FsspecStore

    retry = {"max_retries": 2, "retry_timeout": timedelta(seconds=_READ_S)}
    own = dict(options)
    named = own.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL") or ""
    client = {
        "connect_timeout": timedelta(seconds=_CONNECT_S),
        "timeout": timedelta(seconds=5 * _READ_S),
        # Whoever names an endpoint without TLS means it; obstore wants to be told again.
        "allow_http": str(named).startswith("http://"),
        **own.pop("client_options", {}),
    }
    chosen = {"retry_config": retry, "client_options": client, **own}
    # Not `fsspec.filesystem`: it would remember the options, secrets too, for the process's life.
    store: Any = FsspecStore  # typed by overloads for each scheme
    return store(scheme, **chosen, skip_instance_cache=True)


def _status(error: Exception) -> int | None:
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _passes(error: Exception) -> bool:
    """Tell whether another attempt may help."""
    status = _status(error)
    if status is not None:
        return status in RETRIED
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"PermissionError", "PermissionDeniedError", "UnauthenticatedError"}:
        return False
    # aiohttp's and obstore's own errors are named, so that neither needs to be imported here.
    named = {"ClientConnectionError", "ClientPayloadError", "TimeoutError", "GenericError"}
    return isinstance(error, OSError) or bool(kinds & named)


def _reason(error: Exception) -> str:
    """Return what happened without the library's own words: these may hold the URL."""
    status = _status(error)
    if status is not None:
        return f"HTTP status {status}"
    return str(error) if isinstance(error, _ShortError) else type(error).__name__
