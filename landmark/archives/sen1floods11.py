"""Reader of Sen1Floods11's hand-labelled chips.

    FOLDER/v1.1/data/flood_events/HandLabeled/S1Hand/<chip>_S1Hand.tif      VV, VH, dB
    FOLDER/v1.1/data/flood_events/HandLabeled/S2Hand/<chip>_S2Hand.tif      13 L1C bands
    FOLDER/v1.1/data/flood_events/HandLabeled/LabelHand/<chip>_LabelHand.tif  1 water, 0 dry, -1
    FOLDER/v1.1/Sen1Floods11_Metadata.geojson                               dates per location
    FOLDER/v1.1/splits/flood_handlabeled/flood_{train,valid,test}_data.csv

The folder `v1.1` (or the one that holds HandLabeled) may itself be the archive. Labels are all
surface water, permanent water too: they decide the class Water, not Flooded Area. Sentinel-2 is
Level-1C (top of the atmosphere), which each patch says; its band B10 is not kept.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from landmark.archives.about import About
from landmark.archives.reading import (
    SPLIT_NAMES,
    ArchiveImage,
    Request,
    read_json,
    settle_offset,
    spread,
)
from landmark.archives.tiles import SAMPLES, sample_values
from landmark.errors import InputError
from landmark.pixels import read_header
from landmark.scenes import BandAsset, Scene, SceneEvent

PROVIDER = "sen1floods11"
ABOUT = About(
    title="Sen1Floods11 (hand-labelled chips)",
    licence="not established",
    source="https://github.com/cloudtostreet/Sen1Floods11 (bucket gs://sen1floods11)",
    size="446 chips of 512 x 512 px, about 4 GB as arrays (computed)",
)
_BASES = ("", "v1.1/", "data/", "v1.1/data/")
_CHIP = re.compile(r"(?P<place>[A-Za-z-]+)_(?P<number>\d+)_S[12]Hand\.tif")
#: Bands of an S2Hand file in order: Level-1C, with B10.
_L1C = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
)
_SPLITS = {"train": "train", "valid": "val", "test": "test"}


def read_images(request: Request) -> Iterator[ArchiveImage]:
    """Yield every hand-labelled chip of the sensors asked for.

    Raises:
        InputError: There is no folder of chips, a chip is called otherwise, or its date is not
            known.
    """
    folder = _hand_labelled(request)
    dates, splits = _dates(request), _splits(request)
    scenes = []
    for sensor in request.sensors:
        kind = f"{sensor.upper()}Hand"
        names = [n for n in request.files.names(f"{folder}{kind}") if n.endswith(".tif")]
        unit: tuple[Any, str] = ("dn", "archive")
        if sensor == "s1" and names:
            samples = [
                (BandAsset("VV", request.files.href(f"{folder}{kind}/{name}")), None)
                for name in spread(names, SAMPLES)
            ]
            unit = request.unit(sample_values(request, samples), kind)
        for name in names:
            scene = _scene(request, folder, sensor, name, dates, splits, unit)
            if scene is not None:
                scenes.append(scene)
    if not scenes:
        raise InputError(f"{request.origin}: {folder} holds no chip that was asked for")
    optical = [scene for scene in scenes if scene.sensor == "s2"]
    evidence = settle_offset(request, spread(optical, SAMPLES), ABOUT.title) if optical else ""
    for scene in scenes:
        yield ArchiveImage(
            replace(scene, offset_evidence=evidence) if scene.sensor == "s2" else scene, None
        )


def _hand_labelled(request: Request) -> str:
    for base in _BASES:
        for inner in ("flood_events/HandLabeled/", "HandLabeled/", ""):
            if request.files.names(f"{base}{inner}LabelHand"):
                return f"{base}{inner}"
    raise InputError(f"{request.origin}: holds no HandLabeled/LabelHand of Sen1Floods11")


def _dates(request: Request) -> dict[tuple[str, str], str]:
    """Return (location, sensor) -> ISO date."""
    for base in ("", "v1.1/"):
        name = f"{base}Sen1Floods11_Metadata.geojson"
        if not request.files.is_file(name):
            continue
        found = {}
        for feature in read_json(request.files, name).get("features", ()):
            properties = feature.get("properties", {})
            place = _place(str(properties.get("location", "")))
            for sensor in ("s1", "s2"):
                date = str(properties.get(f"{sensor}_date") or "").replace("/", "-")
                if date:
                    found[place, sensor] = date
        return found
    return {}


def _splits(request: Request) -> dict[str, str]:
    """Return chip -> split, from the lists of hand-labelled chips that are there."""
    found: dict[str, str] = {}
    for base in ("", "v1.1/"):
        for kind, split in _SPLITS.items():
            name = f"{base}splits/flood_handlabeled/flood_{kind}_data.csv"
            if request.files.is_file(name):
                rows = csv.reader(io.StringIO(request.files.read(name).decode("utf-8")))
                for row in rows:
                    chip = row[0].partition("_S1Hand")[0] if row else ""
                    if chip and found.setdefault(chip, split) != split:
                        raise InputError(f"{request.origin}/{name}: {chip} is in two splits")
    return found


def _place(location: str) -> str:
    return location.strip().lower().replace(" ", "-")


def _scene(
    request: Request,
    folder: str,
    sensor: str,
    name: str,
    dates: dict[tuple[str, str], str],
    splits: dict[str, str],
    unit: tuple[Any, str],
) -> Scene | None:
    parts = _CHIP.fullmatch(name)
    if parts is None:
        raise InputError(f"{request.origin}: {name} is no <place>_<number>_S1Hand.tif")
    chip = f"{parts['place']}_{parts['number']}"
    stated = dates.get((_place(parts["place"]), sensor), "")
    time, notes = request.date(stated, chip)
    if not request.wants(sensor, chip, time if stated else ""):
        return None
    radar = sensor == "s1"
    file = f"{folder}{sensor.upper()}Hand/{name}"
    href = request.files.href(file)
    label = f"{folder}LabelHand/{chip}_LabelHand.tif"
    order = {band: index for index, band in enumerate(("VV", "VH") if radar else _L1C, start=1)}
    labelled = request.files.is_file(label)
    return Scene(
        sensor="s1" if radar else "s2",
        provider=PROVIDER,
        collection="Sen1Floods11",
        item=f"{chip}_{sensor}",
        platform=sensor.upper(),
        time=time,
        bands=tuple(BandAsset(band, href, order[band]) for band in request.bands(sensor)),
        unit=unit[0] if radar else "dn",
        unit_source=unit[1],
        quantity="unknown" if radar else "reflectance",
        polarisations=("VV", "VH") if radar else (),
        nodata=None if radar else 0,
        licence=request.licence(sensor, ABOUT.licence),
        grid=read_header(request.path(href)),
        reference=BandAsset("label", request.files.href(label)) if labelled else None,
        event=SceneEvent("flood", parts["place"], phase="during"),
        split=SPLIT_NAMES.get(splits.get(chip, ""), ""),
        notes=(
            *notes,
            *(() if radar else ("level: L1C, top of the atmosphere",)),
            *(() if labelled else ("label: the archive holds no label of this chip",)),
        ),
    )
