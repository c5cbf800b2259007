"""Shards and other tools: files they rewrote, and how they read ours."""

from __future__ import annotations

import logging
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landmark.offsets import value_offsets
from landmark.schema import layout_of, patch_schema
from landmark.shards import (
    ShardReader,
    decode_image,
)
from tests.landmark.made_shards import S2

nullable = patch_schema(S2).set(7, pa.field("image", pa.binary()))
REWRITES = {
    # settings of the foreign writer, and whether single values can still be found in the file
    "snappy": ({"compression": "snappy"}, False),
    "dictionary": ({"compression": "none", "use_dictionary": True}, False),
    "delta-length": (
        {
            "compression": "none",
            "use_dictionary": False,
            "column_encoding": {"image": "DELTA_LENGTH_BYTE_ARRAY"},
        },
        False,
    ),
    "zstd-v2": (
        {"compression": "zstd", "use_dictionary": False, "data_page_version": "2.0"},
        False,
    ),
    "small-pages": (
        {
            "compression": "none",
            "use_dictionary": False,
            "data_page_size": 4096,
            "write_batch_size": 1,
        },
        True,
    ),
    "page-v2": ({"compression": "none", "use_dictionary": False, "data_page_version": "2.0"}, True),
    "nullable": ({"compression": "none", "use_dictionary": False}, True),
    "checksummed": (
        {"compression": "none", "use_dictionary": False, "write_page_checksum": True},
        True,
    ),
}


@pytest.mark.parametrize("name", REWRITES)
def test_files_other_tools_rewrote_give_the_same_images(
    name: str, table: pa.Table, tmp_path: Path
) -> None:
    options, direct = REWRITES[name]
    rewritten = table.cast(nullable) if name == "nullable" else table
    path = tmp_path / "foreign.parquet"
    pq.write_table(rewritten, path, row_group_size=37, **options)
    with ShardReader(path) as reader:
        assert reader.direct is direct
        for row in (0, 36, 37, 80, 149, 1):
            assert bytes(reader.frame(row)) == table["image"][row].as_py()
        with ThreadPoolExecutor(4) as pool:
            frames = list(pool.map(lambda row: bytes(reader.frame(row)), range(0, 150, 11)))
        assert frames == table["image"].take(list(range(0, 150, 11))).to_pylist()


def test_a_rewritten_file_is_told_of_once_and_only_to_who_looks_closely(
    table: pa.Table, shard: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "landmark")
    path = tmp_path / "foreign.parquet"
    pq.write_table(table, path, row_group_size=37, compression="zstd")
    for place, told in ((shard, 0), (path, 1)):
        caplog.clear()
        with ShardReader(place) as reader:
            for row in range(0, 150, 7):
                reader.frame(row)
        assert len(caplog.records) == told
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert "foreign.parquet was rewritten by another tool" in record.getMessage()


@settings(max_examples=200, deadline=None)
@given(page=st.binary(max_size=80), lengths=st.lists(st.integers(0, 20), max_size=6))
def test_arbitrary_page_bytes_never_crash_the_offset_finder(
    page: bytes, lengths: list[int]
) -> None:
    column = SimpleNamespace(
        compression="UNCOMPRESSED",
        has_dictionary_page=False,
        physical_type="BYTE_ARRAY",
        num_values=len(lengths),
        data_page_offset=0,
        total_compressed_size=len(page),
    )
    known = np.array(lengths, np.uint32)
    offsets = value_offsets(page, column, known)
    if offsets is not None:
        ends = [start + length for start, length in zip(offsets, lengths, strict=True)]
        assert all(end <= len(page) for end in ends)


def test_lengths_that_lie_give_no_offsets(shard: Path) -> None:
    data = shard.read_bytes()
    group = pq.ParquetFile(shard).metadata.row_group(0)
    column = group.column(7)
    with ShardReader(shard) as reader:
        lengths = reader._lengths[:64].copy()
        assert np.array_equal(value_offsets(data, column, lengths), reader._offsets[:64])
    for start, length in zip(value_offsets(data, column, lengths), lengths, strict=True):
        assert struct.unpack_from("<I", data, start - 4)[0] == length
    lengths[0] += 1
    assert value_offsets(data, column, lengths) is None
    assert value_offsets(data, column, lengths[:63]) is None


def test_duckdb_reads_a_shard(table: pa.Table, shard: Path) -> None:
    with duckdb.connect() as connection:
        row = connection.execute(
            "select image from read_parquet(?) where patch_id = 'patch-77'", [str(shard)]
        ).fetchone()
    assert row is not None
    assert row[0] == table["image"][77].as_py()


def test_huggingface_datasets_reads_a_shard(
    table: pa.Table, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(shard), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.num_rows == 150
    assert loaded[77]["image"] == table["image"][77].as_py()
    # The rest of the recipe in docs/reading.md: the layout is read from the file beside it.
    layout = layout_of(pq.read_schema(shard).metadata)
    image = decode_image(loaded[77]["image"], layout)
    assert np.array_equal(image, decode_image(table["image"][77].as_py(), S2))


def test_the_layout_is_in_the_file_for_any_reader(shard: Path) -> None:
    schema = pq.read_schema(shard)
    frame = pq.read_table(shard, columns=["image"])["image"][0].as_py()
    assert decode_image(frame, schema).shape == (12, 120, 120)
