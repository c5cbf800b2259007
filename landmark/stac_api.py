"""Items of a STAC API: the one object that owns its I/O, patient, bounded and cached.

A search is asked for in slices of a month, each kept as soon as it is whole. A slice the server
finds too heavy, or answers with a full page and no way on, is halved: first in time, then in
space. An item found twice counts once.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pystac import Link
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from landmark.answers import Answers
from landmark.errors import InputError, LandmarkError
from landmark.local_catalog import parse_filter
from landmark.manifest import Period
from landmark.requesting import Requester, RequestFailedError, refused
from landmark.sources import unsigned
from landmark.stac_items import AreaShape, Box, Item

#: Items asked for a page; Planetary Computer allows up to 1000.
PAGE_ITEMS = 250
_FILTER_CLASSES = ("item-search#filter", "/conf/features-filter", "/conf/filter")
_CQL2_CLASSES = ("cql2-json", "cql2/1.0/conf/cql2-text", "#cql2-text")
#: Time-outs of one search before it counts as too heavy and is split.
_HEAVY_ATTEMPTS = 2
#: 403 of a search: Earth Search throttles with it, so it is asked again, but not for long.
_FORBIDDEN_ATTEMPTS = 3
#: What Planetary Computer says of a search it stopped.
_TOO_LONG = "maximum allowed time"
_SHORTEST_SLICE = dt.timedelta(minutes=1)
_SMALLEST_BOX = 0.1
#: Empty pages in a row that still offer a next one.
_EMPTY_PAGES = 20
_DAY = dt.timedelta(days=1)
_MICROSECOND = dt.timedelta(microseconds=1)


class _CutAnswerError(Exception):
    """A full page without a next link: there is more, and the server does not say where."""


@dataclass(frozen=True)
class Slice:
    """One search as sent.

    Attributes:
        collections: STAC collections.
        box: West, south, east, north, degrees; None for everywhere.
        start: First moment, UTC; None for any.
        end: Last moment, UTC; None for any.
        text: CQL2 text filter, or None.
    """

    collections: tuple[str, ...]
    box: Box | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    text: str | None = None

    def halves(self) -> tuple[Slice, Slice] | None:
        """Return two slices that hold all of this one: in time, else in space, else None."""
        if self.start is not None and self.end is not None:
            length = self.end - self.start
            if length > _SHORTEST_SLICE and (length > _DAY or not self._wide()):
                middle = self.start + (length + _MICROSECOND) / 2
                return replace(self, end=middle - _MICROSECOND), replace(self, start=middle)
        if self.box is not None and self._wide():
            west, south, east, north = self.box
            if east - west >= north - south:
                middle_x = (west + east) / 2
                return (
                    replace(self, box=(west, south, middle_x, north)),
                    replace(self, box=(middle_x, south, east, north)),
                )
            middle_y = (south + north) / 2
            return (
                replace(self, box=(west, south, east, middle_y)),
                replace(self, box=(west, middle_y, east, north)),
            )
        return None

    def _wide(self) -> bool:
        if self.box is None:
            return False
        west, south, east, north = self.box
        return max(east - west, north - south) > _SMALLEST_BOX


class StacApi:
    """A STAC API. Holds the connection; asks nothing until a search that is not in the cache."""

    def __init__(
        self,
        url: str,
        requester: Requester | None = None,
        answers: Answers | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        """Make an API.

        Args:
            url: Its landing page.
            requester: Sends the requests; default: a patient one.
            answers: Where whole answers are kept; None: nowhere.
            note: Told of searches that had to be split, and of answers taken from the cache.
        """
        self._url = url
        self._requester = requester or Requester()
        self._answers = answers or Answers(None)
        self._note = note or (lambda _: None)
        self._client: Client | None = None

    def search(
        self,
        *,
        area: AreaShape | None,
        period: Period | None,
        collections: Sequence[str],
        text: str | None,
        field: str,
    ) -> Iterator[Item]:
        """Yield the items a search finds, each once, in no promised order.

        Args:
            area: Where; its bounding boxes are sent, the geometry is for the caller to check.
            period: When, both days included.
            collections: STAC collections.
            text: CQL2 text filter, or None.
            field: Manifest field of the filter, for messages.

        Raises:
            InputError: The server cannot filter, or refuses the request as wrong.
            LandmarkError: The server does not answer.
        """
        if text is not None:
            parse_filter(text, field)
        seen = set()
        for part in slices(area, period, collections, text):
            for item in self._kept(part, field):
                key = (item.get("collection"), item["id"])
                if key not in seen:
                    seen.add(key)
                    yield item

    def licence(self, collection: str) -> str:
        """Return the licence a collection states, or "" where the API does not know it."""
        key = {"url": unsigned(self._url), "licence of": collection}
        kept = self._answers.read(key)
        if kept is None:
            try:
                found = self._open().get_collection(collection)
                kept = [{"licence": str(found.license or "") if found is not None else ""}]
            except RequestFailedError as error:
                if error.status != 404:
                    return ""
                kept = [{"licence": ""}]
            except (APIError, LandmarkError, ValueError):
                return ""
            self._answers.write(key, kept)
        return str(next(iter(kept), {}).get("licence", ""))

    def _kept(self, part: Slice, field: str) -> Iterator[Item]:
        """Yield a slice's items from the cache, else ask and keep them."""
        key = {"url": unsigned(self._url), **_words(part, field)}
        kept = self._answers.read(key)
        if kept is None:
            kept = list(self._ask(part, field))
            self._answers.write(key, kept)
        else:
            self._note(
                f"search answers of {self._answers.written(key)} are used; --refresh asks again"
            )
        yield from kept

    def _ask(self, part: Slice, field: str) -> Iterator[Item]:
        client = self._open()
        if part.text is not None:
            self._require_filter(client, field)
        arguments = _words(part, field)
        try:
            found: list[Item] = []
            for page in client.search(**arguments, limit=PAGE_ITEMS).pages_as_dicts():
                features = page.get("features") or []
                found += features
                if len(features) >= PAGE_ITEMS and not _next(page):
                    raise _CutAnswerError
            yield from found
        except _CutAnswerError:
            yield from self._halved(part, field, "answers a full page and no next one")
        except RequestFailedError as error:
            if _is_heavy(error) and part.halves() is not None:
                yield from self._halved(part, field, "takes too long")
            else:
                raise self._fault(error) from None
        except APIError as error:
            raise LandmarkError(f"catalog {unsigned(self._url)}: {_line(error)}") from None

    def _halved(self, part: Slice, field: str, why: str) -> Iterator[Item]:
        halves = part.halves()
        if halves is None:
            raise LandmarkError(
                f"catalog {unsigned(self._url)}: {why} even for {part.start} to {part.end} in "
                f"{part.box}: the search cannot be made whole"
            )
        self._note(f"catalog {unsigned(self._url)} {why}: the search is split")
        for half in halves:
            yield from self._ask(half, field)

    def _open(self) -> Client:
        if self._client is None:
            try:
                self._client = Client.open(self._url, stac_io=_PatientIO(self._requester))
            except RequestFailedError as error:
                raise self._fault(error) from None
            except Exception as error:  # pystac's answers to something that is no STAC
                raise InputError(
                    f"catalog {unsigned(self._url)}: is no STAC API ({_line(error)})"
                ) from None
        return self._client

    def _require_filter(self, client: Client, field: str) -> None:
        """Refuse a filter the server would ignore: it would answer, but wrongly."""
        classes = client.get_conforms_to()
        can_filter = any(name in uri for uri in classes for name in _FILTER_CLASSES)
        knows_cql2 = any(name in uri for uri in classes for name in _CQL2_CLASSES)
        if not (can_filter and knows_cql2):
            raise InputError(
                f"{field}: catalog {unsigned(self._url)} does not offer CQL2 filters; "
                "leave the filter out"
            )

    def _fault(self, error: RequestFailedError) -> LandmarkError:
        where = f"catalog {unsigned(self._url)}"
        if refused(error):
            return InputError(f"{where}: refuses the request ({error.status}): {error.text}")
        return LandmarkError(f"{where}: the search failed after retries: {_line(error)}")


class _PatientIO(StacApiIO):
    """pystac-client's I/O through a `Requester`; it retries neither 429 and 5xx nor POST itself."""

    def __init__(self, requester: Requester) -> None:
        super().__init__()
        self._requester = requester

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Return the text of an answer; see `StacApiIO.request`."""
        kind = (method or "GET").upper()
        sent = {"body": parameters} if kind == "POST" else {"params": parameters}
        return self._requester.text(kind, href, headers=headers, gives_up=_pointless(), **sent)

    def get_pages(
        self, url: str, method: str | None = None, parameters: dict[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield pages; an empty one that offers a next one is not the end, a circle is a fault."""
        page = self.read_json(url, method=method, parameters=parameters)
        seen: set[str] = set()
        empty = 0
        while True:
            filled = bool(page.get("features") or page.get("collections"))
            if filled:
                yield page
            empty = 0 if filled else empty + 1
            onward = _next(page)
            if onward is None or empty > _EMPTY_PAGES:
                return
            told = json.dumps(onward, sort_keys=True)
            if told in seen:
                raise LandmarkError(f"{unsigned(url)}: its pages go round in a circle")
            seen.add(told)
            page = self.read_json(Link.from_dict(onward), parameters=parameters)


def slices(
    area: AreaShape | None, period: Period | None, collections: Sequence[str], text: str | None
) -> list[Slice]:
    """Return the searches that make up one: a month and a box each."""
    boxes: Sequence[Box | None] = [None] if area is None else area.boxes
    spans: list[tuple[dt.datetime | None, dt.datetime | None]] = [(None, None)]
    if period is not None:
        spans = []
        first = period.start
        while first <= period.end:
            following = (first.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
            last = min(period.end, following - _DAY)
            start = dt.datetime.combine(first, dt.time(), dt.UTC)
            end = dt.datetime.combine(last + _DAY, dt.time(), dt.UTC) - _MICROSECOND
            spans.append((start, end))
            first = following
    return [
        Slice(tuple(collections), box, start, end, text) for start, end in spans for box in boxes
    ]


def _words(part: Slice, field: str) -> dict[str, Any]:
    """Return a slice as the arguments of a search."""
    words: dict[str, Any] = {"collections": list(part.collections)}
    if part.box is not None:
        words["bbox"] = list(part.box)
    if part.start is not None and part.end is not None:
        words["datetime"] = f"{_stamp(part.start)}/{_stamp(part.end)}"
    if part.text is not None:
        words["filter"] = parse_filter(part.text, field).to_json()
        words["filter_lang"] = "cql2-json"
    return words


def _stamp(moment: dt.datetime) -> str:
    precision = "microseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _next(page: dict[str, Any]) -> dict[str, Any] | None:
    links = page.get("links") or []
    return next((link for link in links if link.get("rel") == "next"), None)


def _is_heavy(error: RequestFailedError) -> bool:
    return error.timed_out or error.status == 504 or _TOO_LONG in error.text


def _pointless() -> Callable[[RequestFailedError], bool]:
    """Return a rule for one request: refusals at once, time-outs and 403 after a few."""
    counts = {"heavy": 0, "forbidden": 0}

    def rule(error: RequestFailedError) -> bool:
        if _is_heavy(error):
            counts["heavy"] += 1
            return counts["heavy"] >= _HEAVY_ATTEMPTS
        if error.status == 403:
            counts["forbidden"] += 1
            return counts["forbidden"] >= _FORBIDDEN_ATTEMPTS
        return refused(error)

    return rule


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
