"""Makes a folder of shards into what a dataset behind a URL needs: an index and a seal."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from landmark.dataset import SPLITS, Dataset
from landmark.loose_files import write_seal
from landmark.shards import ShardReader

_COLUMNS = ("patch_id", "sensor", "split", "label_mask", "known_mask", "caption", "pair_id")


def index_shards(root: Path) -> Path:
    """Write shards/index.parquet (as far as readers look at it) and its seal."""
    dataset = Dataset(root)
    tables = []
    for sensor in ("s2", "s1"):
        for split in SPLITS:
            for path in dataset.split_shards(sensor, split):
                with ShardReader(path) as reader:
                    table = reader.table(_COLUMNS)
                name = path.relative_to(root).as_posix()
                table = table.append_column("shard_file", pa.array([name] * table.num_rows))
                places = pa.array(range(table.num_rows), pa.int32())
                tables.append(table.append_column("shard_row", places))
    pq.write_table(pa.concat_tables(tables).replace_schema_metadata(None), dataset.index)
    write_seal(dataset.shards, ["index.parquet"])
    return root
