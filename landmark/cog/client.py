"""Parts of files over HTTP: bounded per host, retried where that helps, right or an error.

urllib3 and not obstore, which needs less CPU time: status codes, Retry-After and the place where a
body broke off are first hand here, so each fault can be told from the others (docs/pixels.md).
"""

from __future__ import annotations

import functools
import http
import random
import re
import threading
import time
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3

from landmark.cog.faults import (
    BrokenError,
    BusyError,
    DeniedError,
    FinalReadError,
    Patience,
    ReadError,
    RefusedError,
)
from landmark.digits import whole_number
from landmark.signing import Signed, Signer
from landmark.throttle import Throttle, host_of, retry_after, shared_throttle

_CHUNK, _TRIAL = 1 << 20, 1 << 16
#: "Come back in 0 seconds" is not taken at its word.
_LEAST_WAIT_S = 0.05
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
# Expired signatures are 403 at Azure and S3, 400 (ExpiredToken) at S3 with session tokens and GCS.
_DENIED = frozenset({400, 401, 403})
_BUSY = frozenset({429, 503})
_BROKEN = frozenset({408, 425, 500, 502, 504})


@dataclass(frozen=True)
class HttpRules:
    """How servers are treated.

    Attributes:
        per_host: Requests under way at once to one host, over all threads of the process.
        attempts: Tries of one range that breaks.
        pause_s: Before the second try; doubled each time, with up to half of it added by chance.
        connect_s: Seconds to connect.
        silence_s: Seconds without a byte after which a transfer is given up.
        slow_s: After this many seconds a transfer must have brought `slow_bytes_s` on average.
        slow_bytes_s: Bytes per second below which a transfer counts as stalled.
        longest_wait_s: A Retry-After beyond this is not waited for.
        renewals: New signatures asked for in reading one range.
        skip_bytes: From a server that ignores ranges, at most this much is read and thrown away.
    """

    per_host: int = 16
    attempts: int = 5
    pause_s: float = 0.5
    connect_s: float = 20.0
    silence_s: float = 30.0
    slow_s: float = 30.0
    slow_bytes_s: float = 1000.0
    longest_wait_s: float = 120.0
    renewals: int = 2
    skip_bytes: int = 64 << 20


class Address:
    """Where a file is, while signatures come and go. Thread-safe.

    Attributes:
        name: What errors and logs call it: the href, never a signature.
    """

    def __init__(self, href: str, signer: Signer | None = None) -> None:
        """Take the unsigned href and what signs it; None where anybody may read it.

        Raises:
            LandmarkError: It cannot be signed (InputError: a credential is missing).
        """
        self.name = href
        self._signer = signer

    def signed(self) -> Signed:
        """Return what to request now; made anew, for the signer knows when that is needed."""
        return Signed(self.name) if self._signer is None else self._signer.sign(self.name)

    def renewed(self, refused: Signed) -> Signed | None:
        """Return another signature after one was refused, or None where there is none."""
        return None if self._signer is None else self._signer.renew(self.name, refused)


@dataclass(frozen=True)
class Reply:
    """Bytes from the start that was asked for.

    Attributes:
        data: Shorter than asked only where the file ends.
        total: Bytes of the whole file, or None where the server does not say.
    """

    data: bytes
    total: int | None


class HttpClient:
    """Reads byte ranges. Thread-safe; one per process keeps the bounds per host true."""

    def __init__(self, rules: HttpRules | None = None, throttle: Throttle | None = None) -> None:
        """Take the rules, and the throttle of the hosts (default: the process's one)."""
        self.rules = rules or HttpRules()
        self._throttle = throttle or shared_throttle()
        self._hosts: dict[str, threading.BoundedSemaphore] = {}
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def get(
        self, address: Address, start: int, stop: int, patience: Patience, *, retry: bool = True
    ) -> Reply:
        """Return bytes start..stop of a file.

        Args:
            address: The file.
            start: First byte.
            stop: Byte after the last, above `start`.
            patience: Limits of the whole job.
            retry: Whether to try again what breaks.

        Raises:
            ReadError: All that could help was tried.
        """
        signed, parts, got, total = address.signed(), [], 0, None
        tries = renewals = 0
        while True:
            try:
                part, total = self._once(signed, start + got, stop)
            except RefusedError as fault:
                raise FinalReadError(f"{address.name}: {fault}") from None
            except DeniedError as fault:
                fresh = address.renewed(signed) if renewals < self.rules.renewals else None
                if fresh is None:
                    raise FinalReadError(f"{address.name}: {fault}") from None
                signed, renewals = fresh, renewals + 1
                continue
            except (BrokenError, BusyError) as fault:
                tries += 1
                self._wait(address.name, signed.url, fault, tries, patience, retry=retry)
                signed = address.signed()
                continue
            patience.succeeded()
            parts.append(part)
            got += len(part)
            ended = total is not None and start + got >= total
            if got >= stop - start or ended or not part:
                return Reply(b"".join(parts), total)
            # A server that limits the length of its answers: the rest is asked for.

    def _wait(
        self,
        name: str,
        url: str,
        fault: BrokenError | BusyError,
        tries: int,
        patience: Patience,
        *,
        retry: bool,
    ) -> None:
        """Sleep until the next attempt, or raise where there is none."""
        failed = ReadError(f"{name}: {fault} ({tries} attempts)")
        if not retry:
            raise failed
        pause = self.rules.pause_s * 2 ** (tries - 1)
        pause *= 1 + random.random() / 2  # noqa: S311 (spreads the load, decides nothing)
        asked = fault.wait_s if isinstance(fault, BusyError) else None
        if asked is not None:
            # Being told when to come back is no failure: only time limits it.
            if asked > self.rules.longest_wait_s or not patience.may_wait(asked):
                raise FinalReadError(f"{name}: {fault}, asking to wait {asked:g} s")
            # Holds for all threads of the process; the next request waits for it.
            self._throttle.pause(url, max(asked, _LEAST_WAIT_S))
        elif tries >= self.rules.attempts or not patience.may_retry():
            raise failed
        else:
            time.sleep(pause)

    def _once(self, signed: Signed, start: int, stop: int) -> tuple[bytes, int | None]:
        """Send one request; return what it brought and the size of the file."""
        url = signed.url
        with self._throttle.connection(url, signed.connections), self._host(host_of(url)):
            self._throttle.acquire(url)
            try:
                response = self._pool(url).request(
                    "GET",
                    url,
                    headers={
                        "Range": f"bytes={start}-{stop - 1}",
                        "Accept-Encoding": "identity",
                        "User-Agent": "landmark",
                        **signed.headers,
                    },
                    preload_content=False,
                    retries=urllib3.Retry(total=None, connect=0, read=0, other=0, redirect=5),
                    timeout=urllib3.Timeout(
                        connect=self.rules.connect_s, read=self.rules.silence_s
                    ),
                )
            except urllib3.exceptions.HTTPError as error:
                raise _fault(error) from None
            try:
                return self._answer(response, start, stop)
            except urllib3.exceptions.HTTPError as error:
                raise _fault(error) from None
            except BaseException:
                response.close()
                raise

    def _answer(
        self, response: urllib3.BaseHTTPResponse, start: int, stop: int
    ) -> tuple[bytes, int | None]:
        status = response.status
        if status == 206:
            first, last, total = _content_range(response.headers.get("Content-Range", ""))
            if first != start or last >= stop or last < first:
                raise BrokenError(f"asked for bytes {start}-{stop - 1}, got {first}-{last}")
            data = self._body(response, last + 1 - first)
            response.release_conn()
            return data, total
        if status == 200:
            return self._from_whole(response, start, stop)
        if status == 416:
            _, _, total = _content_range(response.headers.get("Content-Range", "bytes */*"))
            response.drain_conn()
            return b"", total
        name = f"the server answers {status} {http.client.responses.get(status, '')}".rstrip()
        response.close()
        if status in _DENIED:
            raise DeniedError(name)
        if status in _BUSY:
            raise BusyError(name, retry_after(response.headers.get("Retry-After")))
        if status in _BROKEN:
            raise BrokenError(name)
        raise RefusedError(name)

    def _from_whole(
        self, response: urllib3.BaseHTTPResponse, start: int, stop: int
    ) -> tuple[bytes, int | None]:
        """Take a part of a whole file that came although a part was asked for."""
        text = response.headers.get("Content-Length", "")
        total = whole_number(text)
        if start > self.rules.skip_bytes:
            raise RefusedError("the server ignores byte ranges; copy the file nearer first")
        end = stop if total is None else min(stop, total)
        if end <= start:
            response.close()
            return b"", total
        self._body(response, start)
        data = self._body(response, end - start)
        response.close()  # the rest is not wanted
        return data, total

    def _body(self, response: urllib3.BaseHTTPResponse, size: int) -> bytes:
        """Return exactly `size` bytes of a body."""
        parts, got, begun = [], 0, time.monotonic()
        while got < size:
            seconds = time.monotonic() - begun
            if seconds > self.rules.slow_s and got < self.rules.slow_bytes_s * seconds:
                raise BrokenError(f"the transfer is too slow: {got} bytes in {seconds:.0f} s")
            # What comes at once, until it is clear how fast it comes; then about a second's worth
            # at a time, which costs half the CPU time.
            if got < _TRIAL:
                part = response.read1(min(_TRIAL, size - got))
            else:
                expected = int(got / max(seconds, 1e-3))
                part = response.read(min(max(expected, _TRIAL), _CHUNK, size - got))
            if not part:
                raise BrokenError(f"the transfer broke off after {got} of {size} bytes")
            parts.append(part)
            got += len(part)
        return b"".join(parts)

    def _host(self, host: str) -> threading.BoundedSemaphore:
        with self._lock:
            if host not in self._hosts:
                self._hosts[host] = threading.BoundedSemaphore(self.rules.per_host)
            return self._hosts[host]

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme, proxies.get("all", ""))
        if proxy and urllib.request.proxy_bypass(parts.netloc):
            proxy = ""
        with self._lock:
            if proxy not in self._pools:
                make = (
                    functools.partial(urllib3.ProxyManager, proxy)
                    if proxy
                    else (urllib3.PoolManager)
                )
                self._pools[proxy] = make(num_pools=16, maxsize=self.rules.per_host)
            return self._pools[proxy]


@functools.cache
def shared_client() -> HttpClient:
    """Return the client of this process: hosts are asked within one bound by all threads."""
    return HttpClient()


def _fault(error: urllib3.exceptions.HTTPError) -> Exception:
    """Return an error of urllib3 as what helps against it, with a cause people understand."""
    reason: BaseException = error
    while isinstance(reason, urllib3.exceptions.MaxRetryError) and reason.reason is not None:
        reason = reason.reason
    if isinstance(reason, urllib3.exceptions.SSLError):
        return RefusedError("the server's certificate is not accepted")
    if isinstance(reason, urllib3.exceptions.LocationValueError):
        return RefusedError("no valid URL")
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return BrokenError("the host's name cannot be resolved")
    # A kind of ConnectTimeoutError in urllib3's own order of classes, hence before it.
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return BrokenError("the connection is refused")
    if isinstance(reason, urllib3.exceptions.ConnectTimeoutError):
        return BrokenError("no connection in time")
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return BrokenError("the server is silent")
    return BrokenError("the connection broke")


def _content_range(text: str) -> tuple[int, int, int | None]:
    """Return first and last byte (-1 where none) and size (None where unknown) of a header."""
    found = _CONTENT_RANGE.fullmatch(text.strip())
    if found is None:
        raise BrokenError("an answer without a valid Content-Range")
    first, last, total = found.groups()
    size = None if total == "*" else int(total)
    return (-1, -1, size) if first is None else (int(first), int(last), size)
