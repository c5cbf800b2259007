"""The loader on a dataset behind a URL: the same steps, each row group fetched once, few held."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from baselines.loader import Loader, open_split, row_groups, share
from baselines.reading import Reading
from baselines.remote_split import HELD
from baselines.sampling import Order, Position
from baselines.split import Split
from landmark.errors import InputError
from landmark.remote_shards import RowGroups
from tests.baselines.learnable import make_learnable
from tests.fault_server import FaultServer, fault_server
from tests.remote_datasets import index_shards

#: Three patches a shard, so that there are many more row groups than are held.
COUNT, ROWS = 131, 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remote")
    return index_shards(make_learnable(folder, {"train": (COUNT, 7)}, rows=ROWS))


@pytest.fixture(scope="module")
def local(root: Path) -> Iterator[Split]:
    with open_split(root, "s1", "train") as split:
        yield split


@pytest.fixture
def server(root: Path) -> Iterator[FaultServer]:
    with fault_server(root) as running:
        yield running


def digests(loader: Loader, start: Position) -> list[tuple]:
    return [
        (step.number, b.rows.tolist(), hashlib.sha256(b.images.tobytes()).hexdigest())
        for step in loader.steps(start)
        for b in step.batches.values()
    ]


def test_a_split_behind_a_url_holds_the_same(local: Split, server: FaultServer) -> None:
    with open_split(server.url, "s1", "train") as remote:
        for name in ("patch_id", "label_mask", "known_mask", "pair_id", "caption_id"):
            assert getattr(remote, name).tolist() == getattr(local, name).tolist()
        assert remote.captions == local.captions
        assert remote.layout == local.layout
        assert remote.groups.tolist() == [row // ROWS for row in range(COUNT)]
        rows = np.array([130, 0, 64, 1])
        assert remote.read(rows).tobytes() == local.read(rows).tobytes()
    assert open_split(server.url, "s1", "val") is None


@pytest.mark.parametrize(("workers", "part"), [(0, (0, 1)), (3, (0, 1)), (2, (1, 2))])
def test_steps_are_those_of_local_files_under_the_same_order(
    local: Split, server: FaultServer, workers: int, part: tuple[int, int]
) -> None:
    with open_split(server.url, "s1", "train") as remote:
        usable = {"s1": np.arange(1, COUNT)}
        order = Order({"s1": COUNT - 1}, 8, 3, groups=row_groups({"s1": remote}, usable))
        reading = Reading(workers=workers, reuse=True)
        results = []
        for split in (local, remote):
            with Loader({"s1": split}, usable, order, reading, part) as loader:
                results.append(digests(loader, Position(3, 1, 0)))
                # Entered in the middle: the same remaining steps.
                assert digests(loader, Position(3, 1, 9)) == results[-1][9:]
        assert results[0] == results[1]
        rows = [row for _, own, _ in results[0] for row in own]
        assert len(set(rows)) == len(rows)
        whole = [order.batch(1, step)["s1"] for step in range(order.steps)]
        assert rows == [r for batch in whole for r in usable["s1"][share(batch, part)].tolist()]


def test_an_epoch_fetches_each_row_group_once_and_holds_few(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    whole = RowGroups._ask

    def counting(self: RowGroups, *arguments: object) -> object:
        answer = whole(self, *arguments)
        held.append(len(self))
        return answer

    monkeypatch.setattr(RowGroups, "_ask", counting)
    # A server that takes its time: what is fetched ahead is still under way when it is asked for.
    server.latency_s = 0.002
    with open_split(server.url, "s1", "train") as remote:
        usable = {"s1": np.arange(COUNT)}
        order = Order({"s1": COUNT}, 4, 0, groups=row_groups({"s1": remote}, usable))
        server.log.clear()
        with Loader({"s1": remote}, usable, order, Reading(workers=2)) as loader:
            assert sum(len(s.batches["s1"].rows) for s in loader.steps(Position(0, 0, 0))) == COUNT
    shards = -(-COUNT // ROWS)
    asked = Counter(request.path for request in server.log)
    assert len(asked) == shards > 2 * HELD
    assert set(asked.values()) == {1}
    assert max(held) == HELD


def test_evaluation_reads_all_rows_in_order(local: Split, server: FaultServer) -> None:
    with open_split(server.url, "s1", "train") as remote:
        server.log.clear()
        for ours, theirs in zip(remote.batches(16), local.batches(16), strict=True):
            assert ours.rows.tolist() == theirs.rows.tolist()
            assert ours.images.tobytes() == theirs.images.tobytes()
    assert len(server.log) == -(-COUNT // ROWS)


def test_what_cannot_be_done_behind_a_url_is_said(server: FaultServer) -> None:
    with open_split(server.url, "s1", "train") as remote:
        usable = {"s1": np.arange(COUNT)}
        groups = row_groups({"s1": remote}, usable)
        with pytest.raises(InputError, match=r"row_groups\(splits, usable\)"):
            Loader({"s1": remote}, usable, Order({"s1": COUNT}, 4, 0))
        order = Order({"s1": COUNT}, 4, 0, groups=groups)
        with pytest.raises(InputError, match="are read by threads"):
            Loader({"s1": remote}, usable, order, Reading(processes=1))
        with pytest.raises(InputError, match="cannot be drawn as pairs"):
            Order({"s1": COUNT}, 4, 0, mixing="paired", groups=groups)
        with pytest.raises(InputError, match="cannot be balanced"):
            Order({"s1": COUNT}, 4, 0, weights={"s1": np.ones(COUNT)}, groups=groups)


def test_local_files_have_no_row_groups(local: Split) -> None:
    assert row_groups({"s1": local}, {"s1": np.arange(COUNT)}) == {}
