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

import io
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from landmark.archives import bigearthnet
from landmark.archives.about import About
from landmark.archives.bigearthnet import Patch
from landmark.archives.reading import SPLIT_NAMES, ArchiveImage, Request, refuse_repeats
from landmark.errors import InputError

PROVIDER = "reben"
ABOUT = About(
    title="BigEarthNet v2 (reBEN), Sentinel-1, Sentinel-2 and reference maps",
    licence=bigearthnet.LICENCE,
    source="https://bigearth.net or https://huggingface.co/datasets/torchgeo/bigearthnet (V2)",
    size="about 168 GB unpacked (549 488 pairs of 0.31 MB, computed)",
)
_TABLE = "metadata.parquet"

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
    patches = [p for p in _listed(request) if request.wants(p.sensor, p.name, p.time)]
    yield from bigearthnet.images(request, patches, PROVIDER)


def _listed(request: Request) -> Iterator[Patch]:
    rows = _table(request)
    refuse_repeats((row[0] for row in rows), f"{request.origin}/{_TABLE}")
    radar: set[str] = set()
    for patch_id, s1_name, labels, split in rows:
        tile = str(patch_id).rsplit("_", 2)[0]
        reference = f"Reference_Maps/{tile}/{patch_id}/{patch_id}_reference_map.tif"
        where = f"{request.origin}/{_TABLE}:"
        s2 = bigearthnet.match(_S2_NAME, patch_id, f"{where} patch_id", "v2")
        s1 = bigearthnet.match(_S1_NAME, s1_name, f"{where} s1_name", "v2")
        for sensor, parts, tokens in (("s1", s1, 3), ("s2", s2, 2)):
            # One radar patch may be the partner of several optical ones.
            if sensor not in request.sensors or (sensor == "s1" and parts[0] in radar):
                continue
            if sensor == "s1":
                radar.add(parts[0])
            yield Patch(
                name=parts[0],
                sensor=sensor,
                platform=parts["platform"],
                time=bigearthnet.acquired(parts),
                tile=parts["tile"],
                column=int(parts["column"]),
                row=int(parts["row"]),
                orbit=int(parts["orbit"]) if sensor == "s2" else None,
                folder=(
                    f"BigEarthNet-{sensor.upper()}/{parts[0].rsplit('_', tokens)[0]}/{parts[0]}"
                ),
                reference=reference,
                tags=tuple(labels or ()),
                split=SPLIT_NAMES.get(split or "", ""),
            )


def _table(request: Request) -> list[tuple[str, str, list[str] | None, str | None]]:
    """Return (patch_id, s1_name, labels, split) of all rows, in order of patch_id."""
    if not request.files.is_file(_TABLE):
        raise InputError(
            f"{request.origin}: holds no {_TABLE}; href must name what holds it and "
            "BigEarthNet-S1, BigEarthNet-S2, Reference_Maps"
        )
    try:
        table = pq.read_table(io.BytesIO(request.files.read(_TABLE)))
        names = [table["patch_id"].to_pylist(), table["s1_name"].to_pylist()]
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{request.origin}/{_TABLE}: is no table with patch_id and s1_name ({reason})"
        ) from None
    for optional in ("labels", "split"):
        held = optional in table.column_names
        names.append(table[optional].to_pylist() if held else [None] * table.num_rows)
    return sorted(zip(*names, strict=True), key=lambda row: (str(row[0]), str(row[1])))
