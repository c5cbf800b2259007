"""A dataset behind a URL: the same patches, few requests, faults that heal and that do not."""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

import landmark.dataset
from landmark.commits import mark_path, read_mark, write_mark
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.loose_files import write_seal
from landmark.remote_dataset import RemoteDataset
from landmark.remote_files import Patience, RangeFile, RemoteFolder
from landmark.remote_shards import FrameGroup, RemoteShard, RowGroups
from landmark.shards import ShardReader
from landmark.torch import PatchDataset
from tests.baselines.learnable import make_learnable
from tests.fault_server import ALWAYS, FaultServer, fault_server
from tests.remote_datasets import index_shards

QUICK = Patience(attempts=3, backoff_s=0.001)
SHARD = "shards/s2/train-00000-of-00002.parquet"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # More rows than a row group holds, and two shards.
    folder = tmp_path_factory.mktemp("remote")
    return index_shards(make_learnable(folder, {"train": (5, 130), "val": (0, 3)}, rows=100))


@pytest.fixture
def server(root: Path) -> Iterator[FaultServer]:
    with fault_server(root) as running:
        yield running


@pytest.fixture
def groups() -> Iterator[RowGroups]:
    held = RowGroups(4)
    yield held
    held.close()


def test_a_url_gives_what_the_directory_gives(root: Path, server: FaultServer) -> None:
    with landmark.dataset.open(root) as local, landmark.dataset.open(server.url) as remote:
        assert len(remote) == len(local) == 138
        assert list(remote) == list(local)
        assert [str(path) for path in remote.files] == [
            f"{server.url}/{path.relative_to(root).as_posix()}" for path in local.files
        ]
        for patch in (local[0], local[5], local[70], local[-1]):
            assert repr(remote.row(patch)) == repr(local.row(patch))  # NaN is no NaN's equal
            assert remote.layout(patch) == local.layout(patch)
            assert remote.image(patch).tobytes() == local.image(patch).tobytes()
            assert remote.scl(patch) is local.scl(patch) is None
        assert remote.to_xarray(local[9]).identical(local.to_xarray(local[9]))
        assert remote.rows.drop_columns("fractions").equals(local.rows.drop_columns("fractions"))
    with landmark.dataset.open(server.url, sensor="s2", split="val") as few:
        assert len(few) == 3


def test_a_row_group_is_one_request(server: FaultServer, groups: RowGroups, root: Path) -> None:
    shard = RemoteShard(RemoteFolder(server.url), SHARD, groups)
    assert [r.path.rpartition(".")[2] for r in server.log] == ["json", "parquet"]
    before = len(server.log)
    with ShardReader(root / SHARD) as local:
        for row in range(64):
            assert bytes(shard.frame(row)) == bytes(local.frame(row))
        assert len(server.log) == before + 1
        assert bytes(shard.frame(64)) == bytes(local.frame(64))
        assert len(server.log) == before + 2
        size = (root / SHARD).stat().st_size
        asked = sum(r.stop - r.start for r in server.log[before:])
        assert asked < size
        for planes in zip(shard.planes(70), local.planes(70), strict=True):
            np.testing.assert_array_equal(*planes)
        np.testing.assert_array_equal(shard.packed(70), local.packed(70))
    with pytest.raises(IndexError, match="holds 100 rows, not row 100"):
        shard.frame(100)


@pytest.mark.parametrize(
    "options", [{"compression": "snappy"}, {"compression": "none", "write_batch_size": 1}]
)
def test_a_shard_another_tool_rewrote_gives_the_same_frames(
    tmp_path: Path, groups: RowGroups, options: dict
) -> None:
    make_learnable(tmp_path, {"train": (0, 70)}, rows=100)
    path = Dataset(tmp_path).split_shards("s2", "train")[0]
    with ShardReader(path) as local:
        frames = [bytes(local.frame(row)) for row in range(70)]
    mark = read_mark(path)
    pq.write_table(pq.read_table(path), path, row_group_size=33, use_dictionary=False, **options)
    changed = {**vars(mark), "nbytes": path.stat().st_size}
    write_mark(path, type(mark)(**changed))
    shard = RemoteShard(RemoteFolder(f"file://{tmp_path}"), str(path.relative_to(tmp_path)), groups)
    assert [bytes(shard.frame(row)) for row in range(70)] == frames


def test_files_in_memory_are_read_too(root: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in sorted((root / "shards").rglob("*.*")):
        memory.pipe(f"/kept/{path.relative_to(root).as_posix()}", path.read_bytes())
    try:
        with landmark.dataset.open("memory://kept") as remote, landmark.dataset.open(root) as local:
            assert remote.image(local[40]).tobytes() == local.image(local[40]).tobytes()
    finally:
        memory.rm("/kept", recursive=True)


# Faults


@pytest.mark.parametrize("fault", ["503", "429", "500", "close", "truncate", "reset", "clip"])
def test_a_fault_that_passes_is_not_seen(
    root: Path, server: FaultServer, groups: RowGroups, fault: str
) -> None:
    shard = RemoteShard(RemoteFolder(server.url, patience=QUICK), SHARD, groups)
    server.order(fault, times=2)
    with ShardReader(root / SHARD) as local:
        assert bytes(shard.frame(3)) == bytes(local.frame(3))
    assert server.times == 0


@pytest.mark.parametrize(
    ("fault", "told", "requests"),
    [
        ("503", r"HTTP status 503 \(3 attempts\)", 3),
        ("403", "HTTP status 403", 1),
        ("clip", r"gave \d+ bytes instead of \d+ \(3 attempts\)", 3),
        ("whole", r"gave \d+ bytes instead of \d+ \(3 attempts\)", 3),
    ],
)
def test_a_fault_that_stays_is_one_line_without_the_secret(
    server: FaultServer,
    groups: RowGroups,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    told: str,
    requests: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    folder = RemoteFolder(f"{server.url}?sig=hunter2", patience=QUICK)
    shard = RemoteShard(folder, SHARD, groups)
    assert {request.token for request in server.log} == {"sig=hunter2"}
    server.order(fault, times=ALWAYS)
    before = len(server.log)
    with pytest.raises(LandmarkError, match=told) as caught:
        shard.frame(0)
    assert len(server.log) == before + requests
    assert f"{server.url}/{SHARD}: cannot be read" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in caplog.text
    # What failed is asked for again when it is wanted again.
    server.order("")
    shard.frame(0)


def test_a_changed_byte_is_found_by_the_checksum(server: FaultServer, groups: RowGroups) -> None:
    shard = RemoteShard(RemoteFolder(server.url), SHARD, groups)
    server.order("corrupt", times=1)
    shard.frame(0)
    server.log.clear()
    told = []
    for row in range(64):
        with contextlib.suppress(LandmarkError):
            shard.frame(row)
            continue
        with pytest.raises(LandmarkError, match=f"image of row {row} does not match its checksum"):
            shard.frame(row)
        told.append(row)
    assert len(told) == 1


def test_what_is_not_there_is_named(root: Path, tmp_path: Path, server: FaultServer) -> None:
    with pytest.raises(InputError, match=r"nowhere/shards/index.json: not found"):
        landmark.dataset.open(f"{server.url}/nowhere")
    with pytest.raises(InputError, match="holds no s1 val patches"):
        landmark.dataset.open(server.url, sensor="s1", split="val")
    with pytest.raises(InputError, match="ftp is no scheme read here"):
        landmark.dataset.open("ftp://example.invalid/data")
    make_learnable(tmp_path, {"train": (0, 3)})
    index_shards(tmp_path)
    path = Dataset(tmp_path).split_shards("s2", "train")[0]
    url = f"file://{tmp_path}"
    mark = mark_path(path).read_bytes()
    mark_path(path).unlink()
    with landmark.dataset.open(url) as opened, pytest.raises(InputError, match="not committed"):
        opened.image(opened[0])
    mark_path(path).write_bytes(mark)
    path.unlink()
    with landmark.dataset.open(url) as opened, pytest.raises(InputError, match="is missing"):
        opened.image(opened[0])


def test_damaged_or_mixed_up_copies_are_named(tmp_path: Path) -> None:
    make_learnable(tmp_path, {"train": (0, 3)})
    index_shards(tmp_path)
    url, dataset = f"file://{tmp_path}", Dataset(tmp_path)
    path = dataset.split_shards("s2", "train")[0]
    whole, index = path.read_bytes(), dataset.index.read_bytes()

    def fails(told: str) -> None:
        with pytest.raises(LandmarkError, match=told) as caught:
            RemoteDataset(url, patience=QUICK).open_shards(
                RemoteDataset(url).rows("s2", "train"), RowGroups(1)
            )
        assert "\n" not in str(caught.value)

    path.write_bytes(whole[:-1000])
    fails("gave .* bytes instead of")
    path.write_bytes(whole[:-8] + b"xxxxxxxx")
    fails("is no readable shard")
    path.write_bytes(whole)
    table = pq.read_table(dataset.index)
    pq.write_table(table.slice(1), dataset.index)
    fails(r"does not match its checksum in index\.json")
    write_seal(dataset.shards, ["index.parquet"])
    fails(r"holds 3 rows, index\.parquet says 2")
    strange = ["shards/../../x.parquet"] * 3
    place = table.schema.get_field_index("shard_file")
    pq.write_table(table.set_column(place, "shard_file", pa.array(strange)), dataset.index)
    write_seal(dataset.shards, ["index.parquet"])
    fails("is no name of a shard")
    dataset.index.write_bytes(index)
    write_seal(dataset.shards, ["index.parquet"])
    mark_path(path).write_text("{}")
    fails("commit mark train-00000-of-00001.json is damaged")


def test_options_that_do_not_suit_are_not_repeated() -> None:
    with pytest.raises(
        LandmarkError, match="cannot be read: UnknownConfigurationKeyError"
    ) as caught:
        RemoteFolder("s3://bucket/data", {"secret_access_keyy": "hunter2"}).read("x")
    assert "hunter2" not in str(caught.value)


def test_commands_say_that_they_need_a_directory() -> None:
    dataset = Dataset(Path("https://user:hunter2@example.invalid/data?sig=hunter2"))
    with pytest.raises(InputError, match="commands work on a dataset directory") as caught:
        dataset.require(dataset.shards, "harmonize")
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).startswith("https://example.invalid/data: ")


def test_a_folder_travels_to_another_process(server: FaultServer) -> None:
    folder = pickle.loads(pickle.dumps(RemoteFolder(f"{server.url}/shards", patience=QUICK)))
    assert folder.read("index.json")
    assert folder.shown == f"{server.url}/shards"


# Row groups in memory


def group_of(value: int) -> FrameGroup:
    return FrameGroup([bytes([value])], [value])


def test_a_group_is_fetched_once_however_many_ask() -> None:
    held = RowGroups(2)
    fetched = []

    def fetch() -> FrameGroup:
        fetched.append(1)
        time.sleep(0.02)
        return group_of(7)

    threads = [threading.Thread(target=held.get, args=(("a", 0), fetch)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held.close()
    assert fetched == [1]


def test_no_thread_loses_the_group_it_waits_for() -> None:
    held = RowGroups(4)
    got: list[bytes] = []

    def slow(number: int) -> FrameGroup:
        time.sleep(0.01)
        return group_of(number)

    def ask(number: int) -> None:
        got.append(bytes(held.get(("a", number), lambda: slow(number)).frames[0]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held.close()
    assert sorted(got) == [bytes([number]) for number in range(24)]


def test_a_forked_loader_process_opens_its_own_connections(root: Path, server: FaultServer) -> None:
    """`DataLoader` forks on Linux; neither threads nor connections live on in the child."""
    patches = PatchDataset(server.url, sensor="s2", split="val")
    here = patches[0]["image"]  # connections and threads are in use before the fork
    loader = DataLoader(patches, num_workers=1, multiprocessing_context="fork", timeout=30)
    there = [sample["image"][0] for sample in loader]
    assert len(there) == 3
    assert torch.equal(there[0], here)


def test_the_groups_used_longest_ago_make_room() -> None:
    held = RowGroups(3)
    for number in (0, 1, 2, 0, 3):
        held.get(("a", number), lambda number=number: group_of(number))
    assert len(held) == 3
    again = []
    for number in (0, 2, 3):
        held.get(("a", number), lambda number=number: again.append(number) or group_of(number))
    assert again == []
    held.get(("a", 1), lambda: again.append(1) or group_of(1))
    assert again == [1]
    held.close()


def test_no_more_is_fetched_ahead_than_can_be_held() -> None:
    held = RowGroups(3)
    fetched = []
    wanted = [(("a", n), lambda n=n: fetched.append(n) or group_of(n)) for n in range(9)]
    held.prefetch(wanted)
    for key, fetch in wanted[:3]:
        held.get(key, fetch)
    held.close()
    assert sorted(fetched) == [0, 1, 2]


def test_a_file_of_ranges_reads_like_the_file() -> None:
    data = np.random.default_rng(0).bytes(1000)
    asked = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return data[start:stop]

    file = RangeFile(fetch, len(data), [(900, data[900:])])
    file.seek(-50, 2)
    assert file.read() == data[-50:]
    assert not asked
    file.seek(10)
    assert file.read(20) + file.read(5) == data[10:35]
    assert file.seek(-5, 1) == 30
    assert file.tell() == 30
    file.seek(1000)
    assert file.read(10) == b""
    assert asked == [(10, 30), (30, 35)]
