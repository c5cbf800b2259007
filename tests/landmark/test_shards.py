"""Shard files as this project writes and reads them."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from landmark.commits import Filtered, Hole, damage, read_mark
from landmark.errors import LandmarkError
from landmark.shards import (
    ShardReader,
    commit_shard,
    decode_image,
    write_shard,
)
from tests.landmark.made_shards import S1, S2, random_planes, table_of


def test_equal_tables_give_equal_bytes(table: pa.Table, shard: Path, tmp_path: Path) -> None:
    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 100), table.slice(107)])
    write_shard(tmp_path / "again.parquet", pieces)
    assert (tmp_path / "again.parquet").read_bytes() == shard.read_bytes()


def test_row_groups_pages_and_codecs_are_as_fixed(shard: Path) -> None:
    metadata = pq.ParquetFile(shard).metadata
    assert [metadata.row_group(i).num_rows for i in range(3)] == [64, 64, 22]
    for index in range(metadata.num_columns):
        column = metadata.row_group(0).column(index)
        if column.path_in_schema == "image":
            assert column.compression == "UNCOMPRESSED"
            assert set(column.encodings) <= {"PLAIN", "RLE"}
            assert not column.has_dictionary_page
            assert column.statistics is None
        else:
            assert column.compression == "ZSTD"
    assert metadata.row_group(0).column(0).statistics.min == "patch-0"


def test_single_images_are_read_in_place(table: pa.Table, shard: Path) -> None:
    with ShardReader(shard) as reader:
        assert reader.direct
        assert reader.rows == 150
        assert reader.layout == S2
        for row in random.Random(0).sample(range(150), 40):
            assert bytes(reader.frame(row)) == table["image"][row].as_py()
        assert np.array_equal(reader.image(99), decode_image(table["image"][99].as_py(), S2))
        assert np.array_equal(reader.planes(99)[0], random_planes(S2, 99)[0])
        names = reader.table(["patch_id"])["patch_id"].to_pylist()
        assert names == [f"patch-{row}" for row in range(150)]
        assert "image" not in reader.table().column_names
        with pytest.raises(IndexError):
            reader.frame(150)
        with pytest.raises(IndexError):
            reader.frame(-1)


def test_frames_outlive_the_reader_and_readers_pickle(table: pa.Table, shard: Path) -> None:
    with ShardReader(shard) as reader:
        frame = reader.frame(3)
        copy = pickle.loads(pickle.dumps(reader))
    assert bytes(frame) == table["image"][3].as_py()
    assert bytes(copy.frame(3)) == bytes(frame)


def test_radar_shards_work_the_same_way(tmp_path: Path) -> None:
    table = table_of(S1, 3)
    write_shard(tmp_path / "s1.parquet", table)
    with ShardReader(tmp_path / "s1.parquet") as reader:
        assert reader.direct
        assert reader.image(2).dtype == np.float32
        assert np.array_equal(reader.image(2), np.stack(random_planes(S1, 2)))


def test_an_empty_shard_opens(tmp_path: Path) -> None:
    write_shard(tmp_path / "none.parquet", table_of(S2, 0))
    with ShardReader(tmp_path / "none.parquet") as reader:
        assert reader.rows == 0
        assert reader.table().num_rows == 0


def test_a_flipped_byte_in_an_image_is_found_and_named(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    with ShardReader(shard) as reader:
        inside = int(reader._offsets[70]) + 500
    data[inside] ^= 1
    shard.write_bytes(data)
    with ShardReader(shard) as reader:
        reader.frame(69)
        with pytest.raises(LandmarkError, match=r"s2-00000\.parquet: image of row 70"):
            reader.frame(70)


def test_files_that_are_no_shards_give_one_line(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(LandmarkError, match="cannot be opened"):
        ShardReader(path)
    path.write_bytes(b"")
    with pytest.raises(LandmarkError, match="cannot be opened"):
        ShardReader(path)
    path.write_bytes(b"no parquet at all, but long enough")
    with pytest.raises(LandmarkError, match="no readable shard") as caught:
        ShardReader(path)
    assert "\n" not in str(caught.value)
    pq.write_table(table.drop_columns(["image_nbytes"]), path)
    with pytest.raises(LandmarkError, match="no readable shard"):
        ShardReader(path)


def test_a_commit_names_rows_holes_and_hash(table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "patches" / "s2-00000.parquet"
    mark = commit_shard(
        path,
        table.slice(0, 5),
        "print",
        filtered=[Filtered("a", "cloud", "0.9")],
        holes=[Hole("b", "read", "timeout", 3)],
        notes={"seconds": 1},
    )
    assert read_mark(path) == mark
    assert mark.rows == 5
    assert mark.nbytes == path.stat().st_size
    assert {"blosc2", "pyarrow", "gdal"} <= set(mark.versions)
    assert damage(path) is None
    assert sorted(p.name for p in path.parent.iterdir()) == ["s2-00000.json", "s2-00000.parquet"]
