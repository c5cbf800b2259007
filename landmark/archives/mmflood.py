"""Reader of MMFlood: Sentinel-1 tiles of floods mapped by Copernicus EMS.

    FOLDER/activations.json                              one entry per EMS activation
    FOLDER/activations/<code>-<aoi>/s1_raw/<code>-<aoi>-<tile>.tif    VV, VH, float32
    FOLDER/activations/<code>-<aoi>/mask/<code>-<aoi>-<tile>.tif      1 flooded, 0 not, 255 ignore
    FOLDER/activations/<code>-<aoi>/{DEM,hydro}/...      not read

Tiles lie in EPSG:4326 with pixels that are not square on the ground: patches are resampled onto
10 m in the tile's UTM zone. The unit is stated nowhere and taken from the values (the real set is
linear power). NaN is no data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from landmark.archives.about import About
from landmark.archives.reading import SPLIT_NAMES, ArchiveImage, Request, read_json, spread
from landmark.archives.tiles import SAMPLES, sample_values
from landmark.errors import InputError
from landmark.pixels import read_header, read_tags
from landmark.scenes import BandAsset, Scene, SceneEvent

PROVIDER = "mmflood"
ABOUT = About(
    title="MMFlood",
    licence="MIT",
    source=(
        "https://huggingface.co/datasets/links-ads/mmflood (parts activations.tar.*.gz.part: join, "
        "then unpack) or https://github.com/edornd/mmflood"
    ),
    size="at most 87 GB of Sentinel-1 (1 748 tiles of up to 2500 x 2500 x 2, computed)",
)
_TILE = re.compile(r"(?P<code>EMSR\d+)-(?P<aoi>\d+)-(?P<tile>\d+)\.tif")
_FOLDER = re.compile(r"(?P<code>EMSR\d+)-(?P<aoi>\d+)")


def read_images(request: Request) -> Iterator[ArchiveImage]:
    """Yield every Sentinel-1 tile of an activation that is listed.

    Raises:
        InputError: The list is missing or lacks an activation that there are tiles of, a tile is
            damaged, or the values do not show their unit.
    """
    if "s1" not in request.sensors:
        return
    listed = read_json(request.files, "activations.json")
    if not isinstance(listed, dict):
        raise InputError(f"{request.origin}/activations.json: is no list of activations")
    folders = [n for n in request.files.names("activations") if _FOLDER.fullmatch(n)]
    unlisted = sorted({_code(name) for name in folders} - set(listed))
    if unlisted:
        raise InputError(
            f"{request.origin}: holds tiles of {unlisted[0]}, which activations.json does not list"
        )
    empty = sorted(set(listed) - {_code(name) for name in folders})
    if empty:
        request.note(f"{request.origin}: no tiles of {len(empty)} listed activations ({empty[0]})")
    names = [
        f"activations/{folder}/s1_raw/{name}"
        for folder in folders
        for name in request.files.names(f"activations/{folder}/s1_raw")
        if name.endswith(".tif")
    ]
    if not names:
        raise InputError(f"{request.origin}: holds no activations/<code>-<aoi>/s1_raw/*.tif")
    chosen = spread(names, SAMPLES)
    samples = [(BandAsset("VV", request.files.href(name)), None) for name in chosen]
    unit = request.unit(sample_values(request, samples), "s1_raw")
    for name in names:
        image = _image(request, name, listed, unit)
        if image is not None:
            yield image


def _code(name: str) -> str:
    return name.partition("-")[0]


def _image(
    request: Request, name: str, listed: dict[str, Any], unit: tuple[Any, str]
) -> ArchiveImage | None:
    folder, file = name.rsplit("/", 2)[0], name.rpartition("/")[2]
    parts = _TILE.fullmatch(file)
    if parts is None or parts["code"] != _code(folder.rpartition("/")[2]):
        raise InputError(f"{request.origin}: {name} is no <code>-<aoi>-<tile>.tif of its folder")
    href = request.files.href(name)
    tags = read_tags(request.path(href))
    time, notes = request.date(str(tags.get("acquisition_date", "")), name)
    if not request.wants("s1", file, time):
        return None
    entry = listed[parts["code"]]
    start, end = str(entry.get("start", ""))[:10], str(entry.get("end", ""))[:10]
    mask = f"{folder}/mask/{file}"
    masked = request.files.is_file(mask)
    scene = Scene(
        sensor="s1",
        provider=PROVIDER,
        collection="MMFlood",
        item=file.removesuffix(".tif"),
        platform="S1",
        time=time,
        bands=(BandAsset("VV", href), BandAsset("VH", href, 2)),
        unit=unit[0],
        unit_source=unit[1],
        quantity="unknown",
        polarisations=("VV", "VH"),
        licence=request.licence("s1", ABOUT.licence),
        grid=read_header(request.path(href)),
        reference=BandAsset("mask", request.files.href(mask)) if masked else None,
        event=SceneEvent("flood", parts["code"], start, end, _phase(time[:10], start)),
        split=SPLIT_NAMES.get(str(entry.get("subset", "")), ""),
        notes=(*notes, *(() if masked else ("label: the archive holds no mask of this tile",))),
    )
    return ArchiveImage(scene, None)


def _phase(day: str, start: str) -> str:
    if not start:
        return "undated"
    return "before" if day < start else "during"
