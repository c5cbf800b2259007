"""Searching over HTTP: paging, patience and limits, against a server that misbehaves on demand."""

from __future__ import annotations

import datetime as dt
import gzip
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from landmark import stac_api
from landmark.answers import Answers
from landmark.errors import InputError, LandmarkError
from landmark.manifest import Area, Period
from landmark.requesting import Requester, Retrying
from landmark.stac_api import Slice, StacApi, slices
from landmark.stac_items import open_area
from landmark.throttle import Throttle
from tests.landmark.made_scenes import item
from tests.loopback import Asked, Loopback, Reply, serving

CORE = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/collections",
]
FILTER = [
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
]
PERIOD = Period(start=dt.date(2023, 7, 1), end=dt.date(2023, 7, 31))
BOX = Area(bbox=(10, 45, 11, 46))
COLLECTION = {
    "type": "Collection", "id": "c", "stac_version": "1.0.0", "license": "CC0-1.0",
    "description": "c", "links": [],
    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]},
               "temporal": {"interval": [[None, None]]}},
}  # fmt: skip


class Catalog:
    """A STAC API with pages of items; a test sets what it answers instead."""

    def __init__(self) -> None:
        self.conforms = CORE + FILTER
        self.faults: list[Reply] = []
        self.server: Loopback
        self.search: Callable[[Asked], Reply] = self.two_pages

    @property
    def searches(self) -> list[Asked]:
        return [asked for asked in self.server.asked if asked.path == "/search"]

    def page(self, ids: list[str], token: str | None = None, **more: Any) -> Reply:
        features = [item(name) | {"collection": "c"} for name in ids]
        links = []
        if token is not None:
            link = {"rel": "next", "method": "POST", "href": f"{self.server.url}/search"}
            links = [link | {"body": {"token": token}, "merge": True}]
        return Reply({"type": "FeatureCollection", "features": features, "links": links} | more)

    def two_pages(self, asked: Asked) -> Reply:
        return self.page(["b"]) if "token" in asked.json() else self.page(["a"], "next:1")

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/search":
            return self.faults.pop(0) if self.faults else self.search(asked)
        if asked.path == "/collections/c":
            return Reply(COLLECTION)
        if asked.path.startswith("/collections/"):
            return Reply({"code": "NotFound"}, 404)
        url = self.server.url
        post = {"method": "POST", "type": "application/geo+json"}
        return Reply(
            {
                "type": "Catalog", "id": "root", "stac_version": "1.0.0", "description": "root",
                "conformsTo": self.conforms,
                "links": [
                    {"rel": "self", "href": url},
                    {"rel": "root", "href": url},
                    {"rel": "data", "href": f"{url}/collections"},
                    {"rel": "search", "href": f"{url}/search", **post},
                ],
            }
        )  # fmt: skip


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    made = Catalog()
    with serving(made.answer) as server:
        made.server = server
        yield made


class Waits:
    """What was slept, without sleeping."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.now += seconds


def api(
    catalog: Catalog,
    waits: Waits | None = None,
    answers: Answers | None = None,
    attempts: int = 4,
    timeout: float = 5.0,
) -> StacApi:
    waits = waits or Waits()
    throttle = Throttle({}, clock=lambda: waits.now, sleep=waits.sleep)
    retrying = Retrying(attempts, 0.01, (5.0, timeout))
    return StacApi(catalog.server.url, Requester(retrying, throttle, waits.sleep), answers)


def search(
    asked: StacApi, text: str | None = None, period: Period = PERIOD, area: Area = BOX
) -> list[str]:
    found = asked.search(
        area=open_area(area), period=period, collections=["c"], text=text, field="s2.filter"
    )
    return [one["id"] for one in found]


def test_all_pages_of_one_request_in_words_the_server_knows(catalog: Catalog) -> None:
    assert search(api(catalog), "eo:cloud_cover < 10") == ["a", "b"]
    body = catalog.searches[0].json()
    assert body["bbox"] == [10, 45, 11, 46]
    assert body["collections"] == ["c"]
    assert body["datetime"] == "2023-07-01T00:00:00Z/2023-07-31T23:59:59.999999Z"
    assert body["filter-lang"] == "cql2-json"
    assert body["filter"] == {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]}
    assert body["limit"] == stac_api.PAGE_ITEMS
    assert catalog.searches[1].json()["token"] == "next:1"


@pytest.mark.parametrize(
    "fault",
    [
        Reply({"code": "TooMany"}, 429),
        Reply({}, 500),
        Reply({}, 502),
        Reply({}, 503),
        Reply({}, 504),
        Reply({"a": "b" * 500}, how="cut"),
        Reply(how="reset"),
        Reply(b"<html>an error page in the middle</html>"),
        Reply({"message": "Forbidden"}, 403),
    ],
    ids=["429", "500", "502", "503", "504", "cut", "reset", "html", "403"],
)
@pytest.mark.parametrize("page", [0, 1], ids=["first-page", "second-page"])
def test_short_outages_heal(catalog: Catalog, fault: Reply, page: int) -> None:
    if page == 0:
        catalog.faults = [fault]
    else:
        catalog.faults = [catalog.page(["a"], "next:1"), fault]
    waits = Waits()
    assert search(api(catalog, waits)) == ["a", "b"]
    assert len(catalog.searches) == 3
    assert len(waits.seconds) == 1


def test_a_stalled_answer_is_given_up_and_asked_again(catalog: Catalog) -> None:
    catalog.faults = [Reply(how="stall")]
    assert search(api(catalog, timeout=0.3)) == ["a", "b"]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(catalog: Catalog, status: int) -> None:
    catalog.faults = [Reply({}, status, {"Retry-After": "7"})]
    waits = Waits()
    assert search(api(catalog, waits)) == ["a", "b"]
    assert sum(waits.seconds) == pytest.approx(7.0)


def test_retry_after_holds_back_all_threads(catalog: Catalog) -> None:
    """The pause is of the host: another search through the same throttle waits as well."""
    waits = Waits()
    throttle = Throttle({}, clock=lambda: waits.now, sleep=waits.sleep)
    catalog.faults = [Reply({}, 429, {"Retry-After": "9"})]
    hasty = Requester(Retrying(1), throttle, waits.sleep)
    with pytest.raises(LandmarkError):
        search(StacApi(catalog.server.url, hasty))
    assert waits.seconds == []
    assert search(StacApi(catalog.server.url, hasty)) == ["a", "b"]
    assert sum(waits.seconds) == pytest.approx(9.0)


def test_waits_grow_without_retry_after(catalog: Catalog) -> None:
    catalog.faults = [Reply({}, 503)] * 3
    waits = Waits()
    assert search(api(catalog, waits)) == ["a", "b"]
    assert [round(s, 2) for s in waits.seconds] == sorted(round(s, 2) for s in waits.seconds)
    assert waits.seconds[2] >= 0.04


def test_a_lasting_outage_is_a_run_time_fault(catalog: Catalog) -> None:
    catalog.faults = [Reply({}, 503)] * 10
    with pytest.raises(LandmarkError, match="the search failed after retries") as caught:
        search(api(catalog))
    assert not isinstance(caught.value, InputError)
    assert len(catalog.searches) == 4


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (404, 1), (403, 3)])
def test_a_refused_request_is_wrong_input(catalog: Catalog, status: int, asked: int) -> None:
    """403 is what Earth Search throttles with, so it is asked again, but not for long."""
    catalog.faults = [Reply({"description": "no"}, status)] * 9
    with pytest.raises(InputError, match=rf"refuses the request \({status}\)"):
        search(api(catalog))
    assert len(catalog.searches) == asked


def test_filters_are_not_sent_to_servers_that_would_ignore_them(catalog: Catalog) -> None:
    catalog.conforms = CORE
    with pytest.raises(InputError, match=r"s2\.filter: .*does not offer CQL2"):
        search(api(catalog), "eo:cloud_cover < 10")
    assert catalog.searches == []


def test_something_that_is_no_stac_api(catalog: Catalog) -> None:
    with (
        serving(lambda asked: Reply({"hello": "world"})) as server,
        pytest.raises(InputError, match="is no STAC API"),
    ):
        search(StacApi(server.url))


def test_no_server_at_all() -> None:
    asked = StacApi("http://127.0.0.1:9", Requester(Retrying(2, 0.01), Throttle({})))
    with pytest.raises(LandmarkError, match="cannot be reached"):
        search(asked)


def test_licence_of_a_collection(catalog: Catalog) -> None:
    assert api(catalog).licence("c") == "CC0-1.0"
    assert api(catalog).licence("unknown") == ""


# --- pages ---------------------------------------------------------------------------------


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


# --- answers kept --------------------------------------------------------------------------


def test_a_second_search_asks_nothing(catalog: Catalog, tmp_path: Path) -> None:
    first = api(catalog, answers=Answers(tmp_path / "answers"))
    assert (search(first), first.licence("c")) == (["a", "b"], "CC0-1.0")
    before = len(catalog.server.asked)
    again = api(catalog, answers=Answers(tmp_path / "answers"))
    assert (search(again), again.licence("c")) == (["a", "b"], "CC0-1.0")
    assert len(catalog.server.asked) == before
    fresh = api(catalog, answers=Answers(tmp_path / "answers", refresh=True))
    assert search(fresh) == ["a", "b"]
    assert len(catalog.server.asked) > before


def test_an_answer_that_broke_off_is_not_kept(catalog: Catalog, tmp_path: Path) -> None:
    catalog.faults = [catalog.page(["a"], "next:1"), *[Reply({}, 500)] * 4]
    answers = Answers(tmp_path / "answers")
    with pytest.raises(LandmarkError):
        search(api(catalog, answers=answers))
    assert search(api(catalog, answers=answers)) == ["a", "b"]


def test_months_that_were_whole_survive_an_outage(catalog: Catalog, tmp_path: Path) -> None:
    two = Period(start=dt.date(2023, 6, 1), end=dt.date(2023, 7, 31))
    catalog.search = lambda asked: catalog.page([asked.json()["datetime"][5:7]])
    catalog.faults = [catalog.page(["06"]), *[Reply({}, 500)] * 4]
    answers = Answers(tmp_path / "answers")
    with pytest.raises(LandmarkError):
        search(api(catalog, answers=answers), period=two)
    before = len(catalog.searches)
    assert search(api(catalog, answers=answers), period=two) == ["06", "07"]
    assert len(catalog.searches) == before + 1


def test_a_damaged_answer_is_asked_for_again(catalog: Catalog, tmp_path: Path) -> None:
    answers = Answers(tmp_path / "answers")
    search(api(catalog, answers=answers))
    for path in (tmp_path / "answers").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    before = len(catalog.searches)
    assert search(api(catalog, answers=answers)) == ["a", "b"]
    assert len(catalog.searches) == before + 2


def test_answers_hold_no_signature(catalog: Catalog, tmp_path: Path) -> None:
    def signed(asked: Asked) -> Reply:
        reply = catalog.page(["a"])
        for asset in reply.value["features"][0]["assets"].values():
            asset["href"] = "https://h.invalid/x.tif?sv=1&sig=secret"
            asset["alternate"] = {"s3": {"href": "https://u:secret@h.invalid/y.tif"}}
        return reply

    catalog.search = signed
    search(api(catalog, answers=Answers(tmp_path / "answers")))
    kept = Answers(tmp_path / "answers")
    texts = [gzip.decompress(path.read_bytes()) for path in (tmp_path / "answers").iterdir()]
    assert texts
    assert all(b"secret" not in text for text in texts)
    assert kept.read({"no": "such"}) is None
