"""What lies in shards/ is not always whole: the right patches or one clear error, never others."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baselines.loader import Loader, Split, open_split
from baselines.reading import Reading
from baselines.sampling import Order, Position
from landmark.commits import decode_mark, mark_path, write_mark
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.schema import layout_of
from landmark.shards import write_shard
from tests.baselines.learnable import make_learnable

Change = Callable[[pa.Table], pa.Table]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_learnable(tmp_path, {"train": (7, 0)}, rows=4)


def last_shard(root: Path) -> Path:
    return Dataset(root).split_shards("s1", "train")[-1]


def commit_as_it_is(path: Path) -> None:
    """Write the mark of a careful user of another tool: it fits the size of what lies there."""
    mark = decode_mark(mark_path(path).read_bytes(), mark_path(path))
    write_mark(path, dataclasses.replace(mark, nbytes=path.stat().st_size))


def rewrite(path: Path, change: Change) -> None:
    table = change(pq.read_table(path))
    write_shard(path, table)
    commit_as_it_is(path)


def epoch(split: Split) -> dict[int, bytes]:
    order = Order({"s1": len(split)}, 3, 0)
    with Loader({"s1": split}, {"s1": np.arange(len(split))}, order, Reading(workers=2)) as loader:
        return {
            int(row): image.tobytes()
            for step in loader.steps(Position(0, 0, 0))
            for row, image in zip(step.rows["s1"], step.batches["s1"].images, strict=True)
        }


def set_column(name: str, values: Callable[[list], list]) -> Change:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        return table.set_column(place, field, pa.array(values(table[name].to_pylist()), field.type))

    return change


def test_a_truncated_shard_does_not_count_as_committed(root: Path) -> None:
    path = last_shard(root)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"s1/train-00001-of-00002.parquet is not committed"):
        open_split(root, "s1", "train")


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.98])
def test_a_truncated_shard_with_a_mark_of_its_size_is_one_error(root: Path, kept: float) -> None:
    path = last_shard(root)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    commit_as_it_is(path)
    with pytest.raises(LandmarkError, match=r"train-00001-of-00002\.parquet") as caught:
        open_split(root, "s1", "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6])
def test_bytes_missing_in_the_middle_are_found(root: Path, place: float) -> None:
    """The footer is whole, but everything stands earlier than it says."""
    path = last_shard(root)
    data = path.read_bytes()
    cut = int(len(data) * place)
    path.write_bytes(data[:cut] + data[cut + 64 :])
    commit_as_it_is(path)

    def read() -> None:
        with open_split(root, "s1", "train") as split:
            epoch(split)

    with pytest.raises(LandmarkError, match=r"train-00001-of-00002\.parquet"):
        read()


@pytest.mark.parametrize(
    "values",
    [
        lambda lengths: [length + 1 for length in lengths],
        lambda lengths: [0 for _ in lengths],
        lambda lengths: [2**32 - 1 for _ in lengths],
    ],
    ids=["longer", "none", "huge"],
)
def test_wrong_lengths_give_the_right_images(root: Path, values: Callable[[list], list]) -> None:
    """Positions that follow from wrong lengths contradict the page header: read by pyarrow."""
    with open_split(root, "s1", "train") as split:
        right = epoch(split)
    rewrite(last_shard(root), set_column("image_nbytes", values))
    with open_split(root, "s1", "train") as split:
        assert epoch(split) == right


def test_lengths_of_the_wrong_rows_are_one_error(root: Path) -> None:
    """Their sum is right, so the page header agrees: the checksum finds it."""
    rewrite(last_shard(root), set_column("image_nbytes", lambda lengths: lengths[::-1]))
    with (
        open_split(root, "s1", "train") as split,
        pytest.raises(LandmarkError, match="does not match its checksum"),
    ):
        epoch(split)


def test_missing_lengths_are_one_error(root: Path) -> None:
    rewrite(last_shard(root), lambda table: table.drop_columns("image_nbytes"))
    with pytest.raises(LandmarkError, match="is no readable shard") as caught:
        open_split(root, "s1", "train")
    assert "\n" not in str(caught.value)


def test_wrong_checksums_are_one_error(root: Path) -> None:
    rewrite(last_shard(root), set_column("image_xxh3", lambda values: values[::-1]))
    with (
        open_split(root, "s1", "train") as split,
        pytest.raises(LandmarkError, match="does not match its checksum"),
    ):
        epoch(split)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_the_same_columns_by_another_tool_give_the_right_images(
    root: Path, compression: str
) -> None:
    with open_split(root, "s1", "train") as split:
        right = epoch(split)
    path = last_shard(root)
    pq.write_table(pq.read_table(path), path, compression=compression, row_group_size=2)
    commit_as_it_is(path)
    with open_split(root, "s1", "train") as split:
        assert epoch(split) == right


def test_the_same_columns_without_our_metadata_are_one_error(root: Path) -> None:
    path = last_shard(root)
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    commit_as_it_is(path)
    with pytest.raises(LandmarkError, match="holds no landmark schema metadata"):
        open_split(root, "s1", "train")


def test_frames_that_are_no_frames_are_one_error(root: Path) -> None:
    """Same schema, right lengths and checksums, but another tool's bytes in the image column."""
    from landmark.codec import frame_xxh3

    raw = [bytes([number]) * 5000 for number in range(3)]

    def change(table: pa.Table) -> pa.Table:
        table = set_column("image", lambda _: raw)(table)
        table = set_column("image_nbytes", lambda _: [len(frame) for frame in raw])(table)
        return set_column("image_xxh3", lambda _: [frame_xxh3(frame) for frame in raw])(table)

    rewrite(last_shard(root), change)
    with (
        open_split(root, "s1", "train") as split,
        pytest.raises(LandmarkError, match="image frame of 5000 bytes does not hold"),
    ):
        epoch(split)


def test_a_shard_of_another_layout_is_one_error(root: Path) -> None:
    path = last_shard(root)
    make_learnable(root / "other", {"train": (0, 3)})
    other = Dataset(root / "other").split_shards("s2", "train")[0]
    path.write_bytes(other.read_bytes())
    mark_path(path).write_bytes(mark_path(other).read_bytes())
    assert layout_of(pq.read_schema(path).metadata).sensor == "s2"
    with pytest.raises(LandmarkError, match="laid out otherwise"):
        open_split(root, "s1", "train")


def test_shards_without_rows_are_no_split(root: Path) -> None:
    for path in Dataset(root).split_shards("s1", "train"):
        rewrite(path, lambda table: table.slice(0, 0))
    assert open_split(root, "s1", "train") is None


def test_a_shard_without_rows_among_others_is_passed_over(root: Path) -> None:
    with open_split(root, "s1", "train") as split:
        right = epoch(split)
    first = Dataset(root).split_shards("s1", "train")[0]
    rewrite(first, lambda table: table.slice(0, 0))
    with open_split(root, "s1", "train") as split:
        assert epoch(split) == {row - 4: image for row, image in right.items() if row >= 4}


@pytest.mark.parametrize("count", [1, 2])
def test_shards_of_one_row(tmp_path: Path, count: int) -> None:
    make_learnable(tmp_path / "one", {"train": (count, 0)}, rows=1)
    make_learnable(tmp_path / "whole", {"train": (count, 0)})
    with (
        open_split(tmp_path / "one", "s1", "train") as one,
        open_split(tmp_path / "whole", "s1", "train") as whole,
    ):
        assert len(Dataset(tmp_path / "one").split_shards("s1", "train")) == count
        assert len(one) == count
        assert epoch(one) == epoch(whole)


@pytest.mark.parametrize("processes", [0, 1])
def test_a_single_patch_is_an_epoch(tmp_path: Path, processes: int) -> None:
    make_learnable(tmp_path, {"train": (1, 0)})
    with open_split(tmp_path, "s1", "train") as split:
        order = Order({"s1": 1}, 64, 0)
        reading = Reading(workers=0, processes=processes)
        with Loader({"s1": split}, {"s1": np.arange(1)}, order, reading) as loader:
            steps = [list(loader.steps(Position(0, epoch, 0))) for epoch in range(2)]
        for step in itertools.chain.from_iterable(steps):
            assert step.batches["s1"].images.tobytes() == split.read(np.arange(1)).tobytes()
        assert [len(epoch) for epoch in steps] == [1, 1]
