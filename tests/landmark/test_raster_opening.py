"""Label rasters behind URLs: signed when read, signed anew when refused, and never told aloud."""

from __future__ import annotations

import datetime as dt
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import Affine

from landmark import raster_opening, signing
from landmark.errors import InputError, LandmarkError
from landmark.grid import Frame
from landmark.label_settings import LabelCatalog
from landmark.rasters import class_counts
from landmark.signing import NO_ACCESS, Access
from landmark.sources import label_access
from tests.loopback import Asked, Loopback, Reply, serving

FRAMES = [Frame(f"f{k}", 32632, 500_400.0 + 1200 * k, 5_190_000.0) for k in range(3)]


@dataclass
class Store:
    """A store of one raster that only the token of the moment opens, and its token service."""

    data: bytes
    valid: str = "tok-1"
    handed: list[str] = field(default_factory=lambda: ["tok-1"])
    #: Told of every request for the file before it is answered.
    before: Callable[[Asked], None] = lambda _: None
    faults: list[int] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply:
        if asked.path.startswith("/token/"):
            token = self.handed.pop(0) if len(self.handed) > 1 else self.handed[0]
            expires = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
            return Reply({"token": f"sig={token}", "msft:expiry": expires.isoformat()})
        self.before(asked)
        if self.faults:
            return Reply(b"", self.faults.pop(0))
        bearer = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.valid not in (asked.query.get("sig"), bearer):
            return Reply(b"refused", 403)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("Range", ""))
        if wanted is None:
            return Reply(self.data, 200, {"Accept-Ranges": "bytes"})
        start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(self.data))
        told = {"Content-Range": f"bytes {start}-{stop - 1}/{len(self.data)}"}
        return Reply(self.data[start:stop], 206, told)


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "codes.tif"
    codes = np.random.default_rng(5).integers(1, 9, (3000, 3000), np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=3000, width=3000, count=1, dtype="uint8", nodata=0,
        crs="EPSG:32632", transform=Affine(10, 0, 500_003, 0, -10, 5_201_001), tiled=True,
        blockxsize=256, blockysize=256,
    ) as dataset:  # fmt: skip
        dataset.write(codes, 1)
    return path


@pytest.fixture
def store(raster: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Loopback]]:
    signing.signer.cache_clear()
    monkeypatch.setattr(raster_opening, "PAUSE_S", 0.0)
    kept = Store(raster.read_bytes())
    with serving(kept.answer) as server:
        yield kept, server
    signing.signer.cache_clear()


def sas(server: Loopback) -> Access:
    return Access("sas", hosts=(server.host,), token_url=f"{server.url}/token")


def equal_local(server: Loopback, raster: Path, access: Access) -> bool:
    local = class_counts([raster], FRAMES)
    remote = class_counts([f"{server.url}/maps/codes.tif"], FRAMES, access=access)
    return np.array_equal(local.counts, remote.counts) and np.array_equal(local.codes, remote.codes)


def test_a_signed_raster_gives_what_the_local_file_gives(
    store: tuple[Store, Loopback], raster: Path
) -> None:
    assert equal_local(store[1], raster, sas(store[1]))


def test_a_token_in_a_header_reaches_every_read(
    store: tuple[Store, Loopback], raster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAPS_TOKEN", "tok-1")
    access = Access("bearer", variable="MAPS_TOKEN", hosts=(store[1].host,))
    assert equal_local(store[1], raster, access)


def test_a_refused_token_is_asked_for_again(store: tuple[Store, Loopback], raster: Path) -> None:
    kept, server = store
    kept.handed[:] = ["stale", "tok-1"]
    assert equal_local(server, raster, sas(server))
    assert sum(asked.path.startswith("/token/") for asked in server.asked) == 2


def test_a_token_that_expires_between_header_and_pixels_is_renewed(
    store: tuple[Store, Loopback], raster: Path
) -> None:
    kept, server = store
    kept.handed[:] = ["tok-1", "tok-2"]

    def expire(asked: Asked) -> None:
        start = int(re.findall(r"\d+", asked.headers.get("Range", "bytes=0-"))[0])
        if start > 100_000:  # a block, not the header
            kept.valid = "tok-2"

    kept.before = expire
    assert equal_local(server, raster, sas(server))
    assert kept.valid == "tok-2"


def test_a_server_that_falls_over_is_asked_again(
    store: tuple[Store, Loopback], raster: Path
) -> None:
    kept, server = store
    kept.faults[:] = [404, 404]  # GDAL itself asks again after 429 and 5xx
    assert equal_local(server, raster, sas(server))


def test_what_stays_refused_is_one_line_without_the_token(store: tuple[Store, Loopback]) -> None:
    kept, server = store
    kept.valid = "another"
    with pytest.raises(LandmarkError, match=r"codes\.tif: cannot be opened as a raster") as caught:
        class_counts([f"{server.url}/maps/codes.tif"], FRAMES, access=sas(server))
    assert "tok-1" not in str(caught.value)
    assert "\n" not in str(caught.value)
    asked = [one for one in server.asked if one.path.endswith(".tif")]
    assert len(asked) <= 2 * raster_opening.ATTEMPTS  # patience has an end


def test_a_damaged_block_is_named_without_the_token(
    store: tuple[Store, Loopback], raster: Path, tmp_path: Path
) -> None:
    """GDAL calls a file it fails to read by the last part of its URL, query and all."""
    kept, server = store
    packed = tmp_path / "packed.tif"
    rasterio.shutil.copy(raster, packed, driver="GTiff", compress="deflate", tiled="YES")
    data = bytearray(packed.read_bytes())
    data[2000:-2000] = bytes(len(data) - 4000)
    kept.data = bytes(data)
    with pytest.raises(LandmarkError, match=r"codes\.tif: cannot be read") as caught:
        class_counts([f"{server.url}/maps/codes.tif"], FRAMES, access=sas(server))
    assert "tok-1" not in str(caught.value)
    assert "sig=" not in str(caught.value)


def test_a_host_that_allows_one_connection_gets_one(
    store: tuple[Store, Loopback], raster: Path
) -> None:
    kept, server = store
    busy, most, lock = 0, 0, threading.Lock()

    def count(_: Asked) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.005)
        with lock:
            busy -= 1

    kept.before = count
    access = replace(sas(server), connections=1)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(equal_local(server, raster, access)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    assert most == 1


def test_other_hosts_get_no_token(store: tuple[Store, Loopback]) -> None:
    server = store[1]
    access = Access("sas", hosts=("example.org",), token_url=f"{server.url}/token")
    with pytest.raises(LandmarkError):
        class_counts([f"{server.url}/maps/codes.tif"], FRAMES, access=access)
    assert not any(asked.path.startswith("/token/") for asked in server.asked)


def test_access_of_a_label_catalog() -> None:
    pc = "https://planetarycomputer.microsoft.com/api/stac/v1"
    assert label_access(None) == NO_ACCESS
    assert label_access(LabelCatalog(kind="api", href=pc)).scheme == "planetary-computer"
    named = LabelCatalog(kind="local", href="items.json", provider="planetary-computer")
    assert label_access(named).scheme == "planetary-computer"
    assert label_access(LabelCatalog(kind="local", href="items.json")) == NO_ACCESS
    own = {"scheme": "bearer", "variable": "T", "hosts": ["a.example"]}
    given = LabelCatalog.model_validate({"kind": "api", "href": pc, "access": own})
    assert label_access(given) == Access("bearer", "T", ("a.example",))
    assert pickle.loads(pickle.dumps(label_access(given))) == label_access(given)
    unknown = LabelCatalog(kind="api", href=pc, provider="nobody")
    with pytest.raises(InputError, match="no provider 'nobody'"):
        label_access(unknown)
