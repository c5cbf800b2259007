"""One patch shard from its plan rows: read, judge by the manifest's rules, encode, commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from landmark import plan
from landmark.commits import Filtered, Hole, hash_bytes, hash_json
from landmark.dataset import Dataset
from landmark.errors import LandmarkError
from landmark.grid import RESOLUTION_M, Frame
from landmark.manifest import Manifest
from landmark.manifest_file import load_manifest
from landmark.pixels import PatchPixels, read_patches
from landmark.progress import Silent
from landmark.radiometry import class_fraction
from landmark.scenes import Scene
from landmark.schema import SCHEMA_VERSION, ImageLayout, patch_schema, s1_layout, s2_layout
from landmark.shards import commit_shard, encode_image, encode_scl, frame_xxh3
from landmark.sources import open_roots

#: Attempts to read a scene from a server before its patches become holes.
ATTEMPTS = 3
_PAUSE_S = 0.5

#: The plan columns a patch's bytes depend on (`scene` is added by its hash).
_FINGERPRINTED = ("patch_id", "frame", "epsg", "x_min", "y_max", "pair_id", "pair_gap_s")


@dataclass(frozen=True)
class FetchTask:
    """One shard to make: small and picklable.

    Attributes:
        root: The dataset directory, absolute.
        shard: Shard name, e.g. `s2-00003`.
        fingerprint: `shard_fingerprint` of its rows.
    """

    root: str
    shard: str
    fingerprint: str


@dataclass(frozen=True)
class ShardContent:
    """What became of a shard's plan rows.

    Attributes:
        table: The patches made, in plan order (`patch_schema`).
        filtered: What the rules rejected.
        holes: What could not be made.
    """

    table: pa.Table
    filtered: tuple[Filtered, ...]
    holes: tuple[Hole, ...]


def image_layout(manifest: Manifest, sensor: str) -> ImageLayout:
    """Return how the images of a sensor are laid out in this dataset."""
    if sensor == "s2" and manifest.s2 is not None:
        return s2_layout(manifest.s2.bands)
    return s1_layout()


def shard_fingerprint(manifest: Manifest, rows: pa.Table) -> str:
    """Hash everything a patch shard is a function of, its name excepted.

    That is: the schema version, the layout of its images, the patch rules, and its plan rows
    with their scenes. Two plans that give the same rows give the same fingerprint.
    """
    sensor = rows.column("sensor")[0].as_py()
    scenes = rows.column("scene").to_pylist()
    hashes = {text: hash_bytes(text.encode()) for text in set(scenes)}
    columns = [rows.column(name).to_pylist() for name in _FINGERPRINTED]
    return hash_json(
        {
            "schema": SCHEMA_VERSION,
            "layout": image_layout(manifest, sensor).to_dict(),
            "rules": manifest.patches.model_dump(mode="json", exclude={"share"}),
            "rows": list(zip(*columns, strict=True)),
            "scenes": [hashes[text] for text in scenes],
        }
    )


def fetch_shard(task: FetchTask) -> int:
    """Make and commit one patch shard; return its number of holes."""
    dataset = Dataset(Path(task.root))
    manifest = load_manifest(str(dataset.manifest))
    roots = open_roots(manifest, dataset, Silent())
    rows = plan.read_shard_rows(dataset.plan, task.shard)
    content = make_patches(rows, manifest, roots.resolve)
    commit_shard(
        dataset.patch_shard(task.shard),
        content.table,
        task.fingerprint,
        filtered=content.filtered,
        holes=content.holes,
    )
    return len(content.holes)


def make_patches(
    rows: pa.Table, manifest: Manifest, resolve: Callable[[str, str], str]
) -> ShardContent:
    """Read, judge and encode the patches of one shard.

    Args:
        rows: Plan rows of one shard, in shard order, one sensor.
        manifest: The dataset's manifest.
        resolve: (sensor, href) -> path or URL to open.
    """
    planned = rows.to_pylist()
    layout = image_layout(manifest, planned[0]["sensor"])
    made: list[dict[str, Any]] = []
    filtered: list[Filtered] = []
    holes: list[Hole] = []
    for text, group in groupby(planned, key=lambda row: row["scene"]):
        scene = Scene.from_json(text)
        for row, pixels, attempts in _read_scene(scene, list(group), layout, resolve):
            if isinstance(pixels, str):
                holes.append(Hole(row["patch_id"], "read", pixels, attempts))
                continue
            cloud = None
            if pixels.scl is not None:
                cloud = class_fraction(pixels.scl, manifest.patches.cloud_classes)
            rejection = _rejection(row["patch_id"], pixels, cloud, manifest)
            if rejection is not None:
                filtered.append(rejection)
            else:
                made.append(_patch_row(row, scene, pixels, cloud, layout))
    table = pa.Table.from_pylist(made, schema=patch_schema(layout))
    return ShardContent(table, tuple(filtered), tuple(holes))


def _read_scene(
    scene: Scene,
    rows: list[dict[str, Any]],
    layout: ImageLayout,
    resolve: Callable[[str, str], str],
) -> Iterator[tuple[dict[str, Any], PatchPixels | str, int]]:
    """Yield (row, pixels or the cause of its hole, attempts) for the patches of one scene."""
    frames = [Frame(row["frame"], row["epsg"], row["x_min"], row["y_max"]) for row in rows]
    opened: dict[str, str] = {}

    def open_href(href: str) -> str:
        path = resolve(scene.sensor, href)
        opened[path] = href
        return path

    results: list[PatchPixels | str] = []
    attempt = 0
    while not results:
        attempt += 1
        try:
            results = read_patches(scene, frames, open_href, layout)
        except LandmarkError as error:
            if attempt < ATTEMPTS and any("://" in path for path in opened):
                time.sleep(_PAUSE_S * 2 ** (attempt - 1))
                continue
            results = [str(error)] * len(rows)
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, str):
            # The cause goes into the commit mark: the catalog's own href, never a local path.
            for path, href in opened.items():
                result = result.replace(path, href)
        yield row, result, attempt


def _rejection(
    patch_id: str, pixels: PatchPixels, cloud: float | None, manifest: Manifest
) -> Filtered | None:
    rules = manifest.patches
    if pixels.valid_fraction < rules.min_valid:
        return Filtered(
            patch_id, "nodata", f"{pixels.valid_fraction:.3f} valid < {rules.min_valid:g}"
        )
    if cloud is not None and cloud > rules.max_cloud:
        return Filtered(patch_id, "cloud", f"{cloud:.3f} cloudy > {rules.max_cloud:g}")
    return None


def _patch_row(
    row: dict[str, Any],
    scene: Scene,
    pixels: PatchPixels,
    cloud: float | None,
    layout: ImageLayout,
) -> dict[str, Any]:
    image = encode_image(pixels.planes, layout)
    frame = Frame(row["frame"], row["epsg"], row["x_min"], row["y_max"])
    return {
        "patch_id": row["patch_id"],
        "sensor": row["sensor"],
        "platform": row["platform"],
        "orbit_state": row["orbit_state"],
        "relative_orbit": row["relative_orbit"],
        "polarisations": row["polarisations"],
        "mgrs": row["mgrs"],
        "image": image,
        "image_nbytes": len(image),
        "image_xxh3": frame_xxh3(image),
        "scl": None if pixels.scl is None else encode_scl(pixels.scl),
        "datetime": row["datetime"],
        "lon": row["lon"],
        "lat": row["lat"],
        "epsg": row["epsg"],
        "transform": list(frame.transform(RESOLUTION_M)),
        "geometry": row["geometry"],
        "pair_id": row["pair_id"],
        "pair_gap_s": row["pair_gap_s"],
        "cloud_fraction": cloud if cloud is None else np.float32(cloud),
        "valid_fraction": np.float32(pixels.valid_fraction),
        "clipped_fraction": pixels.clipped_fraction,
        "original": pixels.original,
        "provenance": {
            "provider": scene.provider,
            "collection": scene.collection,
            "item": scene.item,
            "hrefs": [asset.href for asset in scene.bands],
            "baseline": scene.baseline,
            "offset": scene.offset,
            "offset_evidence": scene.offset_evidence,
            "quantity": scene.quantity,
            "unit_source": scene.unit_source,
            "resampling": pixels.resampling,
            "licence": scene.licence,
            "notes": list(scene.notes),
        },
    }
