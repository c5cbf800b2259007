"""What a run's model says of every patch, kept beside the run: vectors or class probabilities.

`runs/<name>/embeddings/<sensor>-<split>.parquet` holds a vector per patch, in shard order; for a
model of kind `classes` the vector is the twelve class probabilities, for kind `concepts` these and
then the unit vector. A file is a function of the model's weights and config and of the shards. When
the shards change, it is written again, but the model is asked only about pixels it has not seen:
vectors are taken over from the run's other files by patch and checksum of the image.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from baselines.checkpoints import LoadedRun, run_files
from baselines.documents import SENSORS, Documents
from baselines.vector_files import FACTS, VectorFile, VectorWriter, batches
from landmark.commits import CommitMark, atomic_path, hash_file, hash_json, read_mark, write_mark
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.progress import Progress, Silent
from landmark.shards import ShardReader

EMBEDDING_VERSION = 2
#: Patches per forward pass: 64 x 12 bands of 120 x 120 float32 are 44 MB.
BATCH = 64

_SHARD_COLUMNS = ("patch_id", "image_xxh3", "datetime", "lon", "lat", "events")


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
        with VectorFile(self.path) as file:
            return file.facts(["patch_id"])["patch_id"]

    def vectors(self) -> Iterator[NDArray[np.float32]]:
        """Yield (n, d) vectors in shard order, in constant memory.

        Raises:
            LandmarkError: The file is damaged.
        """
        return batches(self.path)


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
    model = _model_hash(root, loaded)
    versions = {
        name: importlib.metadata.version(name) for name in ("landmark", "numpy", "pyarrow", "torch")
    }
    files = []
    for sensor in sensors:
        shards = _committed(Dataset(root), sensor, split)
        if not shards or sensor not in loaded.bands:
            continue
        target = Embeddings(folder / f"{sensor}-{split}.parquet", sensor, tuple(shards))
        rows = sum(mark.rows for mark in shards.values())
        wanted = CommitMark(rows, 0, "", _fingerprint(model, shards), versions)
        mark = read_mark(target.path)
        if mark is None or mark.fingerprint != wanted.fingerprint:
            _write(target, loaded, model, wanted, progress or Silent())
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


def _model_hash(root: Path, loaded: LoadedRun) -> str:
    files = run_files(root, loaded.name)
    return hash_json(
        {
            "version": EMBEDDING_VERSION,
            "model": hash_file(files.model),
            "config": hash_file(files.config),
        }
    )


def _fingerprint(model: str, shards: dict[Path, CommitMark]) -> str:
    return hash_json(
        {"model": model, "shards": [[path.name, mark.xxh3] for path, mark in shards.items()]}
    )


def _write(
    target: Embeddings,
    loaded: LoadedRun,
    model: str,
    mark: CommitMark,
    progress: Progress,
) -> None:
    """Write a file whole, then `mark`, completed by what is known of the file."""
    known = _Known(target.path.parent, target.sensor, model)
    progress.start(f"Embedding {target.path.stem.replace('-', ' ')}", mark.rows)
    with atomic_path(target.path) as temporary:
        writer: VectorWriter | None = None
        for path in target.shards:
            with ShardReader(path) as reader:
                _check_bands(reader, loaded, target.sensor)
                facts = _facts(reader)
                vectors = _describe_shard(reader, facts, loaded, target.sensor, known, progress)
            writer = writer or VectorWriter(temporary, vectors.shape[1], model)
            writer.add(facts, vectors)
        if writer is not None:
            writer.close()
        nbytes, xxh3 = temporary.stat().st_size, hash_file(temporary)
    write_mark(target.path, replace(mark, nbytes=nbytes, xxh3=xxh3))
    progress.finish()


class _Known:
    """The vectors a model gave before, by patch and checksum of its image.

    Args:
        folder: Where the run's files lie.
        sensor: Which of them count.
        model: Hash of the model; files of another do not count.
    """

    def __init__(self, folder: Path, sensor: str, model: str) -> None:
        self._files: list[VectorFile] = []
        keys: list[pa.Table] = []
        for path in sorted(folder.glob(f"{sensor}-*.parquet")):
            file = self._open(path, model)
            if file is not None:
                rows = file.facts(["patch_id", "image_xxh3"])
                places = pa.array(np.arange(file.rows))
                number = pa.array(np.full(file.rows, len(self._files)))
                keys.append(rows.append_column("row", places).append_column("file", number))
                self._files.append(file)
        self._keys = pa.concat_tables(keys) if keys else None

    @staticmethod
    def _open(path: Path, model: str) -> VectorFile | None:
        if read_mark(path) is None:
            return None
        try:
            file = VectorFile(path)
        except LandmarkError:
            return None  # of an earlier form, or damaged: it is made again
        return file if file.model == model else None

    def look_up(self, facts: pa.Table) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return which rows of (patch_id, image_xxh3, ...) are known, and (k, d) their vectors."""
        if self._keys is None:
            return np.empty(0, np.intp), np.empty((0, 0), np.float32)
        asked = facts.select(["patch_id", "image_xxh3"])
        asked = asked.append_column("asked", pa.array(np.arange(facts.num_rows)))
        found = asked.join(self._keys, ["patch_id", "image_xxh3"], join_type="inner")
        # A patch that two files hold (it changed its split) is taken from either.
        _, first = np.unique(found["asked"].to_numpy(), return_index=True)
        found = found.take(pa.array(first))
        rows, numbers = found["row"].to_numpy(), found["file"].to_numpy()
        vectors = np.empty((len(first), self._files[0].width), np.float32)
        for number in np.unique(numbers):
            own = numbers == number
            vectors[own] = self._files[number].take(rows[own])
        return found["asked"].to_numpy(), vectors


def _facts(reader: ShardReader) -> pa.Table:
    """Return the rows of `FACTS` of a shard; events as `type:id`."""
    table = reader.table(_SHARD_COLUMNS).replace_schema_metadata(None)
    events = [
        sorted({f"{event['type']}:{event['id']}" for event in listed or ()})
        for listed in table["events"].to_pylist()
    ]
    place = table.schema.get_field_index("events")
    table = table.set_column(place, FACTS.field("events"), pa.array(events, pa.list_(pa.string())))
    return table.select(FACTS.names).cast(FACTS)


def _describe_shard(
    reader: ShardReader,
    facts: pa.Table,
    loaded: LoadedRun,
    sensor: str,
    known: _Known,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return (n, d) what the model says of a shard's patches."""
    places, before = known.look_up(facts)
    progress.advance(len(places))
    fresh = np.setdiff1d(np.arange(reader.rows), places)
    parts = []
    for start in range(0, len(fresh), BATCH):
        rows = fresh[start : start + BATCH]
        parts.append(describe(loaded, sensor, np.stack([reader.image(int(row)) for row in rows])))
        progress.advance(len(rows))
    if not len(places):
        return np.concatenate(parts)
    vectors = np.empty((reader.rows, before.shape[1]), np.float32)
    vectors[places] = before
    if parts:
        vectors[fresh] = np.concatenate(parts)
    return vectors


def describe(loaded: LoadedRun, sensor: str, batch: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return (n, d) what a run says of patches: vectors, class probabilities, or both.

    Args:
        loaded: The run.
        sensor: `s1` or `s2`.
        batch: (n, bands, 120, 120) as stored.
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


def _check_bands(reader: ShardReader, loaded: LoadedRun, sensor: str) -> None:
    expected = loaded.bands[sensor]
    if tuple(reader.layout.bands) != tuple(expected):
        raise InputError(
            f"{reader.path}: holds bands {', '.join(reader.layout.bands)}, but run "
            f"{loaded.name!r} was trained on {', '.join(expected)}; train a run on this dataset"
        )
