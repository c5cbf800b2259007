"""Connections at once: what a provider allows a host's readers, whoever reads."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio.shutil

from landmark.catalog_rules import Catalog
from landmark.manifest import Manifest, Sentinel2
from landmark.pixels import low_percentiles, read_header, read_patches
from landmark.providers import provider
from landmark.scenes import BandAsset, Scene
from landmark.signing import CDSE_S3_URL_VARIABLE, Access, Signer
from landmark.throttle import Throttle
from tests.landmark.made_pixels import LAYOUT, cell, check_cut, make_scene
from tests.loopback import Asked, Loopback, Reply, serving

ALLOWED = 4


class Busy:
    """How many are inside at once, at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


def in_threads(count: int, work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))


@pytest.mark.parametrize(
    ("processes", "allowed", "most"), [(1, 4, 4), (2, 4, 2), (3, 4, 1), (9, 4, 1), (1, 0, 12)]
)
def test_each_process_has_its_share_of_a_hosts_connections(
    processes: int, allowed: int, most: int
) -> None:
    throttle = Throttle(processes=processes)
    busy, together = Busy(), threading.Barrier(most)

    def work(_: int) -> None:
        with throttle.connection("https://h.invalid/a?sig=x", allowed), busy:
            together.wait(20)  # as many as are allowed do get in at once

    in_threads(12 - 12 % most, work)
    assert busy.most == most


def test_hosts_do_not_wait_for_each_other_and_faults_free_their_connection() -> None:
    throttle = Throttle()
    with throttle.connection("https://a.invalid/1", 1), throttle.connection("https://b.invalid", 1):
        pass
    for _ in range(3):
        with pytest.raises(OSError), throttle.connection("https://a.invalid/1", 1):
            raise OSError


def test_copernicus_data_space_states_its_bound_and_signatures_carry_it() -> None:
    access = provider("cdse").access
    assert access.connections == ALLOWED
    keys = {"CDSE_S3_ACCESS_KEY": "k", "CDSE_S3_SECRET_KEY": "s"}
    signed = Signer(access, environment=keys).sign("s3://eodata/a.jp2")
    assert (signed.url.split("/")[2], signed.connections) == ("eodata.dataspace.copernicus.eu", 4)
    assert Signer(provider("planetary-computer").access).sign("https://h/a").connections == 0


def test_a_manifest_can_state_a_bound() -> None:
    access = {"scheme": "bearer", "hosts": ["h"], "variable": "TOKEN", "connections": 2}
    catalog = Catalog.model_validate({"kind": "local", "href": "c.json", "access": access})
    made = Manifest(name="x", catalog=catalog, s2=Sentinel2())
    assert made.catalog.access is not None
    whole = Access(**made.catalog.access.model_dump())
    assert Signer(whole, environment={"TOKEN": "t"}).sign("https://h/a").connections == 2


class Eodata:
    """A folder behind an S3 endpoint that counts who is served at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.busy = Busy()

    def __call__(self, asked: Asked) -> Reply:
        data = (self._folder / asked.path.removeprefix("/eodata/")).read_bytes()
        with self.busy:
            time.sleep(0.002)
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("Range", ""))
        if span is None:
            return Reply(data)
        first, last = int(span[1]), min(int(span[2]), len(data) - 1)
        total = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        return Reply(data[first : last + 1], 206, total)


@pytest.fixture(params=["jp2", "tif"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """A scene whose files, JPEG 2000 for GDAL or TIFF for the block reader, lie at `served/`."""
    made = make_scene(tmp_path, blockxsize=128, blockysize=128)
    (tmp_path / "served").mkdir()
    for path in tmp_path.glob("*.tif"):
        served = tmp_path / "served" / f"{path.stem}.{request.param}"
        if request.param == "jp2":
            options = {"quality": "100", "reversible": "YES"}
            blocks = {"blockxsize": "256", "blockysize": "256"}
            rasterio.shutil.copy(path, served, driver="JP2OpenJPEG", **options, **blocks)
        else:
            served.write_bytes(path.read_bytes())

    def moved(asset: BandAsset) -> BandAsset:
        return replace(asset, href=f"s3://eodata/{asset.band}.{request.param}")

    assert made.scl is not None
    return replace(made, bands=tuple(map(moved, made.bands)), scl=moved(made.scl))


@pytest.fixture
def eodata(tmp_path: Path) -> Iterator[tuple[Loopback, Busy]]:
    answer = Eodata(tmp_path / "served")
    with serving(answer) as server:
        yield server, answer.busy


def test_no_more_is_read_at_once_than_the_provider_allows(
    scene: Scene, eodata: tuple[Loopback, Busy], tmp_path: Path
) -> None:
    """Six shards at once read headers and patches of one host, through GDAL or without it."""
    server, busy = eodata
    keys = {"CDSE_S3_ACCESS_KEY": "k", "CDSE_S3_SECRET_KEY": "s", CDSE_S3_URL_VARIABLE: server.url}
    signer = Signer(provider("cdse").access, environment=keys)
    frames = [cell(0, 0), cell(7, 3)]

    def shard(number: int) -> None:
        if number % 2:
            read_header(scene.bands[0].href, signer)
        elif scene.bands[0].href.endswith(".jp2"):
            low_percentiles(scene, str, signer)
        found = read_patches(scene, frames, str, LAYOUT, signer=signer)
        for frame, pixels in zip(frames, found, strict=True):
            check_cut(pixels, scene, frame, tmp_path)

    in_threads(6, shard)
    assert 1 < busy.most <= ALLOWED
