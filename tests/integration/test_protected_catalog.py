"""From a real STAC API to shards: pgstac lists, nginx serves, a token service signs.

The items and files are the real ones of the shared data; the API pages, tokens go stale.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from landmark import dataset as datasets
from landmark import signing, stac_api
from landmark.errors import InputError
from landmark.fetching import FetchOptions, FetchSummary, fetch
from landmark.manifest import Area, Catalog, FileAccess, Manifest, Period, Sentinel1, Sentinel2
from landmark.progress import Silent
from tests.conftest import lacking
from tests.integration.nginx import Nginx, running_nginx
from tests.integration.servers import PgStac, ServerError, missing, running_pgstac
from tests.integration.test_stac_api import collection
from tests.loopback import Asked, Loopback, Reply, serving

pytestmark = [pytest.mark.integration, pytest.mark.real]
TOKEN = "good-5dd1f0c2"
STALE = "stale-77aa"
COLLECTIONS = ["sentinel-1-rtc", "sentinel-2-l2a"]
#: Decimal degrees that lie around all items used here.
PLACES = {
    "pairs": (Area(bbox=(-9, 39, -6, 53)), dt.date(2017, 6, 1), dt.date(2017, 12, 31)),
    "offset": (Area(bbox=(17, -1, 19, 1)), dt.date(2022, 7, 1), dt.date(2022, 7, 31)),
}


@dataclass
class Tokens:
    """A SAS service: the first tokens it hands out are refused by the file server."""

    stale: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked.path)
        token = TOKEN
        if self.stale:
            self.stale -= 1
            token = STALE
        expires = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
        return Reply({"token": f"sig={token}", "msft:expiry": expires})


@dataclass(frozen=True)
class World:
    """All servers of one test."""

    api: PgStac
    nginx: Nginx
    service: Loopback
    tokens: Tokens
    files: Path


@pytest.fixture(scope="module")
def nginx(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    try:
        with running_nginx(folder, shared_data / "catalog", TOKEN) as running:
            yield running
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def api(shared_data: Path, nginx: Nginx) -> Iterator[PgStac]:
    lack = missing()
    if lack is not None:
        lacking(lack)
    items = [
        moved(one, nginx.url)
        for one in json.loads((shared_data / "catalog" / "items.json").read_text())["features"]
        if one["collection"] in COLLECTIONS
    ]
    try:
        with running_pgstac([collection(name) for name in COLLECTIONS], items) as running:
            yield running
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)


def moved(item: dict[str, Any], url: str) -> dict[str, Any]:
    """Return an item whose files lie on a server."""
    item["links"] = []
    for asset in item["assets"].values():
        asset["href"] = f"{url}/{asset['href'].removeprefix('./')}"
    return item


@pytest.fixture
def world(
    api: PgStac, nginx: Nginx, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setattr(stac_api, "PAGE_ITEMS", 2)  # the API pages
    signing.signer.cache_clear()
    tokens = Tokens()
    with serving(tokens.answer) as service:
        yield World(api, nginx, service, tokens, shared_data / "catalog")
    signing.signer.cache_clear()


def manifest(world: World, place: str) -> Manifest:
    area, start, end = PLACES[place]
    access = FileAccess(scheme="sas", hosts=(world.nginx.host,), token_url=f"{world.service.url}/t")
    return Manifest(
        name="protected",
        catalog=Catalog(kind="api", href=world.api.url, access=access),
        area=area,
        time=Period(start=start, end=end),
        s1=Sentinel1(quantity="sigma0_tc") if place == "pairs" else None,
        s2=Sentinel2(),
        grid="scene",
    )


def run(world: World, place: str, root: Path) -> FetchSummary:
    return fetch(manifest(world, place), root, FetchOptions(workers=2), Silent())


def independent(path: Path, window: tuple[int, int, int, int]) -> NDArray[Any]:
    column, row, width, height = window
    with rasterio.open(path) as source:
        values: NDArray[Any] = source.read(1)
    return values[row : row + height, column : column + width]


def expected_plane(
    path: Path, sensor: str, offset: int, frame: tuple[float, float]
) -> NDArray[Any]:
    """Read a band of a patch with rasterio alone and settle its numbers the obvious slow way."""
    with rasterio.open(path) as source:
        size, west, north = source.transform.a, source.transform.c, source.transform.f
    side = round(1200 / size)
    column, row = round((frame[0] - west) / size), round((north - frame[1]) / size)
    stored = independent(path, (column, row, side, side))
    if sensor == "s1":
        power = stored.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            db = 10 * np.log10(power)
        return np.where((power > 0) & (power != -32768), db, np.nan).astype(np.float32)
    shifted = np.clip(stored.astype(np.int64) + offset, 1, 65535)
    return np.where(stored == 0, 0, shifted).astype(np.uint16)


@pytest.mark.parametrize(("place", "patches", "offset"), [("pairs", 6, 0), ("offset", 9, -1000)])
def test_patches_equal_an_independent_read(
    world: World, tmp_path: Path, place: str, patches: int, offset: int
) -> None:
    world.tokens.stale = 1  # the first token is refused: it has to be renewed
    summary = run(world, place, tmp_path / "d")
    assert (summary.patches, summary.failures) == (patches, 0)
    sensors = set()
    with datasets.open(tmp_path / "d") as opened:
        for patch in opened:
            row = opened.row(patch)
            sensors.add(row["sensor"])
            assert row["provenance"]["offset"] == offset
            assert row["provenance"]["licence"] == "CC-BY-4.0"
            frame = (row["transform"][2], row["transform"][5])
            for href, plane in zip(row["provenance"]["hrefs"], opened.planes(patch), strict=True):
                assert href.startswith(world.nginx.url)
                path = world.files / href.removeprefix(f"{world.nginx.url}/")
                expected = expected_plane(path, row["sensor"], offset, frame)
                np.testing.assert_array_equal(plane, expected)
            if place == "pairs":
                assert row["pair_id"] in opened
    assert sensors == ({"s1", "s2"} if place == "pairs" else {"s2"})
    # One container, so one token, and one more after the refusal.
    assert world.tokens.asked == ["/t/cogs", "/t/cogs"]
    served = world.nginx.requests()
    assert {line[2] for line in served} <= {"200", "204", "206", "403"}
    assert any(STALE in line[4] for line in served)


def test_a_second_plan_asks_the_api_nothing(world: World, tmp_path: Path) -> None:
    root = tmp_path / "d"
    first = fetch(manifest(world, "offset"), root, FetchOptions(plan_only=True), Silent())
    plan = (root / "plan.parquet").read_bytes()
    before = world.api.log.read_text().count("/search")
    again = FetchOptions(plan_only=True, replan=True)
    second = fetch(manifest(world, "offset"), root, again, Silent())
    assert first.plan is not None
    assert second.plan is not None
    assert first.plan.patches == second.plan.patches == 9
    assert (root / "plan.parquet").read_bytes() == plan
    assert world.api.log.read_text().count("/search") == before > 0


def test_no_artefact_holds_a_token(world: World, tmp_path: Path) -> None:
    root = tmp_path / "d"
    run(world, "pairs", root)
    looked_at = 0
    for path in root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            assert TOKEN.encode() not in content, path
            assert b"sig=" not in content, path
            looked_at += 1
    assert looked_at > 5


def test_without_a_good_token_every_scene_is_refused_with_the_reason(
    world: World, tmp_path: Path
) -> None:
    world.tokens.stale = 10_000
    with pytest.raises(InputError, match=r"none of 1 scenes can be read") as caught:
        run(world, "offset", tmp_path / "d")
    assert "403" in str(caught.value)
    assert STALE not in str(caught.value)
