from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import landmark.dataset
from cli.main import run as command
from landmark import migrating
from landmark.commits import damage, mark_path, read_mark
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.migrating import migrate
from landmark.profiles import profiles_of
from landmark.progress import Silent
from landmark.schema import patch_schema, shard_schema
from landmark.shards import ShardReader, commit_shard
from landmark.verifying import verify
from tests.landmark.test_opened import S1, S2, rows


@pytest.fixture
def root(tmp_path: Path) -> Path:
    dataset = Dataset(tmp_path)
    for name, layout, ids in (("s1-00000", S1, ["a_s1", "b_s1"]), ("s2-00000", S2, ["a_s2"])):
        table = rows(layout, ids, patch_schema(layout))
        commit_shard(dataset.patch_shard(name), table, f"print-{name}", notes={"kept": 1})
        path = dataset.shards / layout.sensor / "train-00000-of-00001.parquet"
        commit_shard(path, rows(layout, ids, shard_schema(layout)), "shard")
    return tmp_path


def images(root: Path) -> dict[str, np.ndarray]:
    with landmark.dataset.open(root) as opened:
        return {patch: opened.image(patch) for patch in opened}


def files(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*.parquet") if p.parent.name in ("patches", "s1", "s2"))


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def other_columns(path: Path) -> pa.Table:
    table = pq.read_table(path)
    return table.drop_columns(["image", "image_nbytes", "image_xxh3"]).replace_schema_metadata(None)


@pytest.mark.parametrize("profile", ["storage", "training"])
def test_a_lossless_migration_changes_how_images_are_stored_and_nothing_else(
    root: Path, profile: str
) -> None:
    before = images(root)
    columns = {path: other_columns(path) for path in files(root)}
    marks = {path: read_mark(path) for path in files(root)}
    first = migrate(root, "storage", Silent(), workers=2)
    assert (first.shards, first.shards_skipped, first.patches) == (4, 0, 6)
    if profile == "training":
        again = migrate(root, "training", Silent())
        assert (again.bytes_before, again.bytes_after) == (first.bytes_after, first.bytes_before)
    assert migrate(root, profile, Silent()).shards_skipped == 4
    for path in files(root):
        with ShardReader(path) as reader:
            assert reader.direct
            assert profile in profiles_of(reader.layout)
        assert other_columns(path).equals(columns[path])
        assert damage(path) is None
        mark, old = read_mark(path), marks[path]
        kept = (mark.fingerprint, mark.rows, mark.notes, mark.holes)
        assert kept == (old.fingerprint, old.rows, old.notes, old.holes)
    after = images(root)
    assert all(after[p].tobytes() == before[p].tobytes() for p in before)
    assert verify(root, Silent()).ok
    assert not list((root / "cache").rglob("*.json"))


def test_there_and_back_gives_the_same_bytes(root: Path) -> None:
    before = {path: path.read_bytes() for path in files(root)}
    migrate(root, "storage", Silent())
    assert any(path.read_bytes() != data for path, data in before.items())
    migrate(root, "training", Silent())
    assert {path: path.read_bytes() for path in files(root)} == before


def test_compact_is_near_for_radar_and_exact_for_optical(root: Path) -> None:
    before = images(root)
    migrate(root, "compact", Silent())
    after = images(root)
    assert np.array_equal(after["a_s2"], before["a_s2"])
    assert after["a_s1"].dtype == np.float32
    assert np.array_equal(np.isnan(after["a_s1"]), np.isnan(before["a_s1"]))
    assert 0 < np.nanmax(np.abs(after["a_s1"] - before["a_s1"])) <= 0.00502


@pytest.mark.parametrize("moment", ["before the new file", "between file and mark", "after"])
def test_a_killed_migration_is_resumed(
    root: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = images(root)
    written = migrating.write_mark
    target = Dataset(root).patch_shard("s1-00000")

    def kill(path: Path, mark: object) -> None:
        in_cache = path.parent.name == "migrate"
        if moment == "before the new file" and in_cache and "s1-00000" in path.name:
            raise KeyboardInterrupt
        if moment == "between file and mark" and path.samefile(target) if not in_cache else False:
            raise KeyboardInterrupt
        written(path, mark)
        if moment == "after" and not in_cache and path.samefile(target):
            raise KeyboardInterrupt

    monkeypatch.setattr(migrating, "write_mark", kill)
    with pytest.raises((KeyboardInterrupt, LandmarkError)):
        migrate(root, "storage", Silent(), workers=1)
    monkeypatch.undo()
    if moment == "between file and mark":
        assert read_mark(target) is None
    summary = migrate(root, "storage", Silent())
    assert summary.shards + summary.shards_skipped == 4
    assert read_mark(target) is not None
    assert verify(root, Silent()).ok
    after = images(root)
    assert all(after[p].tobytes() == before[p].tobytes() for p in before)
    assert not list((root / "cache").rglob("*~*"))


def test_a_damaged_shard_is_named_and_left_as_it_is(root: Path) -> None:
    path = Dataset(root).patch_shard("s2-00000")
    with ShardReader(path) as reader:
        frame = bytes(reader.frame(0))
    data = bytearray(path.read_bytes())
    data[data.index(frame) + len(frame) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(LandmarkError, match=r"patches/s2-00000.parquet: .*checksum"):
        migrate(root, "storage", Silent())
    assert path.read_bytes() == data


def test_wrong_input_makes_nothing(root: Path, tmp_path: Path) -> None:
    before = everything(root)
    with pytest.raises(InputError, match="unknown profile 'tiny': training, storage, compact"):
        migrate(root, "tiny", Silent())
    with pytest.raises(InputError, match="no such dataset"):
        migrate(tmp_path / "none", "storage", Silent())
    assert everything(root) == before
    assert mark_path(files(root)[0]).exists()


def test_the_command_answers_and_exits(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["migrate", str(root), "--profile", "storage", "--json", "--quiet"]) == 0
    assert '"shards": 4' in capsys.readouterr().out
    assert command(["migrate", str(root), "--profile", "nothing"]) == 2
    assert "unknown profile 'nothing'" in capsys.readouterr().err
