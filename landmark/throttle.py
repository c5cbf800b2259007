"""How often each host may be asked, and how often at once: shared by all threads of a process.

Every request of ours, searches, tokens and pixels alike, takes a token of its host first. A host
that asks for patience (`Retry-After`) is left alone by all threads until that time has passed:
GDAL and the Rust readers ignore the header, so keeping to it is this module's work.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import functools
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from landmark.digits import whole_number
from landmark.errors import InputError

#: Requests per second of all our processes together, where an operator states a limit or is known
#: to throttle. CDSE: 2000 a minute, and users of its STAC API met a limit of five a second.
#: Planetary Computer states none for its API; ten a second is far below where users met 429.
#: Any other host: no limit of ours, but its pauses are kept.
KNOWN_RATES: Mapping[str, float] = MappingProxyType(
    {
        "stac.dataspace.copernicus.eu": 4.0,
        "download.dataspace.copernicus.eu": 30.0,
        "eodata.dataspace.copernicus.eu": 30.0,
        "planetarycomputer.microsoft.com": 10.0,
    }
)
#: `host=requests per second` pairs, comma-separated, that come before `KNOWN_RATES`.
RATES_VARIABLE = "LANDMARK_RATES"
#: Processes that share this machine's allowance where nothing else tells (job arrays).
PROCESSES_VARIABLE = "LANDMARK_PROCESSES"
#: A server that asks for more is taken at its word only this long: it is then asked once again.
LONGEST_PAUSE_S = 600.0
#: A bucket holds the tokens of this many seconds (at least one).
_BURST_S = 1.0
_ROUNDING = 1e-9


class Throttle:
    """Token buckets and connections by host; every method may be called from any thread.

    Synchronous code calls `acquire`; an event loop asks `take` until it answers 0, sleeping in
    between; both call `pause` when a server asks for it.
    """

    def __init__(
        self,
        rates: Mapping[str, float] = KNOWN_RATES,
        *,
        processes: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make a throttle.

        Args:
            rates: Host -> requests per second of all processes together; others have no limit.
            processes: How many processes share the rates.
            clock: Seconds, never going back.
            sleep: Waits for some seconds.
        """
        self._rates = dict(rates)
        self._processes = max(1, processes)
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._connections: Counter[str] = Counter()
        self._freed = threading.Condition(self._lock)

    def divide(self, processes: int) -> None:
        """Tell how many processes (dask workers, job array members) share the rates."""
        with self._lock:
            self._processes = max(1, processes)

    def take(self, url: str) -> float:
        """Take a token of a URL's host: 0.0, or the seconds to wait before asking again."""
        host = host_of(url)
        with self._lock:
            now = self._clock()
            bucket = self._bucket(host, now)
            if now < bucket.paused_until:
                return bucket.paused_until - now
            rate = self._rates.get(host)
            if rate is None:
                return 0.0
            return bucket.take(now, rate / self._processes)

    def acquire(self, url: str) -> None:
        """Wait until a request to a URL's host may go, and take its token."""
        while (wait := self.take(url)) > 0:
            self._sleep(wait)

    @contextlib.contextmanager
    def connection(self, url: str, most: int) -> Iterator[None]:
        """Hold one of the connections a URL's host allows, waiting until one is free.

        Args:
            url: What is to be read.
            most: Connections at once of all processes together; 0: any number. Each process has
                its share, and at least one.
        """
        if most < 1:
            yield
            return
        host = host_of(url)
        with self._freed:
            self._freed.wait_for(lambda: self._connections[host] < max(1, most // self._processes))
            self._connections[host] += 1
        try:
            yield
        finally:
            with self._freed:
                self._connections[host] -= 1
                self._freed.notify_all()

    def pause(self, url: str, seconds: float) -> None:
        """Leave a URL's host alone for some seconds, at most `LONGEST_PAUSE_S`; all threads do."""
        host = host_of(url)
        with self._lock:
            now = self._clock()
            bucket = self._bucket(host, now)
            until = now + min(max(0.0, seconds), LONGEST_PAUSE_S)
            bucket.paused_until = max(bucket.paused_until, until)

    def _bucket(self, host: str, now: float) -> _Bucket:
        if host not in self._buckets:
            self._buckets[host] = _Bucket(now)
        return self._buckets[host]


class _Bucket:
    """Tokens of one host; guarded by its throttle's lock."""

    def __init__(self, now: float) -> None:
        self.paused_until = -math.inf
        self._tokens = math.inf  # full, whatever the first rate says
        self._filled = now

    def take(self, now: float, rate: float) -> float:
        full = max(1.0, rate * _BURST_S)
        self._tokens = min(full, self._tokens + (now - self._filled) * rate)
        self._filled = now
        if self._tokens >= 1.0 - _ROUNDING:  # else rounding could ask for waits of 1e-17 s
            self._tokens = max(0.0, self._tokens - 1.0)
            return 0.0
        return (1.0 - self._tokens) / rate


def host_of(url: str) -> str:
    """Return the host (and port) of a URL in lower case, without user information."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def retry_after(header: str | None, now: dt.datetime | None = None) -> float | None:
    """Return the seconds a `Retry-After` header asks for, or None where it says nothing.

    Args:
        header: Seconds, or an HTTP date (RFC 9110, 10.2.3).
        now: The time to count an HTTP date from; default: the clock.
    """
    text = (header or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        seconds = (moment - (now or dt.datetime.now(dt.UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


@functools.cache
def shared_throttle() -> Throttle:
    """Return the process's one throttle: limits are of a host, whoever asks it.

    Rates are `KNOWN_RATES` overridden by `LANDMARK_RATES`, divided by `LANDMARK_PROCESSES`.

    Raises:
        InputError: One of the two variables cannot be read.
    """
    rates = {**KNOWN_RATES, **parse_rates(os.environ.get(RATES_VARIABLE, ""))}
    return Throttle(rates, processes=stated_processes() or 1)


def stated_processes() -> int | None:
    """Return how many processes `LANDMARK_PROCESSES` says run at once, or None.

    Raises:
        InputError: It holds no whole number from 1.
    """
    text = os.environ.get(PROCESSES_VARIABLE, "")
    if not text:
        return None
    if not (processes := whole_number(text)):
        raise InputError(f"{PROCESSES_VARIABLE}: {text!r} is no whole number from 1")
    return processes


def parse_rates(text: str) -> dict[str, float]:
    """Return host -> requests per second of a `LANDMARK_RATES` text.

    Raises:
        InputError: It is not of the form `host=5,other:8080=0.5`.
    """
    rates = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        host, _, number = pair.partition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = math.nan
        if not host.strip() or not (math.isfinite(rate) and rate > 0):
            raise InputError(
                f"{RATES_VARIABLE}: {pair!r} is not of the form host=requests per second"
            )
        rates[host.strip().lower()] = rate
    return rates
