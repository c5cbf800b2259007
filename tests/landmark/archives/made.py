"""Small synthetic archives in the published layouts, for readers' own tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from affine import Affine
from numpy.typing import NDArray

DEGREES = Affine(1e-4, 0, 10.0, 0, -1e-4, 45.0)


def write_tif(
    path: Path,
    values: NDArray[Any],
    transform: Affine = DEGREES,
    epsg: int = 4326,
    **tags: str,
) -> None:
    """Write (bands, rows, columns)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, rows, columns = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=columns,
        height=rows,
        count=bands,
        dtype=values.dtype.name,
        crs=f"EPSG:{epsg}",
        transform=transform,
    ) as file:
        file.write(values)
        file.update_tags(**tags)


def power(bands: int, rows: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """Linear backscatter as of land."""
    drawn = np.random.default_rng(seed).gamma(3, 0.02, (bands, rows, columns))
    return (drawn + 1e-4).astype(np.float32)


def dark_dn(rows: int, columns: int, seed: int = 0) -> NDArray[np.uint16]:
    """Reflectance x 10000 without offset."""
    return np.random.default_rng(seed).integers(200, 3000, (1, rows, columns), dtype=np.uint16)


def make_mmflood(folder: Path, codes: tuple[str, ...] = ("EMSR1-0", "EMSR1-1")) -> Path:
    listed = {
        code.partition("-")[0]: {
            "start": "2020-05-01T10:00:00",
            "end": "2020-05-09T10:00:00",
            "subset": "val",
        }
        for code in codes
    }
    (folder / "activations").mkdir(parents=True)
    (folder / "activations.json").write_text(json.dumps(listed))
    for number, code in enumerate(codes):
        base = folder / "activations" / code
        tags = {"acquisition_date": "2020-05-03T00:00:00"}
        write_tif(base / "s1_raw" / f"{code}-0.tif", power(2, 300, 360, number), **tags)
        mask = np.zeros((1, 300, 360), np.uint8)
        mask[:, :150] = 1
        write_tif(base / "mask" / f"{code}-0.tif", mask)
    return folder


def make_cabuar(path: Path, *, packed: bool = True, **groups: dict[str, Any]) -> Path:
    """Write tiles of 240 x 240 px; a value of None leaves a member out. Packing takes its time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(1).integers(100, 3000, (240, 240, 12), dtype=np.uint16)
    mask = np.zeros((240, 240, 1), np.uint16)
    mask[:60, :60] = 1
    with h5py.File(path, "w") as file:
        for name, given in groups.items():
            members = {"post_fire": image, "pre_fire": image[::-1], "mask": mask, **given}
            fold = members.pop("fold", 1)
            group = file.create_group(name)
            if fold is not None:
                group.attrs["fold"] = fold
            for member, values in members.items():
                if values is not None:
                    how = dict(hdf5plugin.BZip2()) if packed else {}
                    group.create_dataset(member, data=values, chunks=(240, 240, 1), **how)
    return path


def make_quakeset(path: Path, *, ascending: bool = False, **attributes: Any) -> Path:
    values = np.moveaxis(power(2, 300, 320, 3), 0, -1)
    x = 10.00005 + 1e-4 * np.arange(320)
    y = 44.99995 - 1e-4 * np.arange(300)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.create_group("611645479")
        group.attrs.update({"magnitude": 5.5, "split": "validation", **attributes})
        group["x"], group["y"] = x, y[::-1] if ascending else y
        for image, shift in (("pre", 1.0), ("post", 1.5)):
            own = (values * shift).astype(np.float32)
            group[f"patch_0/{image}"] = own[::-1] if ascending else own
    return path


def published_image(sensor: str, seed: int = 0) -> NDArray[np.float32]:
    """An array as the published corpus stores it: coarse bands repeated, or dB."""
    drawn = np.random.default_rng(seed)
    if sensor == "s1":
        return drawn.normal(-14, 3, (2, 120, 120)).astype(np.float32)
    image = np.empty((12, 120, 120), np.float32)
    for band, step in enumerate((6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 2, 2)):
        side = 120 // step
        plane = drawn.integers(100, 3000, (side, side)).astype(np.float32)
        image[band] = plane.repeat(step, 0).repeat(step, 1)
    return image


def make_crisislandmark(folder: Path, images: dict[str, dict[str, Any]]) -> Path:
    """Write the published layout; per key `image`, `labels`, `split`, `crs`, `step`, `corner`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with h5py.File(folder / "crisislandmark.h5", "w") as main:
        for key, given in images.items():
            source = key.partition("/")[0]
            part = f"{source}_part1.h5"
            with h5py.File(folder / part, "a") as file:
                group = file.create_group(key)
                step = given.get("step", 10.0)
                x, y = given.get("corner", (500_000.0, 4_900_000.0))
                centres = (np.arange(120) + 0.5) * step
                coords = np.stack(np.meshgrid(x + centres, y - centres)).astype(np.float32)
                group["image"], group["coords"] = given["image"], coords
                group.attrs["crs"] = np.array([given.get("crs", 32632)], np.float32)
                group.attrs["labels"] = np.array(given["labels"], h5py.string_dtype())
                if "timestamp" in given:
                    group.attrs["timestamp"] = np.array([given["timestamp"]], np.float32)
            main[key] = h5py.ExternalLink(part, f"/{key}")
            rows.append(
                {"key": key, "split": given.get("split", "test"), "labels": given["labels"]}
            )
    pq.write_table(pa.Table.from_pylist(rows), folder / "metadata.parquet")
    (folder / "queries.jsonl").write_text('{"id": "q0", "query": "water. trees"}\n')
    (folder / "qrels").mkdir()
    lines = [f"{key}\t{number % 3}\n" for number, key in enumerate(images)]
    (folder / "qrels" / "q0.tsv").write_text("key\trelevance\n" + "".join(lines))
    return folder
