"""Items of a STAC API, asked for so that throttling and short outages do not end a search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests.exceptions import RequestException
from urllib3.util.retry import Retry

from landmark.errors import InputError, LandmarkError
from landmark.local_catalog import parse_filter
from landmark.manifest import Period
from landmark.sources import unsigned
from landmark.stac_items import AreaShape, Item

PAGE_ITEMS = 250
TIMEOUT_S = (10.0, 60.0)
_FILTER_CLASSES = ("item-search#filter", "/conf/features-filter", "/conf/filter")
_CQL2_CLASSES = ("cql2-json", "cql2/1.0/conf/cql2-text", "#cql2-text")


def retries(total: int = 8, backoff: float = 1.0) -> Retry:
    """Return the retry rule of searches.

    pystac-client's own rule retries neither answers such as 429 and 503 nor POST; searching
    changes nothing on the server, so both are safe. `Retry-After` is obeyed.
    """
    return Retry(
        total=total,
        backoff_factor=backoff,
        backoff_jitter=0.2,
        backoff_max=120,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
        respect_retry_after_header=True,
    )


class StacApi:
    """A STAC API. Holds the connection; asks nothing until a search."""

    def __init__(self, url: str, retry: Retry | None = None) -> None:
        self._url = url
        self._io = StacApiIO(max_retries=retry or retries(), timeout=TIMEOUT_S)
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
        """Yield the items a search finds, page by page, in the server's order.

        Args:
            area: Where; its bounding box is sent, the geometry is for the caller to check.
            period: When, both days included.
            collections: STAC collections.
            text: CQL2 text filter, or None.
            field: Manifest field of the filter, for messages.

        Raises:
            InputError: The server cannot filter, or refuses the request as wrong.
            LandmarkError: The server does not answer.
        """
        client = self._open()
        arguments: dict[str, Any] = {"collections": list(collections), "limit": PAGE_ITEMS}
        if area is not None:
            arguments["bbox"] = list(area.bounds)
        if period is not None:
            arguments["datetime"] = f"{period.start}T00:00:00Z/{period.end}T23:59:59.999999Z"
        if text is not None:
            self._require_filter(client, field)
            arguments["filter"] = parse_filter(text, field).to_json()
            arguments["filter_lang"] = "cql2-json"
        yield from self._guarded(client.search(**arguments).items_as_dicts())

    def licence(self, collection: str) -> str:
        """Return the licence a collection states, or "" where the API does not know it."""
        try:
            found = self._open().get_collection(collection)
        except (APIError, RequestException, ValueError):
            return ""
        return str(found.license or "") if found is not None else ""

    def _open(self) -> Client:
        if self._client is None:
            try:
                self._client = Client.open(self._url, stac_io=self._io)
            except (APIError, RequestException) as error:
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

    def _guarded(self, items: Iterable[Item]) -> Iterator[Item]:
        try:
            yield from items
        except (APIError, RequestException) as error:
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> LandmarkError:
        status = getattr(error, "status_code", None)
        where = f"catalog {unsigned(self._url)}"
        if status is not None and 400 <= status < 500 and status != 429:
            return InputError(f"{where}: refuses the request ({status}): {_line(error)}")
        return LandmarkError(f"{where}: the search failed after retries: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
