from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import vector_files
from baselines.scanning import scan
from baselines.vector_files import FACTS, Block, VectorFile, VectorWriter
from landmark.errors import LandmarkError

START = dt.datetime(2023, 5, 1, tzinfo=dt.UTC)


def facts_of(names: list[str]) -> pa.Table:
    lines = [
        {"patch_id": n, "image_xxh3": 7, "datetime": START, "lon": 1.0, "lat": 2.0, "events": []}
        for n in names
    ]
    return pa.Table.from_pylist(lines, FACTS)


def write(path: Path, names: list[str], vectors: np.ndarray, parts: int = 1) -> Path:
    writer = VectorWriter(path, vectors.shape[1], "model")
    for rows in np.array_split(np.arange(len(names)), parts):
        writer.add(facts_of([names[i] for i in rows]), vectors[rows])
    writer.close()
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_files, "BLOCK_ROWS", 7)


@pytest.mark.usefixtures("small_blocks")
def test_vectors_come_back_exactly_and_any_reader_opens_the_file(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 5), dtype=np.float32)
    names = [f"p{i}" for i in range(30)]
    path = write(tmp_path / "v.parquet", names, vectors, parts=4)
    with VectorFile(path) as file:
        assert (file.rows, file.width, file.model) == (30, 5, "model")
        assert [block.rows for block in file.blocks] == [7, 7, 7, 7, 2]
        got = np.concatenate([file.vectors(block) for block in file.blocks])
        np.testing.assert_array_equal(got, vectors)
        np.testing.assert_array_equal(file.take(np.array([29, 0, 8])), vectors[[29, 0, 8]])
        rows = np.array([1, 6])
        np.testing.assert_array_equal(file.vectors(file.blocks[1], rows), vectors[7 + rows])
    table = pq.read_table(path)
    assert table["patch_id"].to_pylist() == names
    plain = np.stack([np.frombuffer(v, "<f4") for v in table["vector"].to_pylist()])
    np.testing.assert_array_equal(plain, vectors)


@pytest.mark.usefixtures("small_blocks")
def test_how_rows_are_added_does_not_show_in_the_bytes(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 5), dtype=np.float32)
    names = [f"p{i}" for i in range(30)]
    first = write(tmp_path / "a.parquet", names, vectors, parts=1)
    second = write(tmp_path / "b.parquet", names, vectors, parts=11)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("compression", ["NONE", "ZSTD"])
def test_a_file_another_tool_rewrote_is_read_too(tmp_path: Path, compression: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 5), dtype=np.float32)
    path = write(tmp_path / "v.parquet", [f"p{i}" for i in range(30)], vectors)
    pq.write_table(pq.read_table(path), path, compression=compression, row_group_size=11)
    with VectorFile(path) as file:
        got = np.concatenate([file.vectors(block) for block in file.blocks])
        np.testing.assert_array_equal(got, vectors)


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(LandmarkError, match="is damaged"):
        VectorFile(path)
    pq.write_table(pa.table({"patch_id": ["a"]}), path)
    with pytest.raises(LandmarkError, match="is damaged"):
        VectorFile(path)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_best_are_those_of_a_full_sort(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Ties abound (values 0 to 3), files and blocks are several, any patches may be left out."""
    folder = tmp_path_factory.mktemp("scan")
    seed = data.draw(st.integers(0, 1000))
    random = np.random.default_rng(seed)
    sizes = data.draw(st.lists(st.integers(1, 25), min_size=1, max_size=3))
    top = data.draw(st.integers(1, 30))
    share = data.draw(st.sampled_from([0.1, 0.6, 1.0]))
    names = [f"{i:03d}" for i in random.permutation(sum(sizes))]
    paths, keep, lines, start = [], [], [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_files, "BLOCK_ROWS", 7)
        for number, size in enumerate(sizes):
            own = names[start : start + size]
            start += size
            values = random.integers(0, 4, size).astype(np.float32)
            paths.append(write(folder / f"{number}.parquet", own, values[:, None]))
            kept = random.uniform(size=size) < share
            keep.append(None if share == 1.0 else kept)
            lines += [
                (-float(v), name)
                for v, name, k in zip(values, own, kept, strict=True)
                if k or share == 1.0
            ]
        found = scan(paths, lambda part: part[:, 0], top, keep)
    assert [(-one.score, one.patch_id) for one in found] == sorted(lines)[:top]


@pytest.mark.usefixtures("small_blocks")
def test_a_thread_has_one_buffer_for_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (3, 9, 20, 7)
    names = iter(f"{i:02d}" for i in range(sum(sizes)))
    random = np.random.default_rng(0)
    paths = [
        write(
            tmp_path / f"{number}.parquet",
            [next(names) for _ in range(size)],
            random.standard_normal((size, 5), dtype=np.float32),
        )
        for number, size in enumerate(sizes)
    ]
    read, buffers = VectorFile.vectors, []

    def watched(file: VectorFile, block: Block, rows: None, out: np.ndarray) -> np.ndarray:
        buffers.append(out if out.base is None else out.base)
        return read(file, block, rows, out)

    monkeypatch.setattr(VectorFile, "vectors", watched)
    assert len(scan(paths, lambda part: part[:, 0], 50, [None] * 4, threads=1)) == sum(sizes)
    assert len(buffers) == 1 + 2 + 3 + 1
    assert {id(buffer) for buffer in buffers} == {id(buffers[0])}
    assert buffers[0].nbytes == 7 * 5 * 4


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.parquet", ["a"], np.full((1, 1), np.nan, np.float32))
    with pytest.raises(LandmarkError, match="NaN"):
        scan([path], lambda part: part[:, 0], 1, [None])
