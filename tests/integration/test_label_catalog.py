"""Land-cover maps found by a real STAC API and read over HTTP give what local files give."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import Affine

from harmonize.land_cover import Patches, gather_evidence, open_source
from landmark import signing
from landmark.catalog_rules import FileAccess
from landmark.grid import Frame
from landmark.label_settings import LabelCatalog, LabelRules, LabelSource
from landmark.rasters import Counts
from landmark.sources import Roots
from landmark.stac_items import AreaShape
from tests.conftest import lacking
from tests.integration.nginx import running_nginx
from tests.integration.servers import ServerError, missing, running_pgstac
from tests.loopback import Asked, Reply, serving

pytestmark = pytest.mark.integration
FRAMES = [Frame(f"f{k}", 32632, 500_400.0 + 1200 * k, 5_200_800.0) for k in range(3)]
BOX = [8.9, 46.8, 9.2, 47.1]
YEARS = (2020, 2021)
TOKEN = "good-19ab"


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Files by byte ranges, as object stores serve them."""

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        start, stop = int(wanted[1]), min(len(data) - 1, int(wanted[2] or len(data)))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop}/{len(data)}")
        self.send_header("Content-Length", str(stop + 1 - start))
        self.end_headers()
        self.wfile.write(data[start : stop + 1])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    for year in YEARS:
        codes = np.random.default_rng(year).choice([1, 2, 5, 7, 10, 11], (60, 200)).astype("uint8")
        codes = codes.repeat(5, 0).repeat(5, 1)
        with rasterio.open(folder / f"32T_{year}0101-{year + 1}0101.tif", "w", driver="COG",
                           height=300, width=1000, count=1, dtype="uint8", crs="EPSG:32632",
                           nodata=0, transform=Affine(10, 0, 500_003, 0, -10, 5_201_001),
                           ) as dataset:  # fmt: skip
            dataset.write(codes, 1)
    return folder


@pytest.fixture(scope="module")
def http_url(tiles: Path) -> Iterator[str]:
    handler = functools.partial(RangeHandler, directory=str(tiles))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def api(http_url: str) -> Iterator[str]:
    with running_api(http_url, "?sig=secret") as url:
        yield url


@contextlib.contextmanager
def running_api(files: str, query: str) -> Iterator[str]:
    """Run a real STAC API that lists the maps under a URL, with a query behind each href."""
    lack = missing()
    if lack is not None:
        lacking(lack)
    name = "io-lulc-annual-v02"
    collection = {
        "type": "Collection", "stac_version": "1.0.0", "id": name, "description": name,
        "license": "CC-BY-4.0", "links": [],
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]},
                   "temporal": {"interval": [["2017-01-01T00:00:00Z", None]]}},
    }  # fmt: skip
    items = [
        {"type": "Feature", "stac_version": "1.0.0", "id": f"32T-{year}", "collection": name,
         "bbox": BOX, "geometry": shapely.geometry.mapping(shapely.box(*BOX)), "links": [],
         "properties": {"datetime": None, "start_datetime": f"{year}-01-01T00:00:00Z",
                        "end_datetime": f"{year + 1}-01-01T00:00:00Z"},
         "assets": {"data": {"href": f"{files}/32T_{year}0101-{year + 1}0101.tif{query}"}}}
        for year in YEARS
    ]  # fmt: skip
    try:
        with running_pgstac([collection], items) as running:
            yield running.url
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)


def test_maps_of_an_api_equal_local_files(api: str, tiles: Path) -> None:
    remote = counts_of(LabelSource(kind="io-lulc", catalog=LabelCatalog(kind="api", href=api)))
    assert_equal_local(remote, tiles)


def test_maps_behind_a_token_service_equal_local_files(
    tiles: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As Planetary Computer has it: hrefs open only when signed; the first token is stale."""
    handed: list[str] = []

    def answer(_: Asked) -> Reply:
        handed.append(TOKEN if handed else "stale")
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        return Reply({"token": f"sig={handed[-1]}", "msft:expiry": expires.isoformat()})

    signing.signer.cache_clear()
    folder = tmp_path_factory.mktemp("nginx")
    try:
        with (
            running_nginx(folder, tiles, TOKEN) as nginx,
            running_api(nginx.url, "") as url,
            serving(answer) as service,
        ):
            access = FileAccess(scheme="sas", hosts=(nginx.host,), token_url=f"{service.url}/t")
            catalog = LabelCatalog(kind="api", href=url, access=access)
            remote = counts_of(LabelSource(kind="io-lulc", catalog=catalog))
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        signing.signer.cache_clear()
    assert_equal_local(remote, tiles)
    assert handed == ["stale", TOKEN]


def counts_of(settings: LabelSource) -> Counts:
    """Ask a source about the frames; look that no file's name holds a secret."""
    area = AreaShape(shapely.box(8.99, 46.9, 9.06, 47.0), is_box=True)
    source = open_source(settings, Roots(None, None), "labels.0", area)
    assert len(source.files) == len(YEARS)
    assert not any("secret" in path or TOKEN in path for path in source.paths)
    days = [dt.date(2020, 12, 31), dt.date(2021, 1, 1), dt.date(2024, 5, 5)]
    patches = Patches([f.name for f in FRAMES], FRAMES, days, [None] * 3)
    found = gather_evidence(source, patches, LabelRules()).counts
    assert found is not None
    return found


def assert_equal_local(remote: Counts, tiles: Path) -> None:
    paths = tuple(str(path) for path in sorted(tiles.iterdir(), reverse=True))
    local = counts_of(LabelSource(kind="io-lulc", rasters=paths))
    np.testing.assert_array_equal(remote.codes, local.codes)
    np.testing.assert_array_equal(remote.counts, local.counts)
    assert (remote.covered > 0).all()
    assert 10 not in remote.codes
