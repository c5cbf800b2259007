"""A STAC API on loopback that misbehaves on demand, and what asks it without sleeping."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

from landmark.answers import Answers
from landmark.manifest import Area, Period
from landmark.requesting import Requester, Retrying
from landmark.stac_api import StacApi
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


@contextlib.contextmanager
def serving_catalog() -> Iterator[Catalog]:
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
