"""A shard of Sentinel-2 patches, for the tests of shards and of other tools that read them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from landmark.shards import write_shard
from tests.landmark.made_shards import S2, table_of


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return table_of(S2, 150)


@pytest.fixture
def shard(table: pa.Table, tmp_path: Path) -> Path:
    path = tmp_path / "s2-00000.parquet"
    write_shard(path, table)
    return path
