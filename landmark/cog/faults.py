"""What can go wrong while bytes are read, sorted by what helps against it."""

from __future__ import annotations

import threading
import time

from landmark.errors import LandmarkError


class ReadError(LandmarkError):
    """Bytes of a file could not be read, in spite of everything that was tried: one line."""

    #: Whether the whole file is out of reach, so that asking for smaller parts is no use.
    final = False


class FinalReadError(ReadError):
    """No part of the file can be read."""

    final = True


class BrokenError(Exception):
    """A fault that may be gone at the next attempt: reset, time-out, 5xx, short body."""


class BusyError(Exception):
    """The server asks to come back later (429, 503).

    Attributes:
        wait_s: Seconds it asks for, or None where it does not say.
    """

    def __init__(self, cause: str, wait_s: float | None) -> None:
        super().__init__(cause)
        self.wait_s = wait_s


class DeniedError(Exception):
    """No access with this URL: a new signature may help (400, 401, 403)."""


class RefusedError(Exception):
    """An answer that will not change: 404, a server without ranges, a wrong certificate."""


class Patience:
    """How much waiting one reading job may still do; shared by its threads.

    Without it a server that hangs on every request would be given all attempts at each of
    thousands of ranges, one after another.
    """

    def __init__(self, retries: int = 16, share: float = 0.25, idle_s: float = 180.0) -> None:
        """Set the limits.

        Args:
            retries: Retries granted in any case.
            share: Further retries per request that succeeded.
            idle_s: Without any success for this long, nothing is tried again.
        """
        self._left = float(retries)
        self._share = share
        self._idle_s = idle_s
        self._last = time.monotonic()
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """Note a request that was answered."""
        with self._lock:
            self._left += self._share
            self._last = time.monotonic()

    def may_retry(self) -> bool:
        """Take one retry; False where none is left."""
        with self._lock:
            if self._left < 1 or time.monotonic() - self._last > self._idle_s:
                return False
            self._left -= 1
            return True

    def may_wait(self, seconds: float) -> bool:
        """Return whether a server may keep us waiting this long."""
        with self._lock:
            return time.monotonic() - self._last + seconds <= self._idle_s
