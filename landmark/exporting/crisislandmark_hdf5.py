"""The published layout of CrisisLandMark: HDF5 part files behind external links.

What a patch was published with (key, array, CRS, coordinates, labels, split) is written back as it
was. Other patches get a key of their source and id, their stored values (dB; reflectance x 10000),
their labels in lower case and their own 10 m grid. `landmark.archives.crisislandmark` says what
the layout is and what of it is not documented.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.exporting.records import Record
from landmark.grid import PIXELS
from landmark.hdf5 import require_hdf5

#: Images of one source per part file.
_PART = 50_000
_MAIN = "crisislandmark.h5"
#: (provider, sensor) -> the source its keys begin with; others begin with `landmark` + sensor.
_SOURCES: dict[tuple[str, str], str] = {
    ("reben", "s1"): "benv2s1",
    ("reben", "s2"): "benv2s2",
    ("mmflood", "s1"): "mmflood",
    ("sen12flood", "s1"): "sen1flood",
    ("sen12flood", "s2"): "sen2flood",
    ("cabuar", "s2"): "cabuar",
    ("quakeset", "s1"): "quakeset",
}
_SPLITS = {"train": "train", "val": "val", "corpus": "test"}
_TAG = "crisislandmark:"
_NOMINAL = "date: nominal"


def write(records: Iterator[Record], folder: Path, dataset: Dataset) -> int:
    """Write all records; return how many.

    Raises:
        InputError: A Sentinel-2 patch lacks bands, or the extra `archives` is not installed.
    """
    require_hdf5("crisislandmark-hdf5")
    parts = _Parts(folder)
    table: dict[str, list[Any]] = {"key": [], "split": [], "labels": []}
    keys: dict[str, str] = {}
    try:
        for record in records:
            key, labels = _key(record), _labels(record)
            parts.add(key, record, labels)
            keys[record.patch_id] = key
            table["key"].append(key)
            table["split"].append(_SPLITS[record.row["split"]])
            table["labels"].append(labels)
    finally:
        parts.close()
    parts.link()
    schema = pa.schema(
        [("key", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    )
    pq.write_table(pa.table(table, schema=schema), folder / "metadata.parquet")
    _write_queries(folder, dataset, keys)
    return len(keys)


class _Parts:
    """The part files of all sources: one open file a source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._places: list[tuple[str, str]] = []

    def add(self, key: str, record: Record, labels: list[str]) -> None:
        """Write one image under its key."""
        import h5py
        import hdf5plugin

        source = key.partition("/")[0]
        count = self._counts.get(source, 0)
        name = f"{source}_part{count // _PART + 1}.h5"
        if count % _PART == 0:
            if source in self._open:
                self._open[source].close()
            self._open[source] = h5py.File(self._folder / name, "w")
        self._counts[source] = count + 1
        group = self._open[source].create_group(key)
        options = {"chunks": True, "shuffle": True, **hdf5plugin.Zstd(clevel=3)}
        for member, values in (("image", _image(record)), ("coords", _coords(record))):
            group.create_dataset(member, data=values, **{**options, "chunks": values.shape})
        group.attrs["crs"] = np.array([_epsg(record)], np.float32)
        group.attrs["labels"] = np.array(labels, dtype=h5py.string_dtype())
        notes = record.row["provenance"]["notes"] or []
        if not any(note.startswith(_NOMINAL) for note in notes):
            seconds = record.row["datetime"].timestamp()
            group.attrs["timestamp"] = np.array([seconds], np.float32)
        self._places.append((key, name))

    def close(self) -> None:
        """Close all files."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def link(self) -> None:
        """Write the main file: a link for every key."""
        import h5py

        with h5py.File(self._folder / _MAIN, "w") as main:
            for key, name in self._places:
                main[key] = h5py.ExternalLink(name, f"/{key}")


def _key(record: Record) -> str:
    if record.scene is not None:
        return record.scene.item
    provider = str(record.row["provenance"]["provider"])
    source = _SOURCES.get((provider, record.sensor), f"landmark{record.sensor}")
    return f"{source}/{record.patch_id}"


def _labels(record: Record) -> list[str]:
    if record.scene is not None:
        return list(record.scene.tags)
    return [name.lower() for name in record.row["labels"]]


def _image(record: Record) -> NDArray[np.float32]:
    array = record.published_array()
    if record.sensor == "s2" and len(array) != 12:
        raise InputError(
            f"{record.patch_id}: has {len(array)} bands; the published layout needs all 12"
        )
    return array


def _epsg(record: Record) -> int:
    grid = None if record.scene is None else record.scene.grid
    return int(record.row["epsg"]) if grid is None else grid.epsg


def _coords(record: Record) -> NDArray[np.float32]:
    """Return x and y of the pixel centres, (2, 120, 120) float32."""
    grid = None if record.scene is None else record.scene.grid
    a, _, c, _, e, f = record.row["transform"] if grid is None else grid.transform
    centres = np.arange(PIXELS) + 0.5
    x, y = np.meshgrid(c + a * centres, f + e * centres)
    return np.stack([x, y]).astype(np.float32)


def _write_queries(folder: Path, dataset: Dataset, keys: dict[str, str]) -> None:
    """Write queries, and relevance of the patches that were written."""
    if not dataset.queries.is_file():
        return
    names = []
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as stream:
        for line in dataset.queries.read_text(encoding="utf-8").splitlines():
            raw = json.loads(line)
            names.append(raw["id"])
            stream.write(json.dumps({"id": raw["id"], "query": raw["text"]}) + "\n")
    source = dataset.qrels / "published.tsv"
    if not source.is_file():
        source = dataset.qrels / "graded.tsv"
    if not source.is_file():
        return
    lines: dict[str, list[str]] = {name: [] for name in names}
    for line in source.read_text(encoding="utf-8").splitlines():
        query, _, patch_id, grade = line.split("\t")
        if patch_id in keys:
            lines[query].append(f"{keys[patch_id]}\t{grade}\n")
    (folder / "qrels").mkdir()
    for name, judged in lines.items():
        text = "key\trelevance\n" + "".join(judged)
        (folder / "qrels" / f"{name}.tsv").write_text(text, encoding="utf-8")
