"""Searching over HTTP against a small server on loopback whose answers are set per test."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from landmark.errors import InputError, LandmarkError
from landmark.manifest import Area, Period
from landmark.stac_api import StacApi, retries
from landmark.stac_items import open_area
from tests.landmark.made_scenes import item

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


class Server(ThreadingHTTPServer):
    """A STAC API with two pages of items; the first answers to searches can be faults."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.conforms = CORE + FILTER
        self.faults: list[tuple[int, dict[str, str]]] = []
        self.searches: list[tuple[float, dict[str, Any]]] = []
        self.root = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if not self.server.root:
            self.answer({"hello": "world"})
            return
        if self.path.startswith("/collections/c"):
            self.answer(
                {
                    "type": "Collection", "id": "c", "stac_version": "1.0.0", "license": "CC0-1.0",
                    "description": "c", "links": [],
                    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]},
                               "temporal": {"interval": [[None, None]]}},
                }
            )  # fmt: skip
            return
        if self.path.startswith("/collections/"):
            self.answer({"code": "NotFound"}, 404)
            return
        url = self.server.url
        self.answer(
            {
                "type": "Catalog", "id": "root", "stac_version": "1.0.0", "description": "root",
                "conformsTo": self.server.conforms,
                "links": [
                    {"rel": "self", "href": url},
                    {"rel": "root", "href": url},
                    {"rel": "data", "href": f"{url}/collections"},
                    {"rel": "search", "href": f"{url}/search", "method": "POST",
                     "type": "application/geo+json"},
                ],
            }
        )  # fmt: skip

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.searches.append((time.monotonic(), body))
        if self.server.faults:
            status, headers = self.server.faults.pop(0)
            self.answer({"code": "Fault", "description": "out of order"}, status, headers)
            return
        page = {"type": "FeatureCollection", "features": [item("b")], "links": []}
        if "token" not in body:
            page["features"] = [item("a")]
            page["links"] = [
                {
                    "rel": "next", "method": "POST", "href": f"{self.server.url}/search",
                    "body": {"token": "next:1"}, "merge": True,
                }
            ]  # fmt: skip
        self.answer(page)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def search(server: Server, text: str | None = None) -> list[str]:
    api = StacApi(server.url, retries(total=3, backoff=0.01))
    found = api.search(
        area=open_area(Area(bbox=(10, 45, 11, 46))),
        period=PERIOD,
        collections=["c"],
        text=text,
        field="s2.filter",
    )
    return [one["id"] for one in found]


def test_all_pages_of_one_request_in_words_the_server_knows(server: Server) -> None:
    assert search(server, "eo:cloud_cover < 10") == ["a", "b"]
    body = server.searches[0][1]
    assert body["bbox"] == [10, 45, 11, 46]
    assert body["collections"] == ["c"]
    assert body["datetime"] == "2023-07-01T00:00:00Z/2023-07-31T23:59:59.999999Z"
    assert body["filter-lang"] == "cql2-json"
    assert body["filter"] == {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]}
    assert server.searches[1][1]["token"] == "next:1"


def test_throttling_and_short_outages_are_waited_out(server: Server) -> None:
    server.faults = [(429, {"Retry-After": "1"}), (503, {})]
    assert search(server) == ["a", "b"]
    times = [moment for moment, _ in server.searches]
    assert len(times) == 4
    assert times[1] - times[0] >= 0.9  # Retry-After was obeyed


def test_a_lasting_outage_is_a_run_time_fault(server: Server) -> None:
    server.faults = [(503, {})] * 10
    with pytest.raises(LandmarkError, match="the search failed after retries") as caught:
        search(server)
    assert not isinstance(caught.value, InputError)
    assert len(server.searches) == 4


def test_a_refused_request_is_wrong_input(server: Server) -> None:
    server.faults = [(400, {})]
    with pytest.raises(InputError, match=r"refuses the request \(400\)"):
        search(server)
    assert len(server.searches) == 1


def test_filters_are_not_sent_to_servers_that_would_ignore_them(server: Server) -> None:
    server.conforms = CORE
    with pytest.raises(InputError, match=r"s2\.filter: .*does not offer CQL2"):
        search(server, "eo:cloud_cover < 10")
    assert server.searches == []


def test_something_that_is_no_stac_api(server: Server) -> None:
    server.root = False
    with pytest.raises(InputError, match="is no STAC API"):
        search(server)


def test_no_server_at_all() -> None:
    api = StacApi("http://127.0.0.1:9", retries(total=1, backoff=0.01))
    with pytest.raises(LandmarkError, match="the search failed after retries"):
        list(api.search(area=None, period=PERIOD, collections=["c"], text=None, field="f"))


def test_licence_of_a_collection(server: Server) -> None:
    api = StacApi(server.url, retries(total=0))
    assert api.licence("c") == "CC0-1.0"
    assert api.licence("unknown") == ""
