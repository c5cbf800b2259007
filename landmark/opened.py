"""A dataset opened for reading: rows, images and xarray by patch id."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from landmark.commits import read_mark
from landmark.dataset import SPLITS, Dataset
from landmark.errors import InputError
from landmark.grid import PIXELS, RESOLUTION_M
from landmark.schema import LABEL_FIELDS, ImageLayout
from landmark.shards import ShardReader, decode_scl

if TYPE_CHECKING:
    import xarray

_SENSORS = ("s1", "s2")
#: Columns of `rows` that say where a patch lies: position in `files`, row in that file.
FILE, ROW = "file", "file_row"


class OpenDataset:
    """Patches of a dataset directory; made by `landmark.dataset.open`. Thread-safe.

    Attributes:
        files: The Parquet files, in order: shards/ where they are made, else patches/.
        rows: One row per patch, all columns but the frames, and `file`, `file_row`.
    """

    def __init__(self, dataset: Dataset, sensor: str | None = None, split: str | None = None):
        if sensor is not None and sensor not in _SENSORS:
            raise InputError(f"unknown sensor {sensor!r}: s1 or s2")
        if split is not None and split not in SPLITS:
            raise InputError(f"unknown split {split!r}: {', '.join(SPLITS)}")
        self._dataset = dataset
        self.files: list[Path] = _find_files(dataset, sensor, split)
        self._readers: dict[int, ShardReader] = {}
        self._lock = threading.Lock()
        self.rows: pa.Table = self._read_rows()
        ids = self.rows["patch_id"].to_pylist()
        self._position = {patch_id: index for index, patch_id in enumerate(ids)}

    def __len__(self) -> int:
        return self.rows.num_rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._position)

    def __contains__(self, patch_id: object) -> bool:
        return patch_id in self._position

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()

    def row(self, patch_id: str) -> dict[str, Any]:
        """Return all columns of a patch but the frames.

        Raises:
            InputError: There is no such patch.
        """
        row: dict[str, Any] = self.rows.slice(self._index(patch_id), 1).to_pylist()[0]
        return row

    def layout(self, patch_id: str) -> ImageLayout:
        """Return bands, dtype, scale and nodata of a patch's image."""
        return self._locate(patch_id)[0].layout

    def image(self, patch_id: str, out: NDArray[np.generic] | None = None) -> NDArray[np.generic]:
        """Return a patch as (bands, 120, 120) of the stored dtype, coarse bands replicated.

        Sentinel-2 is uint16 reflectance x 10000 (0 = nodata), Sentinel-1 float32 dB (NaN).
        """
        reader, row = self._locate(patch_id)
        return reader.image(row, out)

    def planes(self, patch_id: str) -> list[NDArray[np.generic]]:
        """Return a patch's bands at their native sizes."""
        reader, row = self._locate(patch_id)
        return reader.planes(row)

    def scl(self, patch_id: str) -> NDArray[np.uint8] | None:
        """Return the scene classification (60, 60) of a patch, or None where it has none."""
        reader, row = self._locate(patch_id)
        frame = reader.value("scl", row)
        return None if frame is None else decode_scl(frame)

    def xarray(self, patch_id: str) -> xarray.DataArray:
        """Return a patch as an xarray with band, y and x coordinates (pixel centres, m).

        Values are as stored; attributes hold `crs` (`EPSG:32632`), `transform` (6 numbers),
        `scale` (physical value per unit), `nodata`, `datetime` and what else identifies it.
        """
        import xarray

        row = self.row(patch_id)
        layout = self.layout(patch_id)
        x_min, y_max = row["transform"][2], row["transform"][5]
        centres = (np.arange(PIXELS) + 0.5) * RESOLUTION_M
        attributes = {
            "crs": f"EPSG:{row['epsg']}",
            "transform": tuple(row["transform"]),
            "scale": layout.scale,
            "nodata": float("nan") if layout.nodata is None else layout.nodata,
            "datetime": row["datetime"].isoformat(),
            "sensor": row["sensor"],
            "platform": row["platform"],
        }
        if row.get("labels") is not None:
            attributes["labels"] = list(row["labels"])
        return xarray.DataArray(
            self.image(patch_id),
            dims=("band", "y", "x"),
            coords={"band": list(layout.bands), "y": y_max - centres, "x": x_min + centres},
            attrs=attributes,
            name=patch_id,
        )

    def _index(self, patch_id: str) -> int:
        try:
            return self._position[patch_id]
        except KeyError:
            raise InputError(f"{self._dataset.root}: holds no patch {patch_id!r}") from None

    def _locate(self, patch_id: str) -> tuple[ShardReader, int]:
        index = self._index(patch_id)
        file, row = self.rows[FILE][index].as_py(), self.rows[ROW][index].as_py()
        with self._lock:
            if file not in self._readers:
                self._readers[file] = ShardReader(self.files[file])
            return self._readers[file], row

    def _read_rows(self) -> pa.Table:
        tables = []
        for number, path in enumerate(self.files):
            with ShardReader(path) as reader:
                table = reader.table()
            labels = self._dataset.label_shard(path.stem)
            if path.parent == self._dataset.patches and read_mark(labels) is not None:
                for field in LABEL_FIELDS:
                    column = pq.read_table(labels, columns=[field.name])[field.name]
                    table = table.append_column(field, column)
            count = table.num_rows
            table = table.append_column(FILE, pa.array(np.full(count, number, np.int32)))
            table = table.append_column(ROW, pa.array(np.arange(count, dtype=np.int32)))
            tables.append(table.replace_schema_metadata(None))
        return pa.concat_tables(tables, promote_options="default")


def _find_files(dataset: Dataset, sensor: str | None, split: str | None) -> list[Path]:
    sensors = (sensor,) if sensor else _SENSORS
    splits = (split,) if split else SPLITS
    files = [path for one in sensors for part in splits for path in dataset.split_shards(one, part)]
    command = "harmonize"
    if not files and split is None:
        files = [
            path for one in sensors for path in sorted(dataset.patches.glob(f"{one}-*.parquet"))
        ]
        command = "fetch"
    files = [path for path in files if read_mark(path) is not None]
    if not files:
        dataset.require(dataset.shards if split else dataset.patches, command)
        wanted = " ".join(word for word in (sensor, split) if word)
        raise InputError(f"{dataset.root}: holds no {wanted + ' ' if wanted else ''}patches")
    return files
