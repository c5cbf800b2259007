"""Archives given by a URL, from a real HTTP server that breaks off and answers ranges."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from landmark.archive_settings import Archive
from landmark.archives.downloads import download, download_path
from landmark.errors import InputError, LandmarkError
from landmark.fetching import FetchOptions, fetch
from landmark.manifest import Catalog, Manifest, PatchRules, Sentinel1
from landmark.progress import Silent
from tests.landmark.archives.made import make_mmflood
from tests.landmark.archives.test_containers import pack_zip

pytestmark = pytest.mark.integration


class Breaking(http.server.BaseHTTPRequestHandler):
    """Sends at most `most` bytes per answer, whatever it announces."""

    content: ClassVar[bytes] = b""
    most: ClassVar[int] = 1 << 40
    ranges: ClassVar[bool] = True
    status: ClassVar[int] = 0
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range", ""))
        if self.status:
            self.send_error(self.status)
            return
        start = 0
        if self.ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(self.content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        rest = self.content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.most])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("landmark.archives.downloads._PAUSE_S", 0.01)
    monkeypatch.setattr(Breaking, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as own:
        threading.Thread(target=own.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{own.server_address[1]}/archive.zip"
        own.shutdown()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_transfer_that_breaks_off_is_continued_and_checked(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * 40
    monkeypatch.setattr(Breaking, "content", data)
    monkeypatch.setattr(Breaking, "most", 4000)
    settings = Archive(format="mmflood", href=server, sha256=sha(data))
    path = download(settings, tmp_path, Silent())
    assert path.read_bytes() == data
    assert Breaking.asked == ["", "bytes=4000-", "bytes=8000-"]
    assert [p.name for p in path.parent.iterdir()] == ["archive.zip"]
    download(settings, tmp_path, Silent())
    assert len(Breaking.asked) == 3  # once is enough


def test_a_server_without_ranges_is_read_from_the_start(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"0123456789" * 100
    monkeypatch.setattr(Breaking, "content", data)
    monkeypatch.setattr(Breaking, "ranges", False)
    settings = Archive(format="mmflood", href=server, md5=hashlib.md5(data).hexdigest())
    part = download_path(settings, tmp_path).with_name("archive.zip.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 500)
    assert download(settings, tmp_path, Silent()).read_bytes() == data


def test_what_came_is_kept_when_the_server_stays_away(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "content", b"a" * 900)
    monkeypatch.setattr(Breaking, "most", 100)
    settings = Archive(format="mmflood", href=server)
    with pytest.raises(LandmarkError, match="broke off at 500 of 900 bytes; what came is kept"):
        download(settings, tmp_path, Silent())
    assert download_path(settings, tmp_path).with_name("archive.zip.part").stat().st_size == 500
    assert not download_path(settings, tmp_path).exists()
    assert download(settings, tmp_path, Silent()).stat().st_size == 900


def test_a_wrong_checksum_or_no_such_file_ends_at_once(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "content", b"other")
    settings = Archive(format="mmflood", href=server, sha256=sha(b"wanted"))
    with pytest.raises(InputError, match="not " + sha(b"wanted")):
        download(settings, tmp_path, Silent())
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    monkeypatch.setattr(Breaking, "status", 404)
    with pytest.raises(InputError, match="HTTP 404"):
        download(settings, tmp_path, Silent())
    assert len(Breaking.asked) == 2
    with pytest.raises(ValueError, match="belong to an href that is a URL"):
        Archive(format="mmflood", href="folder", sha256=sha(b"x"))


def test_a_zip_by_url_becomes_a_dataset(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_mmflood(tmp_path / "m", ("EMSR1-0",))
    data = pack_zip(folder, tmp_path / "a.zip", "mmflood/").read_bytes()
    monkeypatch.setattr(Breaking, "content", data)
    asked = Manifest(
        name="test",
        catalog=Catalog(
            kind="archive", archives=(Archive(format="mmflood", href=server, sha256=sha(data)),)
        ),
        grid="source",
        s1=Sentinel1(),
        patches=PatchRules(min_valid=0.9),
    )
    summary = fetch(asked, tmp_path / "data", FetchOptions(workers=1), Silent())
    assert summary.patches > 0
    assert summary.holes == 0


def test_a_download_outlives_a_manifest_that_has_to_be_mended(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "content", b"PK no zip at all")
    asked = Manifest(
        name="test",
        catalog=Catalog(kind="archive", archives=(Archive(format="mmflood", href=server),)),
        grid="source",
        s1=Sentinel1(),
    )
    for _ in range(2):
        with pytest.raises(InputError, match="is no whole zip file"):
            fetch(asked, tmp_path / "data", FetchOptions(workers=1), Silent())
    assert len(Breaking.asked) == 1
    assert not (tmp_path / "data" / "plan.parquet").exists()
