"""The patches of the recipe study: small images, labels, events and places, kept as plain arrays.

Two corpora are made of it: a dataset directory (the sandbox demo), cut to its centre, and the 90
real reBEN pairs, cut into tiles. Either is decoded once; training then reads arrays, so that the
CPU time of a row is that of its recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baselines.documents import EventFlags, event_flags, read_documents
from baselines.loader import open_split
from baselines.queries import Query, read_queries
from baselines.sampling import draws
from baselines.scaling import SensorInput, Statistics
from landmark.commits import write_atomic
from landmark.dataset import Dataset
from landmark.taxonomy import bit

SENSORS = ("s1", "s2")
SPLITS = ("train", "val", "corpus")
#: Share of the training scenes that a seed sees.
SEEN = 0.8
#: Shares of the groups of a corpus that each seed splits anew.
RESPLIT = (0.55, 0.15)

_STATISTICS_PATCHES = 256
_FIELDS = (
    *("patch_id", "split", "label_mask", "known_mask", "fractions", "caption", "scene", "block"),
    *("partner", "unseen"),
)


@dataclass(frozen=True)
class Patches:
    """One sensor's patches, in order of patch_id.

    Attributes:
        patch_id: (n,) text.
        split: (n,) `train`, `val` or `corpus`; empty where every seed splits anew.
        label_mask: (n,) uint16.
        known_mask: (n,) uint16.
        fractions: (n, 12) float32 shares, NaN without an area measure.
        caption: (n,) text.
        scene: (n,) what seeds draw from.
        block: (n,) what intervals are resampled over, and what is split.
        partner: (n,) row of the paired patch of the other sensor, or -1.
        unseen: (n,) uint16, crisis classes that come from events no training patch lists.
        images: (n, bands, side, side) float16, standardised, 0 without data.
        features: (n, f) float32 of the frozen trunk.
    """

    patch_id: NDArray[np.str_]
    split: NDArray[np.str_]
    label_mask: NDArray[np.uint16]
    known_mask: NDArray[np.uint16]
    fractions: NDArray[np.float32]
    caption: NDArray[np.str_]
    scene: NDArray[np.str_]
    block: NDArray[np.str_]
    partner: NDArray[np.intp]
    unseen: NDArray[np.uint16]
    images: NDArray[np.float16]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.patch_id)

    @cached_property
    def captions(self) -> list[str]:
        """Unique captions, sorted."""
        return [str(text) for text in np.unique(self.caption)]

    @cached_property
    def caption_id(self) -> NDArray[np.intp]:
        """(n,) index into `captions`."""
        return np.unique(self.caption, return_inverse=True)[1]


@dataclass(frozen=True)
class Corpus:
    """What a study is made on.

    Attributes:
        name: `sandbox` or `real`.
        sensors: Sensor -> its patches.
        queries: Asked of val and corpus alike.
    """

    name: str
    sensors: Mapping[str, Patches]
    queries: tuple[Query, ...]

    def rows(self, split: str, seed: int) -> dict[str, NDArray[np.intp]]:
        """Return sensor -> rows of a split as a seed sees it.

        Where the patches have splits, a seed trains on a drawn share of the training scenes; else
        it draws which groups of patches are train, val and corpus.
        """
        whole = np.concatenate([own.split for own in self.sensors.values()])
        if (whole == "").all():
            groups = np.unique(np.concatenate([own.block for own in self.sensors.values()]))
            held = _dealt(groups, seed)[split]
            return {s: np.flatnonzero(np.isin(own.block, held)) for s, own in self.sensors.items()}
        rows = {s: np.flatnonzero(own.split == split) for s, own in self.sensors.items()}
        if split != "train":
            return rows
        scenes = np.unique(np.concatenate([self.sensors[s].scene[own] for s, own in rows.items()]))
        drawn = draws(seed, "scenes").permutation(scenes)[: round(SEEN * len(scenes))]
        return {s: own[np.isin(self.sensors[s].scene[own], drawn)] for s, own in rows.items()}


def _dealt(groups: NDArray[np.str_], seed: int) -> dict[str, NDArray[np.str_]]:
    order = draws(seed, "groups").permutation(groups)
    ends = np.cumsum([round(share * len(groups)) for share in RESPLIT])
    return dict(zip(SPLITS, np.split(order, ends), strict=True))


def prepare_dataset(root: Path, folder: Path, side: int) -> None:
    """Cut the centre of every patch of a dataset and write it as arrays; once.

    Args:
        root: Dataset directory with shards.
        folder: Where the arrays go.
        side: Pixels per side kept.
    """
    if (folder / "done").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    dataset = Dataset(root)
    train = read_documents(dataset, "train")
    index = pq.read_table(dataset.shards / "index.parquet", columns=["patch_id", "scene", "block"])
    parts = []
    for split in SPLITS:
        documents = read_documents(dataset, split, ("fractions", "caption", "pair_id"))
        flags = event_flags(documents, train)
        columns = documents.table.drop_columns(["events"])
        columns = columns.append_column("split", pa.array([split] * len(documents)))
        parts.append(columns.append_column("unseen", pa.array(_unseen(flags, len(documents)))))
    table = pa.concat_tables(parts).sort_by("patch_id")
    # Acero joins no lists, so the index is put beside by position.
    found = pc.index_in(table["patch_id"], index["patch_id"])
    for name in ("scene", "block"):
        table = table.append_column(name, index[name].take(found))
    tables = {s: table.filter(pc.equal(table["sensor"], s)) for s in SENSORS}
    for sensor, other in (SENSORS, SENSORS[::-1]):
        place = {name: row for row, name in enumerate(tables[other]["patch_id"].to_pylist())}
        partner = [place.get(name, -1) for name in tables[sensor]["pair_id"].to_pylist()]
        images = _crops(root, sensor, tables[sensor]["patch_id"].to_pylist(), side)
        write_patches(folder, sensor, _columns(tables[sensor], partner), images)
    write_atomic(folder / "done", "")


def _unseen(flags: Mapping[str, EventFlags], count: int) -> NDArray[np.uint16]:
    mask = np.zeros(count, np.uint16)
    for name, own in flags.items():
        mask |= np.where(own.unseen, bit(name), 0).astype(np.uint16)
    return mask


def _columns(table: pa.Table, partner: Sequence[int]) -> dict[str, NDArray[np.generic]]:
    texts = ("patch_id", "split", "caption", "scene", "block")
    columns = {name: np.array(table[name].to_pylist(), dtype=np.str_) for name in texts}
    masks = {
        name: table[name].to_numpy().astype(np.uint16)
        for name in ("label_mask", "known_mask", "unseen")
    }
    fractions = np.array(table["fractions"].to_pylist(), dtype=np.float32)
    return columns | masks | {"fractions": fractions, "partner": np.array(partner, np.intp)}


def _crops(root: Path, sensor: str, wanted: Sequence[str], side: int) -> NDArray[np.float16]:
    place = {name: row for row, name in enumerate(wanted)}
    images: NDArray[np.float16] | None = None
    expected: SensorInput | None = None
    for name in SPLITS:
        split = open_split(root, sensor, name)
        if split is None:
            continue
        with split:
            if expected is None:
                statistics = Statistics(split.layout)
                for row in draws(0, sensor).choice(len(split), _STATISTICS_PATCHES):
                    statistics.add(split.image(int(row)))
                expected = statistics.result()
            if images is None:
                images = np.zeros((len(wanted), len(split.layout.bands), side, side), np.float16)
            for batch in split.batches():
                rows = [place[name] for name in split.patch_id.take(batch.rows).to_pylist()]
                first = (batch.images.shape[-1] - side) // 2
                cut = batch.images[..., first : first + side, first : first + side]
                images[rows] = standardised(cut, expected)
    assert images is not None
    return images


def standardised(stored: NDArray[np.generic], expected: SensorInput) -> NDArray[np.float16]:
    """Return (n, bands, side, side) of mean 0 and spread 1 from stored pixels; 0 without data."""
    values = stored.astype(np.float32)
    valid = np.isfinite(values) if expected.nodata is None else values != expected.nodata
    shape = (1, -1, 1, 1)
    mean = np.array(expected.mean, np.float32).reshape(shape)
    spread = np.array(expected.std, np.float32).reshape(shape)
    scaled = (np.where(valid, values, 0) * np.float32(expected.scale) - mean) / spread
    return np.where(valid, scaled, 0).astype(np.float16)


def write_patches(
    folder: Path,
    sensor: str,
    columns: Mapping[str, NDArray[np.generic]],
    images: NDArray[np.float16],
) -> None:
    """Write one sensor's patches; the frozen trunk describes them on the way."""
    from benchmarks.recipes_trunk import describe

    np.save(folder / f"{sensor}-images.npy", images)
    np.save(folder / f"{sensor}-features.npy", describe(images))
    arrays = {name: columns[name] for name in _FIELDS}
    with (folder / f"{sensor}.npz").open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def open_patches(folder: Path, sensor: str) -> Patches:
    """Return one sensor's patches, images mapped from disk."""
    with np.load(folder / f"{sensor}.npz", allow_pickle=False) as held:
        columns = {name: held[name] for name in _FIELDS}
    images = np.load(folder / f"{sensor}-images.npy", mmap_mode="r")
    return Patches(**columns, images=images, features=np.load(folder / f"{sensor}-features.npy"))


def open_dataset_corpus(root: Path, folder: Path) -> Corpus:
    """Return the corpus `prepare_dataset` wrote, with the dataset's queries."""
    sensors = {sensor: open_patches(folder, sensor) for sensor in SENSORS}
    return Corpus("sandbox", sensors, read_queries(Dataset(root)))
