"""Searching over HTTP: patience and limits, against a server that misbehaves on demand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from landmark import stac_api
from landmark.errors import InputError, LandmarkError
from landmark.requesting import Requester, Retrying
from landmark.stac_api import StacApi
from landmark.throttle import Throttle
from tests.landmark.made_catalog import CORE, Catalog, Waits, api, search, serving_catalog
from tests.loopback import Reply, serving


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    with serving_catalog() as made:
        yield made


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
