"""Searching a real STAC API (pgstac) gives what filtering the same items in memory gives."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landmark import plan, stac_api
from landmark.catalog import find_scenes
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.manifest import Area, Catalog, Manifest, Period, Sentinel1, Sentinel2
from landmark.progress import Silent
from landmark.requesting import Requester, Retrying
from landmark.scenes import Scene
from landmark.sources import open_roots
from landmark.stac_api import PAGE_ITEMS
from tests.conftest import lacking
from tests.integration.servers import PgStac, ServerError, missing, running_pgstac
from tests.landmark.made_scenes import files_say, grid, item, write_items

pytestmark = pytest.mark.integration
WORLD = Area(bbox=(-180, -90, 180, 90))
JULY = Period(start=dt.date(2023, 7, 1), end=dt.date(2023, 7, 31))


def collection(name: str) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "CC-BY-4.0",
        "links": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2017-01-01T00:00:00Z", None]]},
        },
    }


def made_items() -> list[dict[str, Any]]:
    """Return more items than one page holds, over a month, an area and both sensors."""
    items = []
    for number in range(PAGE_ITEMS + 40):
        source = grid(west=300_000 + 3000 * (number % 100), north=5_000_400 + 6000 * (number % 7))
        time = f"2023-{6 + number % 3:02d}-{1 + number % 28:02d}T10:10:{number % 60:02d}Z"
        properties: dict[str, Any] = {"datetime": time, "eo:cloud_cover": (number * 37) % 101}
        if number % 5 == 0:
            properties = {"s1:unit": "linear", "datetime": None}
            properties |= {"start_datetime": time, "end_datetime": time.replace(":10:", ":11:")}
        if number % 11 == 0:
            properties.pop("eo:cloud_cover", None)
        one = item(f"item-{number:04d}", source, **properties)
        for asset in one["assets"].values():
            asset["href"] = "https://example.invalid" + asset["href"][1:] + "?sv=1&sig=secret"
        items.append(one)
    return items


@pytest.fixture(scope="module")
def items() -> list[dict[str, Any]]:
    return made_items()


@pytest.fixture(scope="module")
def server(items: list[dict[str, Any]]) -> Iterator[PgStac]:
    lack = missing()
    if lack is not None:
        lacking(lack)
    names = ["sentinel-1-rtc", "sentinel-2-l2a", "other"]
    try:
        with running_pgstac([collection(name) for name in names], items) as running:
            yield running
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def local(items: list[dict[str, Any]], tmp_path: Path) -> Catalog:
    path = write_items(tmp_path / "items.ndjson", items)
    return Catalog(kind="local", href=str(path))


def asked(catalog: Catalog, **changes: Any) -> Manifest:
    sensors = {"s1": Sentinel1(licence="CC-BY-4.0"), "s2": Sentinel2(licence="CC-BY-4.0")}
    values = {"name": "t", "catalog": catalog, "area": WORLD, "time": JULY, **sensors}
    return Manifest(**(values | changes))


def find(manifest: Manifest, folder: Path) -> list[Scene]:
    return find_scenes(manifest, open_roots(manifest, Dataset(folder)), Silent())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"time": Period(start=dt.date(2023, 6, 1), end=dt.date(2023, 8, 31))},
        {"time": Period(start=dt.date(2023, 7, 10), end=dt.date(2023, 7, 10)), "s1": None},
        {"area": Area(bbox=(8.0, 45.3, 9.2, 45.5))},
        {"s1": None, "s2": Sentinel2(filter="eo:cloud_cover < 9", licence="CC-BY-4.0")},
        {
            "s1": None,
            "s2": Sentinel2(
                filter="eo:cloud_cover >= 9 AND eo:cloud_cover < 60 AND platform = 'Sentinel-2A'",
                licence="CC-BY-4.0",
            ),
        },
        {"s2": None, "s1": Sentinel1(filter="id = 'item-0010'", licence="CC-BY-4.0")},
    ],
    ids=["july", "more-than-a-page", "one-day", "box", "clear", "combined", "by-id"],
)
def test_the_api_finds_what_memory_finds(
    server: PgStac, local: Catalog, tmp_path: Path, changes: dict[str, Any]
) -> None:
    api = Catalog(kind="api", href=server.url)
    found = find(asked(api, **changes), tmp_path)
    expected = find(asked(local, **changes), tmp_path)
    assert found == expected
    assert found
    assert "secret" not in "".join(scene.to_json() for scene in found)


def test_more_than_one_page_is_there(server: PgStac, tmp_path: Path) -> None:
    summer = Period(start=dt.date(2023, 6, 1), end=dt.date(2023, 8, 31))
    api = Catalog(kind="api", href=server.url)
    found = find(asked(api, time=summer), tmp_path)
    assert len(found) == PAGE_ITEMS + 40


def test_the_same_plan_from_api_and_files(
    server: PgStac,
    local: Catalog,
    items: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grids = {
        f"item-{n:04d}": grid(west=300_000 + 3000 * (n % 100), north=5_000_400 + 6000 * (n % 7))
        for n in range(len(items))
    }
    files_say(monkeypatch, grids, low={"B02": 40.0, "B08": 50.0})
    paths = []
    for catalog in (Catalog(kind="api", href=server.url), local):
        manifest = asked(catalog)
        paths.append(tmp_path / f"{catalog.kind}.parquet")
        plan.make_plan(paths[-1], manifest, open_roots(manifest, Dataset(tmp_path)), Silent())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_empty_search_is_wrong_input(server: PgStac, tmp_path: Path) -> None:
    api = Catalog(kind="api", href=server.url)
    source = Sentinel2(collections=("other",))
    with pytest.raises(InputError, match=f"catalog {server.url} holds no item of other"):
        find(asked(api, s1=None, s2=source), tmp_path)


def test_a_filter_the_server_chokes_on_ends_in_one_line(
    server: PgStac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pgstac answers a senseless filter with 500 or hangs up, as in an outage."""
    hasty = Requester(Retrying(2, 0.01))
    monkeypatch.setattr(stac_api, "Requester", lambda: hasty)
    api = Catalog(kind="api", href=server.url)
    source = Sentinel2(filter="s_intersects(geometry, 5)")
    with pytest.raises(LandmarkError, match="the search failed after retries") as caught:
        find(asked(api, s1=None, s2=source), tmp_path)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_items_hold_what_was_loaded(server: PgStac, items: list[dict[str, Any]]) -> None:
    """The server is real: its own answer to a plain request, without our code."""
    import urllib.request

    with urllib.request.urlopen(
        f"{server.url}/collections/sentinel-2-l2a/items/item-0001"
    ) as reply:
        answer = json.load(reply)
    assert answer["properties"]["datetime"] == items[1]["properties"]["datetime"]
