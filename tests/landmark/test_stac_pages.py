"""Pages of a search over HTTP, and searches that are split because no page can hold them."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator

import pytest

from landmark import stac_api
from landmark.errors import LandmarkError
from landmark.manifest import Period
from landmark.stac_api import Slice, slices
from landmark.stac_items import open_area
from tests.landmark.made_catalog import BOX, Catalog, api, search, serving_catalog
from tests.loopback import Asked, Reply


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    with serving_catalog() as made:
        yield made


def test_an_empty_page_in_the_middle_is_not_the_end(catalog: Catalog) -> None:
    def pages(asked: Asked) -> Reply:
        token = asked.json().get("token")
        if token == "next:2":
            return catalog.page(["b"])
        return catalog.page([], "next:2") if token else catalog.page(["a"], "next:1")

    catalog.search = pages
    assert search(api(catalog)) == ["a", "b"]


def test_pages_that_go_round_in_a_circle_are_a_fault(catalog: Catalog) -> None:
    catalog.search = lambda asked: catalog.page(["a"], "next:1")
    with pytest.raises(LandmarkError, match="go round in a circle"):
        search(api(catalog))
    assert len(catalog.searches) <= 3


def test_items_that_two_pages_repeat_count_once(catalog: Catalog) -> None:
    def pages(asked: Asked) -> Reply:
        return (
            catalog.page(["b", "c"]) if "token" in asked.json() else catalog.page(["a", "b"], "n")
        )

    catalog.search = pages
    assert search(api(catalog)) == ["a", "b", "c"]


def days(text: str) -> tuple[dt.datetime, dt.datetime]:
    start, end = (dt.datetime.fromisoformat(part) for part in text.split("/"))
    return start, end


def daily(catalog: Catalog, asked: Asked, most: int | None) -> list[str]:
    """Return the ids of a catalog with an item at each noon of July 2023, in a server's words."""
    start, end = days(asked.json()["datetime"])
    noons = [dt.datetime(2023, 7, day, 12, tzinfo=dt.UTC) for day in range(1, 32)]
    return [f"d{noon.day:02d}" for noon in noons if start <= noon <= end][:most]


def test_a_full_page_without_a_next_one_is_split(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planetary Computer has answered so: what it leaves out would be missing unnoticed."""
    monkeypatch.setattr(stac_api, "PAGE_ITEMS", 5)
    catalog.search = lambda asked: catalog.page(daily(catalog, asked, 5))
    assert sorted(search(api(catalog))) == [f"d{day:02d}" for day in range(1, 32)]


def test_a_full_page_that_cannot_be_split_is_a_fault(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stac_api, "PAGE_ITEMS", 2)
    catalog.search = lambda asked: catalog.page(["a", "b"])
    with pytest.raises(LandmarkError, match="cannot be made whole"):
        search(api(catalog))


@pytest.mark.parametrize(
    "fault",
    [
        Reply({}, 504),
        Reply({"description": "The request exceeded the maximum allowed time, please try"}, 500),
        Reply({"description": "The request exceeded the maximum allowed time"}, 400),
        Reply(how="stall"),
    ],
    ids=["504", "500-time", "400-time", "stall"],
)
def test_a_search_too_heavy_for_the_server_is_split(catalog: Catalog, fault: Reply) -> None:
    def heavy(asked: Asked) -> Reply:
        start, end = days(asked.json()["datetime"])
        if end - start > dt.timedelta(days=9):
            return fault
        return catalog.page(daily(catalog, asked, None))

    catalog.search = heavy
    asked = api(catalog, attempts=8, timeout=0.3)
    assert sorted(search(asked)) == [f"d{day:02d}" for day in range(1, 32)]


def test_a_search_too_wide_for_the_server_is_split_in_space(catalog: Catalog) -> None:
    def heavy(asked: Asked) -> Reply:
        west, south, east, north = asked.json()["bbox"]
        if (east - west) * (north - south) > 0.3:
            return Reply({}, 504)
        return catalog.page([f"{west:.2f}_{south:.2f}"])

    catalog.search = heavy
    one = Period(start=dt.date(2023, 7, 1), end=dt.date(2023, 7, 1))
    assert len(search(api(catalog), period=one)) == 4


def test_halves_hold_all_of_a_slice() -> None:
    whole = Slice(
        ("c",),
        (0.0, 0.0, 4.0, 2.0),
        dt.datetime(2023, 7, 1, tzinfo=dt.UTC),
        dt.datetime(2023, 7, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
    )
    open_slices, leaves = [whole], []
    while open_slices:
        halves = open_slices.pop().halves()
        assert halves is not None
        first, second = halves
        if first.box == second.box:
            assert first.end is not None
            assert second.start == first.end + dt.timedelta(microseconds=1)
        if first.end is not None and first.start is not None:
            short = first.end - first.start < dt.timedelta(days=4)
            (leaves if short else open_slices).extend(halves)
    assert min(leaf.start for leaf in leaves if leaf.start) == whole.start
    assert max(leaf.end for leaf in leaves if leaf.end) == whole.end
    tiny = Slice(("c",), (0.0, 0.0, 0.05, 0.05), whole.start, whole.start)
    assert tiny.halves() is None


def test_a_year_is_asked_for_by_month() -> None:
    year = Period(start=dt.date(2023, 1, 15), end=dt.date(2024, 1, 10))
    parts = slices(open_area(BOX), year, ["c"], None)
    assert len(parts) == 13
    assert parts[0].start == dt.datetime(2023, 1, 15, tzinfo=dt.UTC)
    for before, after in itertools.pairwise(parts):
        assert before.end is not None
        assert after.start == before.end + dt.timedelta(microseconds=1)
    assert parts[-1].end == dt.datetime(2024, 1, 10, 23, 59, 59, 999999, tzinfo=dt.UTC)
