"""One bucket per host, shared by threads, divided among processes, obeying `Retry-After`."""

from __future__ import annotations

import datetime as dt
import functools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark import throttle
from landmark.errors import InputError
from landmark.throttle import LONGEST_PAUSE_S, Throttle, parse_rates, retry_after

URL = "https://a.example/one?sig=x"


class Clock:
    """Time that passes only while something sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.now += seconds


def made(rate: float, processes: int = 1) -> tuple[Throttle, Clock]:
    clock = Clock()
    rates = {"a.example": rate}
    return Throttle(rates, processes=processes, clock=clock, sleep=clock.sleep), clock


@given(rate=st.floats(0.2, 50), processes=st.integers(1, 9), requests=st.integers(1, 80))
def test_no_more_than_burst_and_rate_in_any_time(
    rate: float, processes: int, requests: int
) -> None:
    bucket, clock = made(rate, processes)
    for _ in range(requests):
        bucket.acquire(URL)
    share = rate / processes
    burst = max(1.0, share)
    assert requests <= burst + clock.now * share + 1e-6
    # And no slower than that: the last one waited for its own token alone.
    assert clock.now <= max(0.0, requests - burst) / share + 1e-6


def test_threads_share_one_bucket() -> None:
    bucket, clock = made(10.0)
    threads = [
        threading.Thread(target=lambda: [bucket.acquire(URL) for _ in range(10)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now >= (80 - 10) / 10.0 - 1e-6


def test_hosts_are_apart_and_unknown_ones_have_no_limit() -> None:
    bucket, clock = made(1.0)
    for _ in range(100):
        bucket.acquire("https://b.example/x")
    assert clock.now == 0
    bucket.acquire(URL)
    assert bucket.take(URL) > 0
    assert bucket.take("https://user:word@A.example/other") > 0  # the same host


def test_dividing_later_slows_down() -> None:
    bucket, clock = made(10.0)
    bucket.divide(5)
    for _ in range(12):
        bucket.acquire(URL)
    assert clock.now == pytest.approx(10 / 2.0)


def test_a_pause_holds_for_all_and_ends() -> None:
    bucket, clock = made(100.0)
    bucket.pause(URL, 7.0)
    bucket.pause(URL, 3.0)  # a shorter one does not shorten it
    assert bucket.take(URL) == pytest.approx(7.0)
    assert bucket.take("https://b.example/") == 0.0
    bucket.acquire(URL)
    assert clock.now == pytest.approx(7.0)


def test_a_pause_holds_for_hosts_without_a_rate() -> None:
    bucket, clock = made(1.0)
    bucket.pause("https://b.example/", 4.0)
    bucket.acquire("https://b.example/")
    assert clock.now == pytest.approx(4.0)


def test_an_absurd_pause_is_cut() -> None:
    bucket, _ = made(1.0)
    bucket.pause(URL, 1e9)
    assert bucket.take(URL) == pytest.approx(LONGEST_PAUSE_S)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        ("-4", 0.0),
        ("Wed, 01 Jul 2026 10:00:30 GMT", 30.0),
        ("Wed, 01 Jul 2026 09:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("inf", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    now = dt.datetime(2026, 7, 1, 10, 0, tzinfo=dt.UTC)
    assert retry_after(header, now) == seconds


@given(st.text())
def test_any_header_is_understood_or_ignored(header: str) -> None:
    found = retry_after(header)
    assert found is None or found >= 0


def test_rates_from_text() -> None:
    assert parse_rates(" A.example=5, b.example:80=0.5,") == {"a.example": 5.0, "b.example:80": 0.5}


@pytest.mark.parametrize("text", ["a.example", "a.example=", "=3", "a=0", "a=-1", "a=nan", "a=x"])
def test_wrong_rates_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="LANDMARK_RATES"):
        parse_rates(text)


def test_the_shared_throttle_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # A cache of its own: readers of this process keep the one they have.
    made = functools.cache(throttle.shared_throttle.__wrapped__)
    monkeypatch.setenv("LANDMARK_RATES", "a.example=4")
    monkeypatch.setenv("LANDMARK_PROCESSES", "4")
    shared = made()
    assert shared is made()
    assert shared.take(URL) == 0.0
    assert shared.take(URL) == pytest.approx(1.0, abs=0.1)
    made.cache_clear()
    monkeypatch.setenv("LANDMARK_PROCESSES", "many")
    with pytest.raises(InputError, match="LANDMARK_PROCESSES"):
        made()
