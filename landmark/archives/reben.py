"""Reader of BigEarthNet v2 (reBEN) in its published folder layout.

    FOLDER/metadata.parquet                     one row per patch: patch_id, s1_name, labels, split
    FOLDER/BigEarthNet-S2/<tile>/<patch_id>/<patch_id>_B02.tif
    FOLDER/BigEarthNet-S1/<scene>/<s1_name>/<s1_name>_VV.tif
    FOLDER/Reference_Maps/<tile>/<patch_id>/<patch_id>_reference_map.tif

`metadata.parquet` says which patches there are. A band that no looked-at patch has is the
archive's lack and an error; a file that is missing from a single patch (a partner of the other
sensor, one band) shows when it is read, and becomes a hole with its name.
"""

from __future__ import annotations

import array
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landmark.archives import bigearthnet
from landmark.archives.about import About
from landmark.archives.bigearthnet import Patch
from landmark.archives.reading import SPLIT_NAMES, ArchiveImage, Request
from landmark.errors import InputError

PROVIDER = "reben"
ABOUT = About(
    title="BigEarthNet v2 (reBEN), Sentinel-1, Sentinel-2 and reference maps",
    licence=bigearthnet.LICENCE,
    source="https://bigearth.net or https://huggingface.co/datasets/torchgeo/bigearthnet (V2)",
    size="about 168 GB unpacked (549 488 pairs of 0.31 MB, computed)",
)
_TABLE = "metadata.parquet"
_SENSORS = ("s1", "s2")
#: Rows of the table that are objects at a time.
_BLOCK = 4096

_S2_NAME = re.compile(
    r"(?P<platform>S2[ABC])_MSIL2A_(?P<time>\d{8}T\d{6})_N\d{4}_R(?P<orbit>\d{3})"
    r"_T(?P<tile>\d{2}[A-Z]{3})_(?P<column>\d{1,3})_(?P<row>\d{1,3})"
)
_S1_NAME = re.compile(
    r"(?P<platform>S1[ABC])_IW_GRDH_1SDV_(?P<time>\d{8}T\d{6})"
    r"_(?P<tile>\d{2}[A-Z]{3})_(?P<column>\d{1,3})_(?P<row>\d{1,3})"
)


def read_images(request: Request) -> Iterator[ArchiveImage]:
    """Yield every patch of the sensors asked for.

    Raises:
        InputError: There is no metadata, a name in it is malformed or comes twice, the archive
            lacks a wanted band, or no file of a listed tile exists.
    """
    yield from bigearthnet.images(request, _Listing(request), PROVIDER)


class _Listing(Sequence[Patch]):
    """The wanted patches of an archive, each made of its row of the table when it is asked for.

    A million patches as objects would be gigabytes; the table's columns are a tenth of that.
    """

    def __init__(self, request: Request) -> None:
        """Read the table and pick from it.

        Raises:
            InputError: It is missing, lists a patch twice, or holds a malformed name.
        """
        self._where = f"{request.origin}/{_TABLE}"
        self._rows = _table(request)
        self._start, self._block = -1, list[tuple[Any, ...]]()
        names = self._rows["patch_id"]
        repeated = pc.equal(names[1:], names[:-1]).index(True).as_py()
        if repeated >= 0:
            raise InputError(f"{self._where}: lists {names[repeated].as_py()!r} twice")
        # One radar patch may be the partner of several optical ones.
        radar = self._rows["s1_name"].combine_chunks().dictionary_encode().indices
        firsts = np.zeros(len(names), dtype=bool)
        firsts[np.unique(radar.to_numpy(zero_copy_only=False), return_index=True)[1]] = True
        entries = array.array("q")
        for row in range(len(names)):
            for number, sensor in enumerate(_SENSORS):
                if sensor not in request.sensors or (sensor == "s1" and not firsts[row]):
                    continue
                patch = self._patch(row, sensor)
                if request.wants(sensor, patch.name, patch.time):
                    entries.append(row * len(_SENSORS) + number)
        self._entries = np.array(entries, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        row, number = divmod(int(self._entries[index]), len(_SENSORS))
        return self._patch(row, _SENSORS[number])

    def _values(self, row: int) -> tuple[Any, ...]:
        """Return a row of the table; rows are mostly asked for one after the other."""
        start = row - row % _BLOCK
        if start != self._start:
            columns = (column.slice(start, _BLOCK).to_pylist() for column in self._rows.columns)
            self._start, self._block = start, list(zip(*columns, strict=True))
        return self._block[row - start]

    def _patch(self, row: int, sensor: str) -> Patch:
        """Return one of the two patches a row names."""
        patch_id, s1_name, labels, split = self._values(row)
        s2 = bigearthnet.match(_S2_NAME, patch_id, f"{self._where}: patch_id", "v2")
        s1 = bigearthnet.match(_S1_NAME, s1_name, f"{self._where}: s1_name", "v2")
        parts, tokens = (s1, 3) if sensor == "s1" else (s2, 2)
        tile = patch_id.rsplit("_", 2)[0]
        return Patch(
            name=parts[0],
            sensor=sensor,
            platform=parts["platform"],
            time=bigearthnet.acquired(parts),
            tile=parts["tile"],
            column=int(parts["column"]),
            row=int(parts["row"]),
            orbit=int(parts["orbit"]) if sensor == "s2" else None,
            folder=f"BigEarthNet-{sensor.upper()}/{parts[0].rsplit('_', tokens)[0]}/{parts[0]}",
            reference=f"Reference_Maps/{tile}/{patch_id}/{patch_id}_reference_map.tif",
            tags=tuple(labels or ()),
            split=SPLIT_NAMES.get(split or "", ""),
        )


def _table(request: Request) -> pa.Table:
    """Return patch_id, s1_name, labels, split of all rows, in order of patch_id."""
    if not request.files.is_file(_TABLE):
        raise InputError(
            f"{request.origin}: holds no {_TABLE}; href must name what holds it and "
            "BigEarthNet-S1, BigEarthNet-S2, Reference_Maps"
        )
    try:
        table = pq.read_table(io.BytesIO(request.files.read(_TABLE)))
        columns = {name: table[name] for name in ("patch_id", "s1_name")}
        for optional in ("labels", "split"):
            held = optional in table.column_names
            columns[optional] = table[optional] if held else pa.nulls(table.num_rows)
        order = [(name, "ascending") for name in ("patch_id", "s1_name")]
        return pa.table(columns).sort_by(order).combine_chunks()
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{request.origin}/{_TABLE}: is no table with patch_id and s1_name ({reason})"
        ) from None
