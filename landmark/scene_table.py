"""The scenes of a plan as columns, their full text on disk.

An archive of half a million patches is as many scenes, each some kilobytes as an object. What
choices are made by stays in memory, in columns; the text that a plan's row carries waits in a
temporary file until the row is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from landmark.choosing import Choice
from landmark.scenes import Scene

#: Scenes whose columns are built at once.
_CHUNK = 4096
#: What a plan's row says of its scene, by the plan's names, and what the choices go by.
_SCHEMA = pa.schema(
    [
        ("sensor", pa.string()),
        ("platform", pa.string()),
        ("datetime", pa.timestamp("us", tz="UTC")),
        ("mgrs", pa.string()),
        ("orbit_state", pa.string()),
        ("relative_orbit", pa.int32()),
        ("polarisations", pa.string()),
        ("cloud", pa.float64()),
        ("baseline", pa.string()),
        ("offset", pa.int32()),
        ("offset_evidence", pa.string()),
        ("item", pa.string()),
        ("collection", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("variant", pa.string()),
        ("ending", pa.string()),
        ("centre_lon", pa.float64()),
        ("centre_lat", pa.float64()),
        ("text_at", pa.int64()),
        ("text_bytes", pa.int32()),
    ]
)
_OF_SCENE = tuple(name for name in _SCHEMA.names if name in Scene.__dataclass_fields__)


@dataclass(frozen=True)
class SceneTable:
    """The scenes of a plan in plan order; arrays with one entry a scene.

    Attributes:
        columns: What rows say of their scenes.
        sensor: 0 for `s1`, 1 for `s2`.
        platform: Number of the platform (and variant).
        time_s: Acquisition, seconds since 1970.
        rank: Position by item id.
        lon: Centre of the footprint, degrees (NaN where there is none).
        lat: Centre of the footprint, degrees.
        text_bytes: Length of each scene's text.
    """

    columns: pa.Table
    sensor: NDArray[np.int64]
    platform: NDArray[np.int64]
    time_s: NDArray[np.int64]
    rank: NDArray[np.int64]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    text_bytes: NDArray[np.int32]
    _texts: IO[bytes]

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    def choices(self) -> Iterator[tuple[str, str]]:
        """Yield status and reason of each scene, `keep` and "" where no rule rejects it."""
        for batch in self.columns.select(["status", "reason"]).to_batches(_CHUNK):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def texts(self, start: int, stop: int) -> pa.StringArray:
        """Return the canonical JSON of the scenes start..stop, read from disk."""
        places = self.columns.slice(start, stop - start).select(["text_at", "text_bytes"])
        pairs = zip(*(column.to_pylist() for column in places.columns), strict=True)
        found = [os.pread(self._texts.fileno(), size, at) for at, size in pairs]
        return pa.array(found, pa.binary()).cast(pa.string())


class SceneTableBuilder:
    """Takes scenes one by one, in any order, and keeps nothing of them but columns."""

    def __init__(self, texts: IO[bytes]) -> None:
        """Take the file that is to hold the texts, empty, open for writing and reading."""
        self._texts = texts
        self._written = 0
        self._rows: list[dict[str, Any]] = []
        self._parts: list[pa.RecordBatch] = []

    def add(self, choice: Choice) -> None:
        """Take the next scene."""
        text = choice.scene.to_json().encode()
        self._texts.write(text)
        self._rows.append(_row(choice) | {"text_at": self._written, "text_bytes": len(text)})
        self._written += len(text)
        if len(self._rows) == _CHUNK:
            self._flush()

    def table(self) -> tuple[SceneTable, NDArray[np.int64]]:
        """Return all scenes ordered by sensor, time and item, and the order they then have.

        Scenes that are equal in all three stay in the order they were added.
        """
        self._flush()
        self._texts.flush()
        added = pa.Table.from_batches(self._parts, _SCHEMA)
        self._parts = []
        keys = [(name, "ascending") for name in ("sensor", "datetime", "item")]
        order = pc.sort_indices(added, keys).to_numpy()
        columns = added.take(order).combine_chunks()
        del added
        by_item = pc.sort_indices(columns, [("item", "ascending")]).to_numpy()
        rank = np.empty(len(by_item), dtype=np.int64)
        rank[by_item] = np.arange(len(by_item))
        platforms = pc.binary_join_element_wise(
            *(columns[name] for name in ("sensor", "platform", "variant")), " "
        )
        table = SceneTable(
            columns=columns,
            sensor=pc.equal(columns["sensor"], "s2").to_numpy().astype(np.int64),
            platform=_numbers(platforms),
            time_s=columns["datetime"].to_numpy().astype("datetime64[s]").astype(np.int64),
            rank=rank,
            lon=columns["centre_lon"].to_numpy(),
            lat=columns["centre_lat"].to_numpy(),
            text_bytes=columns["text_bytes"].to_numpy(),
            _texts=self._texts,
        )
        return table, order

    def _flush(self) -> None:
        self._parts.append(pa.RecordBatch.from_pylist(self._rows, _SCHEMA))
        self._rows = []


def _row(choice: Choice) -> dict[str, Any]:
    scene = choice.scene
    lon = lat = float("nan")
    if scene.footprint is not None:
        lon, lat = shapely.from_wkt(scene.footprint).centroid.coords[0]
    time = scene.time.replace("-", "").replace(":", "").rstrip("Z")
    variant = f"_{choice.variant}" if choice.variant else ""
    return {name: getattr(scene, name) for name in _OF_SCENE} | {
        "datetime": scene.datetime,
        "polarisations": ",".join(scene.polarisations),
        "status": choice.status,
        "reason": choice.reason,
        "variant": choice.variant,
        "ending": f"{scene.sensor}_{scene.platform}_{time}{variant}",
        "centre_lon": lon,
        "centre_lat": lat,
    }


def _numbers(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return a number for each text, equal for equal ones."""
    numbers: NDArray[np.int64] = (
        texts.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    )
    return numbers
