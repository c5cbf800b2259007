from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from baselines.loader import fingerprint, open_split, reading_pool, share, training_batches
from baselines.sampling import Order, Position
from landmark.commits import mark_path
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.shards import ShardReader
from tests.baselines.learnable import BANDS, make_learnable


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_learnable(tmp_path_factory.mktemp("loader"), {"train": (21, 9)}, rows=8)


def test_a_split_gives_the_rows_of_all_its_shards_in_order(root: Path) -> None:
    with open_split(root, "s1", "train") as split:
        assert len(split) == 21
        assert split.patch_id.tolist() == [f"train_{i:04d}_s1" for i in range(21)]
        files = Dataset(root).split_shards("s1", "train")
        assert len(files) == 3
        with ShardReader(files[1]) as reader:
            np.testing.assert_array_equal(split.image(8 + 3), reader.image(3))
            captions = reader.table(["caption"])["caption"].to_pylist()
        assert [split.captions[i] for i in split.caption_id[8:16]] == captions
        assert split.captions == sorted(set(split.captions))
        assert "" in split.captions


def test_an_epoch_reads_no_ids(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    table = ShardReader.table

    def told(reader: ShardReader, columns: Sequence[str]) -> pa.Table:
        asked.extend(columns)
        return table(reader, columns)

    monkeypatch.setattr(ShardReader, "table", told)
    with open_split(root, "s1", "train") as split:
        order = Order({"s1": len(split)}, 4, seed=1)
        rows = {"s1": np.arange(len(split))}
        seen = [
            row
            for step in training_batches({"s1": split}, rows, order, Position(1, 0, 0))
            for row in step.batches["s1"].rows
        ]
        assert sorted(seen) == list(range(21))
        assert set(asked) == {"label_mask", "known_mask", "caption"}
        held = split.label_mask, split.known_mask, split.caption_id
        # What stays for as long as the split: 8 bytes a patch, and no Python objects.
        assert [column.dtype.kind for column in held] == ["u", "u", "i"]
        assert sum(column.nbytes for column in held) == 8 * len(split)
        assert split.pair_id.to_pylist() == [f"train_{i:04d}_s2" for i in range(21)]
        assert set(asked) >= {"pair_id"}


def test_threads_read_what_one_thread_reads(root: Path) -> None:
    with open_split(root, "s2", "train") as split, reading_pool(4) as pool:
        rows = np.array([8, 0, 8, 3])
        images = split.read(rows, pool)
        assert images.shape == (4, len(BANDS), 120, 120)
        assert images.dtype == np.uint16
        np.testing.assert_array_equal(images, split.read(rows))
        np.testing.assert_array_equal(images[0], images[2])


def test_all_rows_in_order_for_evaluation(root: Path) -> None:
    with open_split(root, "s1", "train") as split:
        batches = list(split.batches(size=8))
        assert [len(batch.images) for batch in batches] == [8, 8, 5]
        assert np.concatenate([batch.rows for batch in batches]).tolist() == list(range(21))
        np.testing.assert_array_equal(batches[2].images[4], split.image(20))


def test_an_epoch_entered_in_the_middle_gives_the_remaining_steps(root: Path) -> None:
    splits = {s: open_split(root, s, "train") for s in ("s1", "s2")}
    usable = {"s1": np.arange(0, 21, 2), "s2": np.arange(9)}
    order = Order({s: len(rows) for s, rows in usable.items()}, 3, seed=5)

    def steps(start: int) -> list:
        return list(training_batches(splits, usable, order, Position(5, 1, start)))

    whole, rest = steps(0), steps(2)
    assert [step.number for step in whole] == list(range(order.steps))
    assert [step.number for step in rest] == list(range(2, order.steps))
    for a, b in zip(whole[2:], rest, strict=True):
        for sensor in splits:
            np.testing.assert_array_equal(a.batches[sensor].images, b.batches[sensor].images)
    seen = np.concatenate([step.rows["s1"] for step in whole])
    assert sorted(seen.tolist()) == usable["s1"].tolist()


def test_processes_share_a_step_without_loss(root: Path) -> None:
    splits = {s: open_split(root, s, "train") for s in ("s1", "s2")}
    usable = {s: np.arange(len(split)) for s, split in splits.items()}
    order = Order({s: len(rows) for s, rows in usable.items()}, 7, seed=0)
    position = Position(0, 0, 0)
    parts = [
        list(training_batches(splits, usable, order, position, part=(rank, 3))) for rank in range(3)
    ]
    for step in range(order.steps):
        whole = parts[0][step].rows["s2"]
        together = np.concatenate([part[step].batches["s2"].rows for part in parts])
        assert together.tolist() == whole.tolist()
        assert share(whole, (1, 3)).tolist() == parts[1][step].batches["s2"].rows.tolist()


def test_no_shards_is_one_line_naming_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `landmark harmonize` first"):
        open_split(tmp_path, "s1", "train")


def test_a_sensor_without_patches_is_none(root: Path) -> None:
    assert open_split(root, "s1", "val") is None


def test_an_uncommitted_shard_is_refused(tmp_path: Path) -> None:
    make_learnable(tmp_path, {"train": (3, 3)})
    mark_path(Dataset(tmp_path).split_shards("s1", "train")[0]).unlink()
    with pytest.raises(InputError, match=r"s1/train-00000-of-00001.parquet is not committed"):
        open_split(tmp_path, "s1", "train")


def test_a_flipped_byte_is_found_when_its_patch_is_read(tmp_path: Path) -> None:
    make_learnable(tmp_path, {"train": (4, 0)})
    path = Dataset(tmp_path).split_shards("s1", "train")[0]
    with ShardReader(path) as reader:
        frame = bytes(reader.frame(2))
    data = bytearray(path.read_bytes())
    data[data.index(frame) + len(frame) // 2] ^= 1
    path.write_bytes(data)
    with open_split(tmp_path, "s1", "train") as split:
        split.image(1)
        with (
            reading_pool(2) as pool,
            pytest.raises(LandmarkError, match="row 2 does not match its checksum"),
        ):
            split.read(np.arange(4), pool)


def test_the_fingerprint_follows_the_data(root: Path, tmp_path: Path) -> None:
    same = make_learnable(tmp_path / "a", {"train": (21, 9)}, rows=8)
    other = make_learnable(tmp_path / "b", {"train": (21, 8)}, rows=8)
    assert fingerprint(root, ("train",)) == fingerprint(same, ("train",))
    assert fingerprint(root, ("train",)) != fingerprint(other, ("train",))
