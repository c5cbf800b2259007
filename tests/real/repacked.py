"""Real pieces of the shared data laid out as their publishers lay them out.

Pixels, georeference, labels and dates are the real ones; only files are renamed, or bands put
into one file. What is made up is said where it is.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import rasterio

from landmark.manifest import S2_BANDS

#: Bands of an S2Hand file of Sen1Floods11, in its order.
L1C_BANDS = (*S2_BANDS[:10], "B10", *S2_BANDS[10:])


def _stack(sources: list[Path], target: Path) -> None:
    """Write the first bands of some files as the bands of one, on their common grid."""
    target.parent.mkdir(parents=True, exist_ok=True)
    planes = []
    for source in sources:
        with rasterio.open(source) as file:
            planes.append(file.read(1))
            profile = file.profile
    options = {"crs": profile["crs"], "transform": profile["transform"]}
    if np.isnan(planes[0]).any():
        options["nodata"] = float("nan")
    height, width = planes[0].shape
    with rasterio.open(
        target,
        "w",
        driver="GTiff",
        count=len(planes),
        height=height,
        width=width,
        dtype=planes[0].dtype.name,
        **options,
    ) as file:
        file.write(np.stack(planes))


def sen1floods11(shared: Path, folder: Path) -> Path:
    """Lay out the two real chips; which split each is in is made up."""
    hand = folder / "v1.1" / "data" / "flood_events" / "HandLabeled"
    features = {}
    for item, kind, bands in (
        ("Spain_7370579_S1", "S1Hand", ("vv", "vh")),
        ("Spain_7370579_S2", "S2Hand", L1C_BANDS),
        ("Nigeria_812045_S1", "S1Hand", ("vv", "vh")),
    ):
        source = shared / "catalog" / "sen1floods11" / item
        chip = item.rpartition("_")[0]
        _stack([source / f"{band}.tif" for band in bands], hand / kind / f"{chip}_{kind}.tif")
        if (source / "label.tif").is_file():
            _stack([source / "label.tif"], hand / "LabelHand" / f"{chip}_LabelHand.tif")
        stated = json.loads((source / f"{item}.json").read_text())["properties"]
        day = stated["start_datetime"][:10].replace("-", "/")
        own = features.setdefault(chip.partition("_")[0], {"location": chip.partition("_")[0]})
        own[f"{kind[:2].lower()}_date"] = day
    listed = {"features": [{"properties": own} for own in features.values()]}
    (folder / "v1.1" / "Sen1Floods11_Metadata.geojson").write_text(json.dumps(listed))
    splits = folder / "v1.1" / "splits" / "flood_handlabeled"
    splits.mkdir(parents=True)
    for kind, chip in (("train", "Spain_7370579"), ("test", "Nigeria_812045")):
        line = f"{chip}_S1Hand.tif,{chip}_LabelHand.tif\n"
        (splits / f"flood_{kind}_data.csv").write_text(line)
    return folder


def bigearthnet_v1(shared: Path, folder: Path) -> Path:
    """Lay out the three real pairs, with the JSON files they were published with."""
    optical = shared / "catalog" / "sentinel-2-l2a"
    for source in sorted(optical.glob("S2A_MSIL2A_*/labels_metadata.json")):
        patch = source.parent.name
        item = json.loads((source.parent / f"{patch}.json").read_text())
        radar = item["properties"]["bigearthnet:s1_patch"]
        files = {band: source.parent / f"{band}.tif" for band in S2_BANDS}
        waves = {
            band: shared / "catalog" / "sentinel-1-db" / radar / f"{band.lower()}.tif"
            for band in ("VV", "VH")
        }
        for place, bands in (
            (folder / "BigEarthNet-v1.0" / patch, files),
            (folder / "BigEarthNet-S1-v1.0" / radar, waves),
        ):
            place.mkdir(parents=True)
            for band, file in bands.items():
                shutil.copyfile(file, place / f"{place.name}_{band}.tif")
            shutil.copyfile(source, place / f"{place.name}_labels_metadata.json")
    return folder


def sen12flood_stac(shared: Path, folder: Path) -> Path:
    """Lay out the original layout's files as the STAC variant does: flags are text there."""
    original = shared / "archives" / "sen12flood"
    for sensor in ("s1", "s2"):
        listed = json.loads((original / f"{sensor.upper()}list.json").read_text())
        for series in listed.values():
            for number, entry in series.items():
                if not number.isdigit():
                    continue
                stem = entry.get("filename") or f"S2_{entry['date']}"
                mark = "_corrected_" if sensor == "s1" else "_"
                files = sorted((original / series["folder"]).glob(f"{stem}{mark}*.tif"))
                name = f"{series['folder']}_{entry['date'].replace('-', '_')}"
                for file in files:
                    place = f"sen12floods_{sensor}_source"
                    target = folder / place / place / f"{place}_{name}"
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target / f"{file.stem.rpartition('_')[2]}.tif")
                if files:
                    place = f"sen12floods_{sensor}_labels"
                    target = folder / place / place / f"{place}_{name}"
                    target.mkdir(parents=True, exist_ok=True)
                    flags = {k: str(v) for k, v in entry.items() if isinstance(v, bool)}
                    (target / "stac.json").write_text(json.dumps({"properties": flags}))
    return folder
