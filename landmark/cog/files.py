"""A file to read parts of: on disk or behind HTTP, with the same errors."""

from __future__ import annotations

import os
import stat
from types import TracebackType
from typing import Self

from landmark.cog.client import Address, HttpClient
from landmark.cog.faults import Patience, ReadError
from landmark.subfiles import extent, is_subfile

#: A file of this machine is read up to here at first: patches of archives are no larger.
_START_BYTES = 1 << 16
#: To open a pipe, which an archive may hold, would else wait for whoever writes to it.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class DiskFile:
    """A file of this machine, or a run of bytes of one (a member of a tar file). Thread-safe.

    Attributes:
        name: Its path.
        remote: False: what fails once fails again.
    """

    remote = False

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            OSError: It cannot be opened, or does not hold the run.
        """
        self.name = path
        file, self._origin, size = extent(path) if is_subfile(path) else (path, 0, None)
        self._descriptor = os.open(file, _READING)
        facts = os.fstat(self._descriptor)
        if not stat.S_ISREG(facts.st_mode):
            os.close(self._descriptor)
            raise OSError(f"{path}: is no file")
        held = facts.st_size - self._origin
        self._size = held if size is None else size
        self._start: bytes | None = None
        if held < self._size:
            os.close(self._descriptor)
            raise OSError(f"{path}: the file that holds it is cut off")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def head(self, start: int, stop: int) -> bytes:
        """Return bytes start..stop, fewer where the file ends."""
        if self._start is None:
            self._start = self._read(0, _START_BYTES)
        stop = min(stop, self._size)
        if stop <= len(self._start):
            return self._start[start:stop]
        return self._read(start, stop)

    def read(self, start: int, stop: int, *, retry: bool = True) -> bytes:
        """Return bytes start..stop.

        Raises:
            ReadError: The file ends before, or the disk fails.
        """
        return _whole(self.name, self.head(start, stop), start, stop)

    def _read(self, start: int, stop: int) -> bytes:
        parts, stop = [], min(stop, self._size)
        while start < stop:
            try:
                part = os.pread(self._descriptor, stop - start, self._origin + start)
            except OSError as error:
                raise ReadError(f"{self.name}: cannot be read: {error.strerror}") from None
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def read_small(path: str) -> bytes | None:
    """Return all bytes of a file of this machine (or a run of bytes of one), or None.

    Opened, read and closed at one go: a `DiskFile`, which can be asked again, costs a quarter more
    than that, and an archive has a file for each band of each patch.

    Args:
        path: A path, or a run of bytes in the notation of `landmark.subfiles`.

    Returns:
        None where it is larger than 64 KiB, cannot be read, or does not hold the run.
    """
    try:
        file, origin, size = extent(path) if is_subfile(path) else (path, 0, None)
        if size is not None and size > _START_BYTES:
            return None
        descriptor = os.open(file, _READING)
        try:
            wanted = _START_BYTES + 1 if size is None else size
            data = os.pread(descriptor, wanted, origin)
        finally:
            os.close(descriptor)
    except (OSError, OverflowError):  # the latter of a run that begins beyond any file
        return None
    whole = len(data) <= _START_BYTES if size is None else len(data) == size
    return data if whole else None


class HttpFile:
    """A file behind HTTP. Thread-safe.

    Attributes:
        name: What errors call it; holds no signature.
        remote: True: what fails once may succeed later.
    """

    remote = True

    def __init__(self, address: Address, client: HttpClient, patience: Patience) -> None:
        self.name = address.name
        self._address = address
        self._client = client
        self._patience = patience
        self._total: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close: connections belong to the client."""

    def head(self, start: int, stop: int) -> bytes:
        """Return bytes start..stop, fewer where the file ends."""
        return self._get(start, stop, retry=True)

    def read(self, start: int, stop: int, *, retry: bool = True) -> bytes:
        """Return bytes start..stop.

        Raises:
            ReadError: The file ends before, has changed, or the server does not answer.
        """
        return _whole(self.name, self._get(start, stop, retry=retry), start, stop)

    def _get(self, start: int, stop: int, *, retry: bool) -> bytes:
        reply = self._client.get(self._address, start, stop, self._patience, retry=retry)
        if reply.total is not None:
            if self._total is not None and self._total != reply.total:
                raise ReadError(
                    f"{self.name}: changed while it was read: {self._total} bytes, "
                    f"now {reply.total}"
                )
            self._total = reply.total
        return reply.data


ByteFile = DiskFile | HttpFile


def _whole(name: str, data: bytes, start: int, stop: int) -> bytes:
    if len(data) < stop - start:
        raise ReadError(f"{name}: ends at byte {start + len(data)}: shorter than its header says")
    return data
