"""A dataset opened for reading: rows, images, xarray and geopandas by patch id.

Opening reads the commit marks only (behind a URL: the index), so it takes no longer for a million
patches than their files take to list. Ids are read at the first look-up by id, columns file by file
where they are needed.
"""

from __future__ import annotations

import bisect
import functools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark.errors import InputError
from landmark.frame_reader import FrameReader
from landmark.grid import PIXELS, RESOLUTION_M
from landmark.opened_files import Files
from landmark.remote_files import RemotePath
from landmark.schema import ImageLayout
from landmark.shards import decode_scl

if TYPE_CHECKING:
    import geopandas
    import xarray

#: Files whose columns are kept at once.
_KEPT_FILES = 8
#: Columns of `rows` that say where a patch lies: position in `files`, row in that file.
FILE, ROW = "file", "file_row"


class OpenDataset:
    """Patches of a dataset; made by `landmark.dataset.open`. Thread-safe.

    `len(opened)`, `opened[0]` (the first patch's id), iteration over ids and `id in opened` work
    as with a list.

    Attributes:
        files: The Parquet files, in order: shards/ where they are made, else patches/.
    """

    def __init__(self, source: Files) -> None:
        self._source = source
        self.files: Sequence[Path | RemotePath] = source.files
        self._readers: dict[int, FrameReader] = {}
        self._lock = threading.Lock()
        counts = source.counts
        self._edges: list[int] = np.cumsum([0, *counts]).tolist()
        # The columns of the files looked at last: neighbours are mostly read together.
        self._columns = functools.lru_cache(maxsize=_KEPT_FILES)(self._read_columns)

    def __len__(self) -> int:
        return self._edges[-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._position)

    def __getitem__(self, index: int) -> str:
        file, row = self._split_index(index)
        patch_id: str = self._columns(file)["patch_id"][row].as_py()
        return patch_id

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
            self._source.close()

    @functools.cached_property
    def rows(self) -> pa.Table:
        """One row per patch, all columns but the frames, and `file`, `file_row`. Reads them all."""
        tables = [
            self._read_columns(number).replace_schema_metadata(None)
            for number in range(len(self.files))
        ]
        return pa.concat_tables(tables, promote_options="default")

    def row(self, patch_id: str) -> dict[str, Any]:
        """Return all columns of a patch but the frames.

        Raises:
            InputError: There is no such patch.
        """
        file, place = self._split_index(self._index(patch_id))
        row: dict[str, Any] = self._columns(file).slice(place, 1).to_pylist()[0]
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

    def to_xarray(self, patch_id: str) -> xarray.DataArray:
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

    def to_geodataframe(self, columns: Sequence[str] | None = None) -> geopandas.GeoDataFrame:
        """Return all patches with their footprints (OGC:CRS84), indexed by patch id.

        Args:
            columns: Which columns beside the footprint; None: all but the frames. Naming a few is
                much faster for large datasets.

        Raises:
            InputError: There is no such column.
        """
        import geopandas

        table = self.rows
        if columns is not None:
            unknown = [name for name in columns if name not in table.column_names]
            if unknown:
                raise InputError(
                    f"no column {unknown[0]!r}; there are {', '.join(table.column_names)}"
                )
            table = table.select(list(dict.fromkeys(["patch_id", *columns, "geometry"])))
        frame = table.to_pandas()
        footprints = geopandas.GeoSeries.from_wkb(frame.pop("geometry"), crs="OGC:CRS84")
        return geopandas.GeoDataFrame(frame, geometry=footprints).set_index("patch_id")

    def _split_index(self, index: int) -> tuple[int, int]:
        """Return file number and row in it of a position; negative ones count from the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self._source.root}: holds {len(self)} patches, not {index}")
        index %= len(self)
        file = bisect.bisect_right(self._edges, index) - 1
        return file, index - self._edges[file]

    @functools.cached_property
    def _position(self) -> dict[str, int]:
        position: dict[str, int] = {}
        for number in range(len(self.files)):
            for patch_id in self._source.ids(number):
                position[patch_id] = len(position)
        return position

    def _index(self, patch_id: str) -> int:
        try:
            return self._position[patch_id]
        except KeyError:
            raise InputError(f"{self._source.root}: holds no patch {patch_id!r}") from None

    def _locate(self, patch_id: str) -> tuple[FrameReader, int]:
        file, row = self._split_index(self._index(patch_id))
        with self._lock:
            if file not in self._readers:
                self._readers[file] = self._source.reader(file)
            return self._readers[file], row

    def _read_columns(self, number: int) -> pa.Table:
        table = self._source.columns(number)
        count = table.num_rows
        table = table.append_column(FILE, pa.array(np.full(count, number, np.int32)))
        return table.append_column(ROW, pa.array(np.arange(count, dtype=np.int32)))
