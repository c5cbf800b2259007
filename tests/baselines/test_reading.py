"""Reading by threads and processes: the same steps, no slot written while held, faults named."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baselines import reading_processes
from baselines.loader import Loader, Split, open_split, pairs, share
from baselines.reading import Reading, Room, SharedSlots, map_slots
from baselines.reading_processes import ReadingProcesses
from baselines.sampling import Order, Position
from baselines.scaling import unpack
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.schema import ImageLayout, layout_of, shard_schema
from landmark.shards import ShardReader, commit_shard, decode_image
from tests.baselines.learnable import make_learnable
from tests.baselines.slow_readers import Slow, Struck, Stuck

COUNTS = {"s1": 37, "s2": 22}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = (COUNTS["s1"], COUNTS["s2"])
    return make_learnable(tmp_path_factory.mktemp("reading"), {"train": counts}, rows=9)


@pytest.fixture(scope="module")
def splits(root: Path) -> Iterator[dict[str, Split]]:
    with contextlib.ExitStack() as stack:
        yield {s: stack.enter_context(open_split(root, s, "train")) for s in COUNTS}


def usable(splits: dict[str, Split]) -> dict[str, np.ndarray]:
    return {sensor: np.arange(len(split)) for sensor, split in splits.items()}


def digest(step) -> tuple:
    images = {s: hashlib.sha256(b.images.tobytes()).hexdigest() for s, b in step.batches.items()}
    rows = {sensor: batch.rows.tolist() for sensor, batch in step.batches.items()}
    return step.number, images, rows


@pytest.mark.parametrize(
    ("packed", "mixing", "processes"),
    [
        (False, "cycle", 0),
        # Every reading process imports all that this one has imported.
        pytest.param(True, "proportional", 2, marks=pytest.mark.integration),
        (True, "cycle", 0),
    ],
)
def test_all_ways_of_reading_give_the_same_steps(
    splits: dict[str, Split], packed: bool, mixing: str, processes: int
) -> None:
    order = Order(COUNTS, 5, 3, mixing=mixing)
    ways = [
        Reading(workers=0),
        Reading(workers=0, reuse=True),
        Reading(workers=1),
        Reading(workers=3, reuse=True),
        *([Reading(processes=processes, reuse=True)] if processes else []),
    ]
    results = []
    for way in ways:
        reading = Reading(**{**vars(way), "packed": packed})
        with Loader(splits, usable(splits), order, reading) as loader:
            results.append([digest(step) for step in loader.steps(Position(3, 1, 0))])
            # A loader serves several epochs, and an epoch may be entered or left anywhere.
            rest = [digest(step) for step in loader.steps(Position(3, 1, order.steps - 2))]
            assert rest == results[-1][-2:]
    assert len(results[0]) == order.steps
    assert all(result == results[0] for result in results)


def test_a_step_in_hand_is_not_written_to(
    splits: dict[str, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = Order(COUNTS, 5, 3)
    with Loader(splits, usable(splits), order, Reading(workers=1)) as loader:
        expected = [digest(step) for step in loader.steps(Position(3, 0, 0))]
    was_read, seen = threading.Semaphore(0), 0
    read = splits["s2"].read  # the sensor that is read last

    def told(*rows: Any, **options: Any) -> np.ndarray:
        images = read(*rows, **options)
        was_read.release()
        return images

    monkeypatch.setattr(splits["s2"], "read", told)
    with Loader(splits, usable(splits), order, Reading(workers=2, reuse=True)) as loader:
        for number, step in enumerate(loader.steps(Position(3, 0, 0))):
            # The step ahead is in memory too before this one is looked at.
            while seen < min(number + 2, order.steps):
                assert was_read.acquire(timeout=60)
                seen += 1
            assert digest(step) == expected[number]


def test_packed_steps_hold_the_planes_as_stored(splits: dict[str, Split]) -> None:
    order = Order({"s2": 22}, 5, 3)
    with Loader(splits, usable(splits), order, Reading(workers=0, packed=True)) as loader:
        step = next(loader.steps(Position(3, 0, 0)))
    batch = step.batches["s2"]
    layout = splits["s2"].layout
    assert batch.images.shape == (len(batch.rows), layout.values)
    for row, values in zip(batch.rows, batch.images, strict=True):
        reader, own = splits["s2"]._locate(int(row))
        flat = np.concatenate([plane.ravel() for plane in reader.planes(own)])
        assert np.array_equal(values, flat)


def test_the_device_spreads_packed_planes_as_the_loader_does(splits: dict[str, Split]) -> None:
    rows = np.array([3, 0, 21])
    for sensor, split in splits.items():
        packed = torch.from_numpy(split.read(rows, packed=True))
        spread = unpack(packed, split.layout)
        assert spread.numpy().tobytes() == split.read(rows).tobytes(), sensor
    coarse = ImageLayout("s2", "uint16", ("a", "b"), ((20, 20), (60, 120)), 1e-4, 0)
    flat = np.random.default_rng(0).integers(0, 9999, (2, coarse.values), dtype=np.uint16)
    images = unpack(torch.from_numpy(flat), coarse).numpy()
    for values, image in zip(flat, images, strict=True):
        assert np.array_equal(image[0], np.kron(values[:400].reshape(20, 20), np.ones((6, 6), int)))
        assert np.array_equal(image[1], values[400:].reshape(60, 120).repeat(2, 0))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """The patches that shards of random sizes are made of; images of one band are quick to read."""
    folder = make_learnable(tmp_path_factory.mktemp("pool"), {"train": (37, 22)}, rows=40)
    tables = {}
    for sensor in COUNTS:
        table = pq.read_table(Dataset(folder).split_shards(sensor, "train")[0])
        tables[sensor] = table.cast(shard_schema(layout_of(table.schema.metadata)))
    return tables


def write_shards(root: Path, tables: dict[str, pa.Table], sizes: dict[str, list[int]]) -> None:
    for sensor, own in sizes.items():
        start = 0
        for number, size in enumerate(own):
            path = Dataset(root).shards / sensor / f"train-{number:05d}-of-{len(own):05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            commit_shard(path, tables[sensor].slice(start, size), "test")
            start += size


shard_sizes = st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sizes=st.fixed_dictionaries({"s1": shard_sizes, "s2": shard_sizes}),
    batch=st.integers(1, 16),
    ranks=st.integers(1, 4),
    workers=st.integers(0, 3),
    mixing=st.sampled_from(["cycle", "proportional"]),
    data=st.data(),
)
def test_no_patch_is_lost_or_repeated_whatever_reads(
    pool: dict[str, pa.Table], sizes, batch, ranks, workers, mixing, data
) -> None:
    """Shards of any sizes (none, one row), threads 0-3, ranks 1-4: the parts of all ranks are the
    order's steps, and resume is exact.
    """
    sizes = {s: _at_most(own, pool[s].num_rows) for s, own in sizes.items()}
    wanted = {s: data.draw(st.integers(1, sum(own))) for s, own in sizes.items()}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_shards(folder, pool, sizes)
        splits = {s: stack.enter_context(open_split(folder, s, "train")) for s in sizes}
        for sensor, split in splits.items():
            assert split.patch_id.tolist() == pool[sensor]["patch_id"][: len(split)].to_pylist()
        rows = {
            sensor: np.sort(np.random.default_rng(count).permutation(len(splits[sensor]))[:count])
            for sensor, count in wanted.items()
        }
        order = Order(wanted, batch, 11, mixing=mixing)
        start = data.draw(st.integers(0, order.steps))
        seen: dict[str, list[int]] = {"s1": [], "s2": []}
        for rank in range(ranks):
            reading = Reading(workers=workers, reuse=True)
            with Loader(splits, rows, order, reading, (rank, ranks)) as loader:
                steps = []
                for step in loader.steps(Position(11, 2, 0)):
                    for sensor, own in step.batches.items():
                        assert np.array_equal(own.rows, share(step.rows[sensor], (rank, ranks)))
                        for row, image in zip(own.rows, own.images, strict=True):
                            stored = pool[sensor]["image"][int(row)].as_py()
                            # Bytes, so that NaN counts as equal to itself.
                            whole = decode_image(stored, splits[sensor].layout)
                            assert image.tobytes() == whole.tobytes()
                        seen[sensor] += own.rows.tolist()
                    steps.append(digest(step))
                assert len(steps) == order.steps
                assert [digest(s) for s in loader.steps(Position(11, 2, start))] == steps[start:]
    for sensor, drawable in rows.items():
        times = np.bincount(seen[sensor], minlength=sum(sizes[sensor]))[drawable]
        total = len(drawable) if mixing == "proportional" else max(wanted.values())
        assert times.sum() == len(seen[sensor]) == total
        assert times.max() - times.min() <= 1


def _at_most(sizes: list[int], count: int) -> list[int]:
    """Return sizes cut off where their sum would pass `count`."""
    edges = np.minimum(np.cumsum([0, *sizes]), count)
    return np.diff(edges).tolist()


def test_a_step_that_is_held_is_never_written_to() -> None:
    """The race a ring of slots invites: the consumer dawdles, the readers are always ready."""
    room = Room({"s1": (np.dtype(np.uint32), (4, 1000))})
    steps = [{"s1": np.arange(4 * i, 4 * i + 4)} for i in range(40)]
    random = np.random.default_rng(0)
    with ReadingProcesses({"s1": Slow()}, room, 3, packed=False) as processes:
        for number, arrays in enumerate(processes.read(iter(steps))):
            for _ in range(int(random.integers(1, 4))):
                time.sleep(float(random.choice([0, 0.001, 0.01])))
                assert (arrays["s1"] == steps[number]["s1"][:, None]).all()
        assert number == 39
        # Left in the middle, and used again at once: nothing of the first reading shows.
        first = processes.read(iter(steps))
        next(first)
        first.close()
        for number, arrays in enumerate(processes.read(iter(steps[::-1]))):
            assert (arrays["s1"] == steps[39 - number]["s1"][:, None]).all()
    assert not processes._shared.path.exists()


def test_a_killed_reading_process_is_one_clear_error() -> None:
    room = Room({"s1": (np.dtype(np.uint32), (4, 10))})
    steps = [{"s1": np.arange(4)}, {"s1": np.array([-1])}, {"s1": np.arange(4)}]
    with ReadingProcesses({"s1": Slow()}, room, 1, packed=False) as processes:
        reading = processes.read(iter(steps))
        next(reading)
        with pytest.raises(LandmarkError, match=r"a reading process ended \(exit code -9\)"):
            list(reading)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_reading_goes_on_when_the_process_group_is_signalled(number: signal.Signals) -> None:
    room = Room({"s1": (np.dtype(np.uint32), (4, 10))})
    steps = [{"s1": np.arange(4 * i, 4 * i + 4)} for i in range(30)]
    with ReadingProcesses({"s1": Slow()}, room, 2, packed=False) as processes:
        children = [worker.process for worker in processes._workers]
        seen = 0
        for step, arrays in zip(steps, processes.read(iter(steps)), strict=True):
            assert (arrays["s1"] == step["s1"][:, None]).all()
            for child in children if seen == 3 else ():
                os.kill(child.pid, number)
            seen += 1
        assert seen == len(steps)
    assert [child.exitcode for child in children] == [0, 0]


def test_signals_before_a_process_is_ready_do_not_end_it() -> None:
    room = Room({"s1": (np.dtype(np.uint32), (4, 10))})
    steps = [{"s1": np.arange(4)}] * 3
    with ReadingProcesses({"s1": Struck()}, room, 1, packed=False) as processes:
        assert len(list(processes.read(iter(steps)))) == 3
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


def test_a_process_that_is_stuck_is_killed_on_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_processes, "_PATIENCE", 0.1)
    room = Room({"s1": (np.dtype(np.uint32), (4, 10))})
    processes = ReadingProcesses({"s1": Stuck()}, room, 1, packed=False)
    child = processes._workers[0].process
    processes._send(processes._workers[0], (0, {"s1": np.arange(4)}))
    processes.close()
    processes.close()
    assert child.exitcode == -signal.SIGKILL
    assert child not in multiprocessing.active_children()


def test_a_program_that_forgets_to_close_still_ends(tmp_path: Path) -> None:
    script = tmp_path / "forgetful.py"
    script.write_text(
        "import numpy as np\n"
        "from baselines.reading import Room\n"
        "from baselines.reading_processes import ReadingProcesses\n"
        "if __name__ == '__main__':\n"
        "    room = Room({'s1': (np.dtype(np.uint8), (1,))})\n"
        "    kept = ReadingProcesses({}, room, 1, packed=False)\n"
        "    print(kept._workers[0].process.pid)\n"
    )
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, **paths},
        timeout=60,
        check=True,
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.parametrize(
    "reading", [Reading(workers=0, floats=True), Reading(workers=2, floats=True, reuse=True)]
)
def test_floats_are_the_stored_values_cast(splits: dict[str, Split], reading: Reading) -> None:
    order = Order(COUNTS, 5, 3)
    with Loader(splits, usable(splits), order, reading) as loader:
        step = next(loader.steps(Position(3, 0, 2)))
    for sensor, batch in step.batches.items():
        assert batch.images.dtype == np.float32
        stored = splits[sensor].read(batch.rows).astype(np.float32)
        assert batch.images.tobytes() == stored.tobytes()


def test_packed_floats_are_refused() -> None:
    with pytest.raises(ValueError, match="as stored"):
        Reading(packed=True, floats=True)


@pytest.mark.parametrize("reading", [Reading(workers=0), Reading(workers=2), Reading(processes=1)])
def test_a_damaged_image_is_named_whoever_reads_it(tmp_path: Path, reading: Reading) -> None:
    make_learnable(tmp_path, {"train": (6, 0)})
    path = Dataset(tmp_path).split_shards("s1", "train")[0]
    with ShardReader(path) as reader:
        frame = bytes(reader.frame(2))
    data = bytearray(path.read_bytes())
    data[data.index(frame) + len(frame) // 2] ^= 1
    path.write_bytes(data)
    with open_split(tmp_path, "s1", "train") as split:
        order = Order({"s1": 6}, 2, 0)
        with (
            Loader({"s1": split}, {"s1": np.arange(6)}, order, reading) as loader,
            pytest.raises(LandmarkError, match="row 2 does not match its checksum"),
        ):
            list(loader.steps(Position(0, 0, 0)))


def test_slots_start_on_pages_and_are_shared() -> None:
    room = Room({"s1": (np.dtype(np.float32), (3, 5)), "s2": (np.dtype(np.uint16), (3, 7))})
    shared = SharedSlots(room, 2)
    other = map_slots(shared.path, room, 2)
    shared.forget()
    assert not shared.path.exists()
    shared.slots[1]["s2"][...] = 7
    assert (other[1]["s2"] == 7).all()
    assert (other[0]["s2"] == 0).all()
    assert (other[1]["s1"] == 0).all()
    assert all(a.ctypes.data % 4096 == 0 for slot in other for a in slot.values())


def test_too_little_shared_memory_says_how_much_and_what_to_do() -> None:
    memory = Path("/dev/shm")
    folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    before = set(folder.glob("landmark-*"))
    # Far more than any machine has: refused at once.
    room = Room({"s1": (np.dtype(np.uint8), (1 << 47,))})
    with pytest.raises(LandmarkError) as caught:
        ReadingProcesses({}, room, 1, packed=False)
    message = str(caught.value)
    assert message.startswith(f"{folder} has no room for the {5 << 47} bytes")
    assert "fewer --reading-processes or a smaller --batch" in message
    assert f"make {folder} larger" in message
    assert set(folder.glob("landmark-*")) == before


def test_pairs_are_rows_of_partners(tmp_path: Path) -> None:
    class Half:
        def __init__(self, ids: list[str], partners: list[str | None]) -> None:
            self.patch_id, self.pair_id = pa.array(ids), pa.array(partners, pa.string())

    s1 = Half(["a", "b", "c"], [None, None, None])
    s2 = Half(["x", "y", "z", "u"], ["c", None, "c", "elsewhere"])
    found = pairs({"s1": s1, "s2": s2})
    assert (found["s1"].tolist(), found["s2"].tolist()) == ([2, 2], [0, 2])
    with pytest.raises(InputError, match="no pairs"):
        pairs({"s1": s1})
