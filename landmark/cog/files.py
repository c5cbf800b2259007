"""A file to read parts of: on disk or behind HTTP, with the same errors."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from landmark.cog.client import Address, HttpClient
from landmark.cog.faults import Patience, ReadError


class DiskFile:
    """A file of this machine. Thread-safe.

    Attributes:
        name: Its path.
        remote: False: what fails once fails again.
    """

    remote = False

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            OSError: It cannot be opened.
        """
        self.name = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

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
        parts = []
        while start < stop:
            try:
                part = os.pread(self._descriptor, stop - start, start)
            except OSError as error:
                raise ReadError(f"{self.name}: cannot be read: {error.strerror}") from None
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read(self, start: int, stop: int, *, retry: bool = True) -> bytes:
        """Return bytes start..stop.

        Raises:
            ReadError: The file ends before, or the disk fails.
        """
        return _whole(self.name, self.head(start, stop), start, stop)


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
