from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landmark.commits import (
    CommitMark,
    Filtered,
    Hole,
    atomic_path,
    damage,
    hash_bytes,
    hash_file,
    mark_path,
    read_mark,
    remove_committed,
    sweep_temporaries,
    write_atomic,
    write_mark,
)
from landmark.errors import LandmarkError

DATA = b"a shard" * 100


def committed(folder: Path) -> Path:
    path = folder / "s1-00000.parquet"
    write_atomic(path, DATA)
    write_mark(
        path,
        CommitMark(
            rows=2,
            nbytes=len(DATA),
            xxh3=hash_bytes(DATA),
            fingerprint="f",
            versions={"pyarrow": "26.0.1"},
            filtered=(Filtered("p1", "cloud", "0.7 > 0.5"),),
            holes=(Hole("p2", "read", "file is missing", 3),),
            notes={"n": 1},
        ),
    )
    return path


def test_mark_round_trip(tmp_path: Path) -> None:
    path = committed(tmp_path)
    mark = read_mark(path)
    assert mark is not None
    assert mark.holes == (Hole("p2", "read", "file is missing", 3),)
    assert mark.filtered == (Filtered("p1", "cloud", "0.7 > 0.5"),)
    assert mark.xxh3 == hash_file(path)
    assert damage(path) is None


def test_error_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("new, half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_uncommitted(tmp_path: Path) -> None:
    path = tmp_path / "s1-00000.parquet"
    assert read_mark(path) is None
    write_atomic(path, DATA)
    assert read_mark(path) is None
    assert damage(path) == "has no commit mark"


def test_missing_and_short_files_are_not_committed(tmp_path: Path) -> None:
    path = committed(tmp_path)
    path.write_bytes(DATA[:-1])
    assert read_mark(path) is None
    assert "bytes" in (damage(path) or "")
    path.unlink()
    assert read_mark(path) is None
    assert damage(path) == "is missing"


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    path = committed(tmp_path)
    for file in (path, mark_path(path)):
        whole = file.read_bytes()
        for position in range(len(whole)):
            broken = bytearray(whole)
            broken[position] ^= 1
            file.write_bytes(broken)
            assert damage(path) is not None, (file.name, position)
        file.write_bytes(whole)
    assert damage(path) is None


def test_damaged_mark_is_said(tmp_path: Path) -> None:
    path = committed(tmp_path)
    mark_path(path).write_text("{}")
    with pytest.raises(LandmarkError, match="is damaged"):
        read_mark(path)


@given(data=st.binary(max_size=400))
def test_no_bytes_pass_for_a_mark(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = committed(tmp_path_factory.mktemp("marks"))
    mark_path(path).write_bytes(data)
    with pytest.raises(LandmarkError):
        read_mark(path)


def test_remove_takes_the_mark_too(tmp_path: Path) -> None:
    remove_committed(committed(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_sweeping_spares_the_living(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "mine") as mine:
        dead = mine.with_name(mine.name.replace(f"~{os.getpid()}~", "~99999999~"))
        dead.write_text("left over")
        foreign = tmp_path / ".other.elsewhere~99999999~0.tmp"
        foreign.write_text("another host's")
        assert sweep_temporaries(tmp_path) == 1
        assert not dead.exists()
        assert mine.exists()
        assert foreign.exists()
