"""Reading from a server that misbehaves: right pixels or a recorded hole, never a wrong pixel."""

from __future__ import annotations

import contextlib
import datetime as dt
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from landmark import band_files, gdal_windows, opening, patches
from landmark.cog.client import HttpClient, HttpRules
from landmark.errors import InputError, LandmarkError
from landmark.grid import SIZE_M
from landmark.manifest import Manifest
from landmark.patches import ShardContent, make_patches
from landmark.pixels import read_header
from landmark.scenes import BandAsset, Scene
from landmark.schema import s2_layout
from landmark.shards import decode_image
from landmark.signing import NO_ACCESS, Access
from landmark.sources import Root, Roots
from landmark.throttle import Throttle
from tests.fault_server import ALWAYS, FaultServer, fault_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

LEFT, TOP, SIDE = 600_000.0, 5_100_000.0, 720
#: Far enough from each other that their blocks are no neighbours in the file.
CELLS = ((0, 0), (3, 2), (1, 5))
# Short, so that what heals heals fast and what does not is given up soon.
QUICK = HttpRules(
    attempts=3, pause_s=0.01, silence_s=0.4, slow_s=0.5, slow_bytes_s=10_000, longest_wait_s=1.5
)
MANIFEST = Manifest.model_validate(
    {
        "name": "faults",
        "catalog": {"kind": "api", "href": "http://127.0.0.1/"},
        "s2": {"collections": ["c"], "bands": ["B02"]},
    }
)
LAYOUT = s2_layout(("B02",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image in a layout for each of the two readers."""
    folder = tmp_path_factory.mktemp("images")
    values = np.random.default_rng(1).integers(1, 9999, (1, SIDE, SIDE), np.uint16)
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint16",
        "tiled": True, "blockxsize": 128, "blockysize": 128, "crs": CRS.from_epsg(32632),
        "transform": Affine(10, 0, LEFT, 0, -10, TOP),
    }  # fmt: skip
    for name, options in (("blocks", {"compress": "deflate"}), ("gdal", {"compress": "lzma"})):
        with rasterio.open(folder / f"{name}.tif", "w", **profile, **options) as file:
            file.write(values)
    np.save(folder / "values.npy", values[0])
    return folder


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    client = HttpClient(QUICK, Throttle())
    monkeypatch.setattr(band_files, "shared_client", lambda: client)
    monkeypatch.setattr(patches, "_PAUSE_S", 0.01)
    monkeypatch.setattr(gdal_windows, "PAUSE_S", 0.01)
    quick = {
        "GDAL_HTTP_MAX_RETRY": 2,
        "GDAL_HTTP_RETRY_DELAY": 0.01,
        "GDAL_HTTP_LOW_SPEED_TIME": 1,
        "GDAL_HTTP_LOW_SPEED_LIMIT": 2000,
    }
    monkeypatch.setattr(opening, "GDAL_OPTIONS", opening.GDAL_OPTIONS | quick)
    with fault_server(folder) as running:
        yield running


def fetch(server: FaultServer, name: str = "blocks", access: Access = NO_ACCESS) -> ShardContent:
    """Make a shard of three patches from a file on the server."""
    scene = Scene(
        sensor="s2",
        provider="test",
        collection="c",
        item="item",
        platform="S2A",
        time="2023-07-04T10:10:31Z",
        bands=(BandAsset("B02", f"{server.url}/{name}.tif"),),
        unit="dn",
        unit_source="item",
        quantity="reflectance",
    )
    rows = [
        {
            "patch_id": f"p{number}",
            "scene": scene.to_json(),
            "frame": f"f{number}",
            "epsg": 32632,
            "x_min": LEFT + column * SIZE_M,
            "y_max": TOP - row * SIZE_M,
            "sensor": "s2",
            "platform": "S2A",
            "orbit_state": "",
            "relative_orbit": None,
            "polarisations": "",
            "mgrs": "",
            "datetime": dt.datetime(2023, 7, 4, tzinfo=dt.UTC),
            "lon": 10.0,
            "lat": 46.0,
            "geometry": b"",
            "pair_id": None,
            "pair_gap_s": None,
        }
        for number, (column, row) in enumerate(CELLS)
    ]
    roots = Roots(s1=None, s2=Root("api", server.url, "", access))
    return make_patches(pa.Table.from_pylist(rows), MANIFEST, roots)


def check(content: ShardContent, folder: Path, holes: int | None = None) -> None:
    """Every patch is there with the right pixels, or is a hole with one line of cause."""
    values = np.load(folder / "values.npy")
    found = {row["patch_id"]: row["image"] for row in content.table.to_pylist()}
    lost = {hole.patch_id: hole for hole in content.holes}
    assert sorted([*found, *lost]) == ["p0", "p1", "p2"]
    for number, (column, row) in enumerate(CELLS):
        if (image := found.get(f"p{number}")) is not None:
            expected = values[row * 120 : row * 120 + 120, column * 120 : column * 120 + 120]
            assert np.array_equal(decode_image(image, LAYOUT)[0], expected)
    for hole in lost.values():
        assert ".tif: " in hole.cause
        assert "\n" not in hole.cause
        assert "secret" not in hole.cause
        assert hole.attempts == 2
    if holes is not None:
        assert len(lost) == holes, lost


STATUSES = ("429", "500", "503", "403")
BROKEN = ("close", "reset", "truncate", "corrupt", "stall", "drip")
GENTLE = ("slow", "whole", "clip")
AT = ("header", "block")


@pytest.mark.parametrize("name", ["blocks", "gdal"])
@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("fault", [*STATUSES, *BROKEN, *GENTLE])
def test_a_fault_that_passes_leaves_no_hole(
    server: FaultServer, folder: Path, fault: str, at: str, name: str
) -> None:
    corrupt_at = None
    if fault == "corrupt" and at == "header":
        corrupt_at = place_of_block_table(folder / f"{name}.tif")
    server.order(fault, at, 1, corrupt_at=corrupt_at)
    # Without a signer a 403 is final for its round; the next round asks again.
    check(fetch(server, name), folder, holes=0)
    assert server.times == 0, "the fault was not met"


@pytest.mark.parametrize("name", ["blocks", "gdal"])
@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("fault", [*STATUSES, *BROKEN])
def test_a_fault_that_stays_is_recorded(
    server: FaultServer, folder: Path, fault: str, at: str, name: str
) -> None:
    if fault == "corrupt" and at == "header":
        server.corrupt_at = place_of_block_table(folder / f"{name}.tif")
        server.order(fault, at, ALWAYS)
        check(fetch(server, name), folder)  # only the first block's place is wrong
        return
    server.order(fault, at, ALWAYS)
    check(fetch(server, name), folder, holes=3)
    # The time is bounded by the number of requests: attempts x rounds x ranges, and blocks alone.
    assert len(server.log) < 120


@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("fault", GENTLE)
def test_what_is_only_unkind_is_read(
    server: FaultServer, folder: Path, fault: str, at: str
) -> None:
    server.order(fault, at, ALWAYS)
    check(fetch(server), folder, holes=0)


@pytest.mark.parametrize(
    ("fault", "at", "holes"),
    [
        *[("slow", at, 0) for at in AT],
        ("clip", "header", 0),
        # To GDAL an answer that is not the range asked for is a failure.
        *[("whole", at, 3) for at in AT],
        ("clip", "block", 3),
    ],
)
def test_what_is_only_unkind_never_gives_gdal_wrong_pixels(
    server: FaultServer, folder: Path, fault: str, at: str, holes: int
) -> None:
    server.order(fault, at, ALWAYS)
    check(fetch(server, "gdal"), folder, holes)
    assert len(server.log) < 120


def place_of_block_table(path: Path) -> int:
    """Return where in the file the place of its first block stands."""
    with rasterio.open(path) as source:
        first = int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        second = int(source.get_tag_item("BLOCK_OFFSET_1_0", "TIFF", bidx=1))
    table = path.read_bytes()[:16384].find(struct.pack("<II", first, second))
    assert table > 0
    return table


def test_retry_after_is_kept_by_all_requests(server: FaultServer, folder: Path) -> None:
    server.order("429", "block", 1, retry_after="1")
    check(fetch(server), folder, holes=0)
    refused = next(request for request in server.log if request.answer == "429")
    later = [r for r in server.log if r.moment > refused.moment + 0.2]
    assert len(later) >= 1
    # Requests that were on their way already may come at once; no new one before the time.
    assert all(request.moment >= refused.moment + 0.99 for request in later)


def test_a_wait_beyond_patience_is_a_hole_at_once(server: FaultServer, folder: Path) -> None:
    server.order("503", "block", ALWAYS, retry_after="3600")
    content = fetch(server)
    check(content, folder, holes=3)
    assert "asking to wait 3600 s" in content.holes[0].cause
    ranges = {request.start for request in server.blocks()}
    assert len(server.blocks()) == 2 * len(ranges)  # one a round


def test_an_expired_token_is_renewed_and_only_the_rest_read_again(
    server: FaultServer, folder: Path
) -> None:
    server.order("", tokens=set())
    host = server.url.removeprefix("http://")
    whole = Access("sas", hosts=(host,), token_url=f"{server.url}/token")
    folder_name = folder / "container"
    folder_name.mkdir(exist_ok=True)
    (folder_name / "blocks.tif").write_bytes((folder / "blocks.tif").read_bytes())
    server.token_life = 2  # the header and one block range
    check(fetch(server, "container/blocks", whole), folder, holes=0)
    assert server.issued == 2
    served = [(r.start, r.stop) for r in server.blocks() if r.answer == "206"]
    assert len(served) == len(set(served)), "a range was read twice"
    assert {r.token for r in server.blocks()} == {"sig=secret1", "sig=secret2"}


def test_no_access_is_a_hole_that_says_so(server: FaultServer, folder: Path) -> None:
    server.order("403", "any", ALWAYS)
    content = fetch(server)
    check(content, folder, holes=3)
    assert "the server answers 403 Forbidden" in content.holes[0].cause
    assert len(server.log) == 2  # one a round


@pytest.mark.parametrize("name", ["blocks", "gdal"])
def test_a_file_that_is_not_there(server: FaultServer, folder: Path, name: str) -> None:
    content = fetch(server, f"no-{name}")
    check(content, folder, holes=3)
    assert "the server answers 404 Not Found" in content.holes[0].cause


def test_nobody_listening(folder: Path, server: FaultServer) -> None:
    server.url = "http://127.0.0.1:1"
    content = fetch(server)
    check(content, folder, holes=3)
    assert "the connection is refused (3 attempts)" in content.holes[0].cause


def test_a_file_cut_short_loses_only_what_is_missing(server: FaultServer, folder: Path) -> None:
    data = (folder / "blocks.tif").read_bytes()
    (folder / "short.tif").write_bytes(data[: len(data) // 2])
    content = fetch(server, "short")
    check(content, folder)
    assert 0 < len(content.holes) < 3
    assert "shorter than its header says" in content.holes[0].cause


def test_a_file_replaced_while_it_is_read_is_read_anew(server: FaultServer, folder: Path) -> None:
    path = folder / "replaced.tif"
    data = (folder / "blocks.tif").read_bytes()
    path.write_bytes(data + b"more")  # another size: what tells the two apart
    newer = folder / "newer.tif"
    newer.write_bytes(data)
    take_fault = server.take_fault

    def replace_at_first_block(start: int) -> str:
        if start > 0:
            # Whole at once, and by the first of several requests.
            with contextlib.suppress(FileNotFoundError):
                newer.replace(path)
        return take_fault(start)

    server.take_fault = replace_at_first_block  # type: ignore[method-assign]
    check(fetch(server, "replaced"), folder, holes=0)
    assert [request.start for request in server.log].count(0) == 2


def test_ranges_far_into_a_file_without_range_support_are_refused(
    server: FaultServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = HttpClient(HttpRules(pause_s=0.01, skip_bytes=1000), Throttle())
    monkeypatch.setattr(band_files, "shared_client", lambda: far)
    server.order("whole", "any", ALWAYS)
    content = fetch(server)
    check(content, folder, holes=2)
    assert "ignores byte ranges" in content.holes[0].cause


def test_a_missing_url_is_no_input_error_and_may_come_back(
    server: FaultServer, folder: Path
) -> None:
    for name in ("blocks", "gdal"):
        url = f"{server.url}/late-{name}.tif"
        with pytest.raises(LandmarkError, match=r"404") as caught:
            read_header(url)
        assert not isinstance(caught.value, InputError)
        (folder / f"late-{name}.tif").write_bytes((folder / f"{name}.tif").read_bytes())
        assert read_header(url).width == SIDE
