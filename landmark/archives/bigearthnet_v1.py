"""Reader of BigEarthNet v1 in its published folder layout.

    FOLDER/BigEarthNet-v1.0/<patch>/<patch>_B02.tif, <patch>_labels_metadata.json
    FOLDER/BigEarthNet-S1-v1.0/<s1 patch>/<s1 patch>_VV.tif, <s1 patch>_labels_metadata.json

The folders are the list. Each patch's JSON states its corner, CRS and CORINE labels (43 classes,
of the image as a whole); one without a JSON takes its place from a band's header and has no
labels. Either sensor's folder may be missing, or the archive may be the sensor's folder itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pyproj

from landmark.archives import bigearthnet
from landmark.archives.about import About
from landmark.archives.bigearthnet import Patch
from landmark.archives.reading import ArchiveImage, Request, read_json
from landmark.errors import InputError
from landmark.pixels import read_header

PROVIDER = "bigearthnet-v1"
ABOUT = About(
    title="BigEarthNet v1, Sentinel-2 and Sentinel-1",
    licence=bigearthnet.LICENCE,
    source="https://bigearth.net",
    size="about 162 GB unpacked (590 326 pairs of 0.27 MB, computed)",
)
_FOLDERS = {"s1": "BigEarthNet-S1-v1.0", "s2": "BigEarthNet-v1.0"}
_NAMES = {
    "s2": re.compile(
        r"(?P<platform>S2[ABC])_MSIL2A_(?P<time>\d{8}T\d{6})_(?P<column>\d{1,3})_(?P<row>\d{1,3})"
    ),
    "s1": re.compile(
        r"(?P<platform>S1[ABC])_IW_GRDH_1SDV_(?P<time>\d{8}T\d{6})"
        r"_(?P<tile>\d{2}[A-Z]{3})_(?P<column>\d{1,3})_(?P<row>\d{1,3})"
    ),
}


def read_images(request: Request) -> Iterator[ArchiveImage]:
    """Yield every patch of the sensors asked for.

    Raises:
        InputError: There is no folder of patches, a folder is called otherwise, or a JSON states
            no place.
    """
    patches = [patch for sensor in request.sensors for patch in _listed(request, sensor)]
    if not patches:
        folders = " or ".join(_FOLDERS[sensor] for sensor in request.sensors)
        raise InputError(f"{request.origin}: holds no {folders} with patches that were asked for")
    yield from bigearthnet.images(request, patches, PROVIDER)


def _listed(request: Request, sensor: str) -> Iterator[Patch]:
    files, parent = request.files, _FOLDERS[sensor]
    names = files.names(parent)
    if not names and any(_NAMES[sensor].fullmatch(name) for name in files.names()):
        names, parent = files.names(), ""
    projections: dict[str, int] = {}
    for name in names:
        folder = f"{parent}/{name}" if parent else name
        if "." in name:  # loose files beside the patches
            continue
        parts = bigearthnet.match(_NAMES[sensor], name, f"{request.origin}/{parent}:", "v1")
        time = bigearthnet.acquired(parts)
        if not request.wants(sensor, name, time):
            continue
        table = f"{folder}/{name}_labels_metadata.json"
        stated: dict[str, Any] = {}
        if files.is_file(table):
            stated = read_json(files, table)
        corner = _corner(request, sensor, folder, name, stated, projections)
        if corner is None:
            request.note(f"{request.origin}: {name} has neither JSON nor band; it is left out")
            continue
        yield Patch(
            name=name,
            sensor=sensor,
            platform=parts["platform"],
            time=time,
            tile=parts["tile"] if sensor == "s1" else "",
            column=int(parts["column"]),
            row=int(parts["row"]),
            orbit=None,
            folder=folder,
            tags=tuple(str(label) for label in stated.get("labels", ())),
            corner=corner,
        )


def _corner(
    request: Request,
    sensor: str,
    folder: str,
    name: str,
    stated: dict[str, Any],
    projections: dict[str, int],
) -> tuple[int, float, float] | None:
    """Return EPSG code, x and y of the upper-left corner: as stated, or from a band's header."""
    if "coordinates" in stated and "projection" in stated:
        text = str(stated["projection"])
        try:
            if text not in projections:
                found = pyproj.CRS.from_user_input(text).to_epsg(min_confidence=60)
                projections[text] = int(found or 0)
            place = stated["coordinates"]
            corner = projections[text], float(place["ulx"]), float(place["uly"])
        except (pyproj.exceptions.CRSError, KeyError, TypeError, ValueError):
            corner = 0, 0.0, 0.0
        if corner[0]:
            return corner
        shown = json.dumps(stated.get("coordinates"))[:80]
        raise InputError(f"{request.origin}: {name}_labels_metadata.json states no place ({shown})")
    for band in request.bands(sensor):
        file = f"{folder}/{name}_{band}.tif"
        if request.files.is_file(file):
            grid = read_header(request.path(request.files.href(file)))
            return grid.epsg, grid.transform[2], grid.transform[5]
    return None
