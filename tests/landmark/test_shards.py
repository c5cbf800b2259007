from __future__ import annotations

import logging
import pickle
import random
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
from hypothesis.extra import numpy as hnp

from landmark.commits import Filtered, Hole, damage, read_mark
from landmark.errors import LandmarkError
from landmark.manifest import S2_BANDS
from landmark.offsets import value_offsets
from landmark.schema import ImageLayout, layout_of, patch_schema, s1_layout, s2_layout
from landmark.shards import (
    ShardReader,
    commit_shard,
    decode_image,
    decode_planes,
    decode_scl,
    encode_image,
    encode_scl,
    frame_xxh3,
    write_shard,
)

S2 = s2_layout(S2_BANDS)
S1 = s1_layout()


def random_planes(layout: ImageLayout, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    if layout.dtype == "float32":
        return [rng.normal(-12, 3, shape).astype(np.float32) for shape in layout.shapes]
    return [rng.integers(0, 4000, shape, dtype=np.uint16) for shape in layout.shapes]


def table_of(layout: ImageLayout, rows: int, seed: int = 0) -> pa.Table:
    schema = patch_schema(layout)
    frames = [encode_image(random_planes(layout, seed + row), layout) for row in range(rows)]
    columns = {
        "patch_id": [f"patch-{row}" for row in range(rows)],
        "sensor": [layout.sensor] * rows,
        "image": frames,
        "image_nbytes": [len(frame) for frame in frames],
        "image_xxh3": [frame_xxh3(frame) for frame in frames],
        "scl": [encode_scl(np.full((60, 60), row % 12, np.uint8)) for row in range(rows)],
        "datetime": [1_600_000_000_000_000 + row for row in range(rows)],
        "lon": [8.0] * rows,
        "lat": [46.0] * rows,
        "epsg": [32632] * rows,
        "transform": [[10.0, 0, 600_000, 0, -10, 5_100_000]] * rows,
        "geometry": [b"\x01"] * rows,
    }
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return table_of(S2, 150)


@pytest.fixture
def shard(table: pa.Table, tmp_path: Path) -> Path:
    path = tmp_path / "s2-00000.parquet"
    write_shard(path, table)
    return path


# Frames


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_planes_come_back_as_they_went_in(data: st.DataObject) -> None:
    bands = data.draw(st.lists(st.sampled_from(S2_BANDS), min_size=1, max_size=12, unique=True))
    layout = data.draw(st.sampled_from([s2_layout(tuple(bands)), S1]))
    elements = (
        st.integers(0, 65535)
        if layout.dtype == "uint16"
        else st.floats(width=32, allow_nan=True, allow_infinity=True)
    )
    planes = [
        data.draw(hnp.arrays(layout.dtype, shape, elements=elements, fill=elements))
        for shape in layout.shapes
    ]
    frame = encode_image(planes, layout)
    assert frame == encode_image(planes, layout)
    for back, plane in zip(decode_planes(frame, layout), planes, strict=True):
        assert back.dtype == plane.dtype
        # Bit patterns, so that NaN counts as equal to itself.
        assert back.tobytes() == plane.tobytes()


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, (60, 60)))
def test_scene_classes_come_back(scl: np.ndarray) -> None:
    assert np.array_equal(decode_scl(encode_scl(scl)), scl)


def test_an_image_is_the_planes_repeated_to_ten_metres() -> None:
    planes = random_planes(S2, 1)
    frame = encode_image(planes, S2)
    image = decode_image(frame, S2)
    assert image.shape == (12, 120, 120)
    assert image.dtype == np.uint16
    for band, plane in zip(image, planes, strict=True):
        factor = 120 // plane.shape[0]
        slow = [[plane[y // factor, x // factor] for x in range(120)] for y in range(120)]
        assert np.array_equal(band, np.array(slow))
    assert np.array_equal(decode_image(frame, patch_schema(S2)), image)
    assert np.array_equal(decode_image(frame, patch_schema(S2).metadata), image)
    out = np.empty((12, 120, 120), np.float32)
    assert decode_image(frame, S2, out) is out
    assert np.array_equal(out, image)


def test_a_wrong_target_is_refused() -> None:
    frame = encode_image(random_planes(S2, 1), S2)
    with pytest.raises(ValueError, match="shape"):
        decode_image(frame, S2, np.empty((11, 120, 120), np.uint16))
    with pytest.raises(ValueError, match="contiguous"):
        decode_image(frame, S2, np.empty((12, 120, 240), np.uint16)[:, :, ::2])
    with pytest.raises(ValueError, match="uint8"):
        decode_image(frame, S2, np.empty((12, 120, 120), np.uint8))


def test_planes_that_do_not_fit_the_layout_are_refused() -> None:
    planes = random_planes(S2, 1)
    with pytest.raises(ValueError, match="fit"):
        encode_image(planes[:-1], S2)
    with pytest.raises(ValueError, match="uint16"):
        encode_image([plane.astype(np.int16) for plane in planes], S2)
    with pytest.raises(ValueError, match="scl"):
        encode_scl(np.zeros((120, 120), np.uint8))


@pytest.mark.parametrize("cut", [0, 5, 40, 1000, -1])
def test_a_cut_frame_is_an_error(cut: int) -> None:
    frame = encode_image(random_planes(S2, 1), S2)
    with pytest.raises(LandmarkError, match="does not hold"):
        decode_planes(frame[:cut], S2)


def test_a_frame_of_another_layout_is_an_error() -> None:
    # blosc2 itself would write past the end of a destination that is too small.
    with pytest.raises(LandmarkError, match="does not hold"):
        decode_planes(encode_image(random_planes(S2, 1), S2), s2_layout(S2_BANDS[:11]))


# Files


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
        assert all(start + length <= len(page) for start, length in zip(offsets, lengths))  # noqa: B905


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


# Other tools


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
