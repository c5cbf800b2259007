"""What a run's model says of every patch, kept beside the run: vectors or class probabilities.

`runs/<name>/embeddings/<sensor>-<split>.parquet` holds `patch_id` and `vector`, in shard order;
for a model of kind `classes` the vector is the twelve class probabilities, for kind `concepts`
these and then the unit vector. A file is a function of the model's weights and config and of the
shards; it is made again when one of them changed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baselines.checkpoints import LoadedRun, run_files
from baselines.documents import SENSORS, Documents
from landmark.commits import CommitMark, atomic_path, hash_file, hash_json, read_mark, write_mark
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.progress import Progress, Silent
from landmark.shards import ShardReader

EMBEDDING_VERSION = 1
#: Patches per forward pass: 64 x 12 bands of 120 x 120 float32 are 44 MB.
BATCH = 64
#: Rows scored at once: 384-d float32 vectors of one step take 25 MB.
SCAN_ROWS = 16384


@dataclass(frozen=True)
class Embeddings:
    """One committed embeddings file.

    Attributes:
        path: The file.
        sensor: `s1` or `s2`.
        shards: The shard files it covers, in row order.
    """

    path: Path
    sensor: str
    shards: tuple[Path, ...]

    def patch_ids(self) -> pa.ChunkedArray:
        """Return the patch ids, in shard order."""
        return self._open().read(["patch_id"])["patch_id"]

    def vectors(self) -> Iterator[NDArray[np.float32]]:
        """Yield (up to `SCAN_ROWS`, d) vectors in shard order, in constant memory.

        Raises:
            LandmarkError: The file is damaged.
        """
        try:
            for batch in self._open().iter_batches(SCAN_ROWS, columns=["vector"]):
                column = batch.column("vector")
                width = column.type.list_size
                yield column.flatten().to_numpy().reshape(-1, width)
        except (OSError, pa.ArrowException):
            raise LandmarkError(f"{self.path} is damaged; remove it and run again") from None

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, memory_map=True, page_checksum_verification=True)


def embed(
    root: Path,
    loaded: LoadedRun,
    split: str = "corpus",
    sensors: Sequence[str] = SENSORS,
    progress: Progress | None = None,
) -> tuple[Embeddings, ...]:
    """Return a run's embeddings of a split, made first where they are missing or out of date.

    Args:
        root: Dataset directory.
        loaded: The run.
        split: `train`, `val` or `corpus`.
        sensors: Sensors wanted; one the run or the dataset lacks is left out.
        progress: Told of every patch embedded.

    Raises:
        InputError: The model was trained on other bands, or a shard is not committed.
        LandmarkError: A shard is damaged.
    """
    folder = run_files(root, loaded.name).folder / "embeddings"
    files = []
    for sensor in sensors:
        shards = _committed(Dataset(root), sensor, split)
        if not shards or sensor not in loaded.bands:
            continue
        target = Embeddings(folder / f"{sensor}-{split}.parquet", sensor, tuple(shards))
        fingerprint = _fingerprint(root, loaded, shards)
        mark = read_mark(target.path)
        if mark is None or mark.fingerprint != fingerprint:
            rows = sum(mark.rows for mark in shards.values())
            _write(target, loaded, split, rows, fingerprint, progress or Silent())
        files.append(target)
    return tuple(files)


def align(files: Sequence[Embeddings], documents: Documents) -> NDArray[np.float32]:
    """Return the (n, d) vectors of documents, in their order.

    Raises:
        LandmarkError: The files do not hold exactly these documents.
    """
    vectors = np.concatenate([batch for file in files for batch in file.vectors()])
    return vectors[order_in(files, documents)]


def order_in(files: Sequence[Embeddings], documents: Documents) -> NDArray[np.int64]:
    """Return (n,) the row of each document, counted through the files in their order.

    Raises:
        LandmarkError: The files do not hold exactly these documents.
    """
    ids = pa.chunked_array(
        [chunk for file in files for chunk in file.patch_ids().chunks], type=pa.string()
    )
    order = pc.sort_indices(ids)
    if not ids.take(order).equals(documents.table["patch_id"]):
        raise LandmarkError(
            "embeddings and shards hold different patches; remove runs/*/embeddings"
        )
    return order.to_numpy().astype(np.int64)


def _committed(dataset: Dataset, sensor: str, split: str) -> dict[Path, CommitMark]:
    """Return the shards of a sensor and split that hold rows, in order, with their marks."""
    marks = {}
    for path in dataset.split_shards(sensor, split):
        mark = read_mark(path)
        if mark is None:
            raise InputError(f"{path}: is not committed; run `landmark harmonize` again")
        if mark.rows:
            marks[path] = mark
    return marks


def _fingerprint(root: Path, loaded: LoadedRun, shards: dict[Path, CommitMark]) -> str:
    files = run_files(root, loaded.name)
    return hash_json(
        {
            "version": EMBEDDING_VERSION,
            "model": hash_file(files.model),
            "config": hash_file(files.config),
            "shards": [[path.name, mark.xxh3] for path, mark in shards.items()],
        }
    )


def _write(
    target: Embeddings,
    loaded: LoadedRun,
    split: str,
    rows: int,
    fingerprint: str,
    progress: Progress,
) -> None:
    progress.start(f"Embedding {target.sensor} {split}", rows)
    with atomic_path(target.path) as temporary:
        writer: pq.ParquetWriter | None = None
        for path in target.shards:
            with ShardReader(path) as reader:
                _check_bands(reader, loaded, target.sensor)
                table = _embed_shard(reader, loaded, target.sensor, progress)
            writer = writer or _open_writer(temporary, table.schema)
            writer.write_table(table, row_group_size=table.num_rows)
        if writer is not None:
            writer.close()
        nbytes, xxh3 = temporary.stat().st_size, hash_file(temporary)
    versions = {
        name: importlib.metadata.version(name) for name in ("landmark", "numpy", "pyarrow", "torch")
    }
    write_mark(target.path, CommitMark(rows, nbytes, xxh3, fingerprint, versions))
    progress.finish()


def _embed_shard(
    reader: ShardReader, loaded: LoadedRun, sensor: str, progress: Progress
) -> pa.Table:
    parts = []
    for start in range(0, reader.rows, BATCH):
        stop = min(start + BATCH, reader.rows)
        batch = np.stack([reader.image(row) for row in range(start, stop)])
        parts.append(outputs_of(loaded, sensor, batch))
        progress.advance(stop - start)
    vectors = np.concatenate(parts)
    item = pa.field("element", pa.float32(), nullable=False)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.reshape(-1)), type=pa.list_(item, vectors.shape[1])
    )
    schema = pa.schema(
        [
            pa.field("patch_id", pa.string(), nullable=False),
            pa.field("vector", column.type, nullable=False),
        ]
    )
    ids = reader.table(["patch_id"])["patch_id"].combine_chunks()
    return pa.Table.from_arrays([ids, column], schema=schema)


def outputs_of(loaded: LoadedRun, sensor: str, batch: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return (n, d) what a run says of patches, as embeddings files hold it.

    Args:
        loaded: The run.
        sensor: `s1` or `s2`.
        batch: (n, bands, 120, 120) as stored in shards.
    """
    if loaded.kind == "embedding":
        return loaded.model.encode_images(sensor, batch)
    if loaded.kind == "classes":
        return _probabilities(loaded.model.class_logits(sensor, batch))
    vectors, logits = loaded.model.describe_images(sensor, batch)
    assert vectors is not None
    assert logits is not None
    return np.concatenate([_probabilities(logits), vectors], axis=1)


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # sigmoid, without overflow
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))).astype(np.float32)


def _open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        schema,
        compression="NONE",  # float vectors do not compress, and plain pages are read fastest
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        version="2.6",
    )


def _check_bands(reader: ShardReader, loaded: LoadedRun, sensor: str) -> None:
    expected = loaded.bands[sensor]
    if tuple(reader.layout.bands) != tuple(expected):
        raise InputError(
            f"{reader.path}: holds bands {', '.join(reader.layout.bands)}, but run "
            f"{loaded.name!r} was trained on {', '.join(expected)}; train a run on this dataset"
        )
