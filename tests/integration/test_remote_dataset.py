"""A whole dataset behind real servers: nginx with signed URLs, and S3 (moto)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import landmark.dataset
from baselines.loader import Loader, open_split, row_groups
from baselines.reading import Reading
from baselines.sampling import Order, Position
from baselines.split import Split
from landmark.errors import InputError, LandmarkError
from landmark.torch import PatchDataset
from tests.conftest import lacking
from tests.integration.nginx import Nginx, running_nginx
from tests.integration.servers import ServerError, free_port, server_venv

pytestmark = pytest.mark.integration
TOKEN = "good-77cafe"
KEYS = {"access_key_id": "user", "secret_access_key": "hunter2hunter2"}


@pytest.fixture
def nginx(undisturbed: Path, tmp_path: Path) -> Iterator[Nginx]:
    try:
        with running_nginx(tmp_path / "nginx", undisturbed, TOKEN) as running:
            yield running
    except ServerError as error:
        lacking(str(error))


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[str]:
    """Run an S3 server; give its address.

    Raises:
        ServerError: It is not installed or does not start.
    """
    program = server_venv() / "bin" / "moto_server"
    if not program.is_file():
        raise ServerError("needs the S3 server moto: make servers")
    port = free_port()
    log = folder / "moto.log"
    with log.open("wb") as stream:
        command = [program, "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
                    yield url
                    return
                time.sleep(0.2)
            raise ServerError(f"moto does not answer: {log.read_text()[-1000:]}")
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def s3(undisturbed: Path, tmp_path: Path) -> Iterator[dict[str, object]]:
    """The dataset under s3://bucket/demo; the options that reach it."""
    import obstore
    from obstore.store import S3Store

    try:
        with running_s3(tmp_path) as url:
            request = urllib.request.Request(f"{url}/bucket", method="PUT")
            urllib.request.urlopen(request, timeout=20).close()
            options = {**KEYS, "endpoint": url, "region": "us-east-1"}
            store = S3Store("bucket", **options, client_options={"allow_http": True})
            for path in sorted((undisturbed / "shards").rglob("*.*")):
                obstore.put(store, f"demo/{path.relative_to(undisturbed).as_posix()}", path)
            yield options
    except ServerError as error:
        lacking(str(error))


def same_patches(root: Path, url: str, options: dict[str, object] | None = None) -> None:
    with (
        landmark.dataset.open(root) as local,
        landmark.dataset.open(url, options=options) as remote,
    ):
        assert list(remote) == list(local)
        for patch in (local[0], local[len(local) // 2], local[-1]):
            assert repr(remote.row(patch)) == repr(local.row(patch))
            assert remote.image(patch).tobytes() == local.image(patch).tobytes()
            ours, theirs = local.scl(patch), remote.scl(patch)
            assert (ours is None) == (theirs is None)
            assert ours is None or np.array_equal(ours, theirs)


def same_epoch(local: Split, remote: Split) -> None:
    usable = {local.sensor: np.arange(len(local))}
    groups = row_groups({local.sensor: remote}, usable)
    order = Order({local.sensor: len(local)}, 16, 0, groups=groups)
    steps = []
    for split in (local, remote):
        with Loader({split.sensor: split}, usable, order, Reading(workers=2)) as loader:
            found = list(loader.steps(Position(0, 0, 0)))
            steps.append([(s.rows[split.sensor].tolist(), s.batches[split.sensor]) for s in found])
    for (rows, ours), (others, theirs) in zip(*steps, strict=True):
        assert rows == others
        assert ours.images.tobytes() == theirs.images.tobytes()


def test_a_dataset_behind_signed_urls(undisturbed: Path, nginx: Nginx) -> None:
    url = f"{nginx.url}?sig={TOKEN}"
    same_patches(undisturbed, url)
    before = len(nginx.requests())
    with (
        open_split(undisturbed, "s2", "train") as local,
        open_split(url, "s2", "train") as remote,
    ):
        same_epoch(local, remote)
        asked = [r for r in nginx.requests()[before:] if r[1].endswith(".parquet")]
        shards = [r for r in asked if "/s2/" in r[1]]
        assert all(status == "206" for _, _, status, _, _ in shards)
        # Each shard: its footer, then each row group once.
        files = len({path for _, path, *_ in shards})
        assert len(shards) == files + int(remote.groups[-1]) + 1


def test_a_stale_signature_is_one_line_without_it(nginx: Nginx) -> None:
    with pytest.raises(LandmarkError, match="cannot be read: HTTP status 403") as caught:
        landmark.dataset.open(f"{nginx.url}?sig=stale-1234")
    assert "stale-1234" not in str(caught.value)


def test_a_dataset_in_a_bucket(undisturbed: Path, s3: dict[str, object]) -> None:
    same_patches(undisturbed, "s3://bucket/demo", s3)
    with (
        open_split(undisturbed, "s1", "train") as local,
        open_split("s3://bucket/demo", "s1", "train", s3) as remote,
    ):
        same_epoch(local, remote)
    with pytest.raises(InputError, match=r"s3://bucket/nowhere/shards/index.json: not found"):
        landmark.dataset.open("s3://bucket/nowhere", options=s3)


def test_a_bucket_by_the_environment(
    undisturbed: Path, s3: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        "AWS_ACCESS_KEY_ID": KEYS["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": KEYS["secret_access_key"],
        "AWS_ENDPOINT_URL": str(s3["endpoint"]),
        "AWS_REGION": "us-east-1",
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert "AWS_SESSION_TOKEN" not in os.environ
    same_patches(undisturbed, "s3://bucket/demo")


def test_patches_behind_a_url_for_torch(undisturbed: Path, nginx: Nginx) -> None:
    url = f"{nginx.url}?sig={TOKEN}"
    local = PatchDataset(undisturbed, "s2", "train")
    remote = PatchDataset(url, "s2", "train")
    assert len(remote) == len(local)
    assert remote[0]["image"].numpy().tobytes() == local[0]["image"].numpy().tobytes()
    assert remote[0]["caption"] == local[0]["caption"]
