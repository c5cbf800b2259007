"""One patch shard from its plan rows: read, judge by the manifest's rules, encode, commit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from landmark.commits import Filtered, Hole, hash_bytes, hash_json
from landmark.dataset import Dataset
from landmark.errors import LandmarkError
from landmark.frame_column import FrameColumn
from landmark.grid import RESOLUTION_M, Frame
from landmark.hdf5 import split_path
from landmark.manifest import Manifest
from landmark.manifest_file import load_manifest
from landmark.opening import is_remote
from landmark.pixels import PatchPixels, iter_patches
from landmark.plan_file import PlanFile
from landmark.progress import Silent
from landmark.radiometry import class_fraction
from landmark.scenes import Scene
from landmark.schema import SCHEMA_VERSION, ImageLayout, patch_schema, s1_layout, s2_layout
from landmark.shards import commit_shard, encode_image, encode_scl, frame_xxh3
from landmark.sources import Roots, open_roots
from landmark.throttle import shared_throttle

#: Rounds over what a server did not give before it becomes holes. Each request is retried within
#: a round; a new round also opens the files anew.
_ROUNDS = 2
_PAUSE_S = 2.0
#: SCL class of snow and ice.
SNOW_CLASSES = (11,)

#: The plan columns a patch's bytes depend on, beside its scene.
_OF_ROW = ("patch_id", "frame", "epsg", "x_min", "y_max", "pair_id", "pair_gap_s")
#: The plan columns that making a patch asks for, and those that patches have as they are there.
_ASKED = ("patch_id", "frame", "epsg", "x_min", "y_max", "scene")
_PLANNED = (
    "patch_id", "sensor", "platform", "orbit_state", "relative_orbit", "polarisations", "mgrs",
    "datetime", "lon", "lat", "epsg", "geometry", "pair_id", "pair_gap_s",
)  # fmt: skip
#: What `shard_fingerprint` needs of a plan.
FINGERPRINTED = ("sensor", "scene", *_OF_ROW)


@dataclass(frozen=True)
class FetchTask:
    """One shard to make: small and picklable.

    Attributes:
        root: The dataset directory, absolute.
        shard: Shard name, e.g. `s2-00003`.
        fingerprint: `shard_fingerprint` of its rows.
        processes: How many processes share what hosts allow (`landmark.throttle`).
    """

    root: str
    shard: str
    fingerprint: str
    processes: int = 1


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
    with their scenes. Two plans that give the same rows give the same fingerprint. How images are
    compressed does not count: no pixel depends on it, and `landmark migrate` changes it in place.
    """
    layout = image_layout(manifest, rows.column("sensor")[0].as_py()).to_dict()
    scenes = rows.column("scene").combine_chunks()
    used = scenes.indices.unique().to_pylist()
    hashes = {index: hash_bytes(scenes.dictionary[index].as_buffer()) for index in used}
    columns = [rows.column(name).to_pylist() for name in _OF_ROW]
    return hash_json(
        {
            "schema": SCHEMA_VERSION,
            "layout": {k: v for k, v in layout.items() if k != "codec"},
            "rules": manifest.patches.model_dump(mode="json", exclude={"share"}),
            "rows": list(zip(*columns, strict=True)),
            "scenes": [hashes[index] for index in scenes.indices.to_pylist()],
        }
    )


def fetch_shard(task: FetchTask) -> int:
    """Make and commit one patch shard; return its number of holes."""
    shared_throttle().divide(task.processes)
    dataset = Dataset(Path(task.root))
    manifest = load_manifest(str(dataset.manifest))
    roots = open_roots(manifest, dataset, Silent())
    rows = PlanFile(dataset.plan).shard_rows(task.shard)
    content = make_patches(rows, manifest, roots)
    commit_shard(
        dataset.patch_shard(task.shard),
        content.table,
        task.fingerprint,
        filtered=content.filtered,
        holes=content.holes,
    )
    return len(content.holes)


def abandon_shard(task: FetchTask, cause: str) -> int:
    """Commit a shard that cannot be made, all its patches being holes; return their number.

    `--retry-failed` makes it again.
    """
    dataset = Dataset(Path(task.root))
    manifest = load_manifest(str(dataset.manifest))
    rows = PlanFile(dataset.plan).shard_rows(task.shard)
    layout = image_layout(manifest, rows.column("sensor")[0].as_py())
    holes = [Hole(patch_id, "worker", cause, 1) for patch_id in rows["patch_id"].to_pylist()]
    commit_shard(
        dataset.patch_shard(task.shard),
        pa.Table.from_pylist([], schema=patch_schema(layout)),
        task.fingerprint,
        holes=holes,
    )
    return len(holes)


def make_patches(rows: pa.Table, manifest: Manifest, roots: Roots) -> ShardContent:
    """Read, judge and encode the patches of one shard.

    Memory: the encoded patches of the shard and the pixels of one group of them.

    Args:
        rows: Plan rows of one shard, in shard order, one sensor.
        manifest: The dataset's manifest.
        roots: Where its catalogs are.
    """
    layout = image_layout(manifest, rows["sensor"][0].as_py())
    planned = rows.select(_ASKED).to_pylist()
    # By position: patches come in the order they are read, and are stored in the plan's.
    made: dict[int, dict[str, Any]] = {}
    frames = FrameColumn(len(planned))
    filtered: dict[int, Filtered] = {}
    holes: dict[int, Hole] = {}
    for text, group in groupby(range(len(planned)), key=lambda index: planned[index]["scene"]):
        scene = Scene.from_json(text)
        members = list(group)
        for index, pixels, rounds in _read_scene(scene, planned, members, layout, roots):
            row = planned[index]
            if isinstance(pixels, str):
                holes[index] = Hole(row["patch_id"], "read", pixels, rounds)
                continue
            cloud = None
            if pixels.scl is not None:
                cloud = class_fraction(pixels.scl, manifest.patches.cloud_classes)
            rejection = _rejection(row["patch_id"], pixels, cloud, manifest)
            if rejection is not None:
                filtered[index] = rejection
            else:
                image = encode_image(pixels.planes, layout)
                frames.append(image)
                made[index] = _patch_row(row, scene, pixels, cloud, image)
    # The order they came in -> the plan's.
    images = frames.finish(np.argsort(list(made)).tolist())
    table = _table(rows, made, images, layout)
    return ShardContent(table, _in_order(filtered), _in_order(holes))


def _table(
    rows: pa.Table, made: dict[int, dict[str, Any]], images: pa.ChunkedArray, layout: ImageLayout
) -> pa.Table:
    """Return the patches that were made, in plan order, beside what the plan says of them."""
    schema = patch_schema(layout)
    indices = sorted(made)
    kept = rows.select(_PLANNED).take(pa.array(indices, pa.int64()))
    columns = {name: kept[name].cast(schema.field(name).type) for name in _PLANNED}
    columns["image"] = images
    for field in schema:
        if field.name not in columns:
            values = [made[index][field.name] for index in indices]
            columns[field.name] = pa.array(values, field.type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


Entry = TypeVar("Entry")


def _in_order(entries: dict[int, Entry]) -> tuple[Entry, ...]:
    return tuple(entries[index] for index in sorted(entries))


def _read_scene(
    scene: Scene,
    planned: Sequence[dict[str, Any]],
    members: Sequence[int],
    layout: ImageLayout,
    roots: Roots,
) -> Iterator[tuple[int, PatchPixels | str, int]]:
    """Yield (position, pixels or the cause of its hole, rounds) for the patches of one scene."""
    frames = {index: _frame(planned[index]) for index in members}
    opened: dict[str, str] = {}

    def open_href(href: str) -> str:
        path = roots.resolve(scene.sensor, href)
        opened[path] = href
        return path

    signer = roots.signer(scene.sensor)
    failed: dict[int, str] = {}
    wanted = list(members)
    for round_ in range(1, _ROUNDS + 1):
        failed = {}
        waiting = dict.fromkeys(wanted)
        chosen = [frames[index] for index in wanted]
        try:
            for position, pixels in iter_patches(scene, chosen, open_href, layout, signer=signer):
                index = wanted[position]
                del waiting[index]
                if isinstance(pixels, str):
                    failed[index] = pixels
                else:
                    yield index, pixels, round_
        except LandmarkError as error:
            failed.update(dict.fromkeys(waiting, str(error)))
        wanted = sorted(failed)
        if not failed or round_ == _ROUNDS or not any(map(is_remote, opened)):
            break
        time.sleep(_PAUSE_S)
    for index, cause in sorted(failed.items()):
        # The cause goes into the commit mark: the catalog's own href, never a local path.
        for path, href in opened.items():
            cause = cause.replace(path, href).replace(split_path(path)[0], href.partition("#")[0])
        yield index, cause, round_


def _frame(row: dict[str, Any]) -> Frame:
    return Frame(row["frame"], row["epsg"], row["x_min"], row["y_max"])


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
    snow = class_fraction(pixels.scl, SNOW_CLASSES)
    if snow is not None and snow > rules.max_snow:
        return Filtered(patch_id, "snow", f"{snow:.3f} snow > {rules.max_snow:g}")
    return None


def _patch_row(
    row: dict[str, Any],
    scene: Scene,
    pixels: PatchPixels,
    cloud: float | None,
    image: bytes,
) -> dict[str, Any]:
    return {
        "image_nbytes": len(image),
        "image_xxh3": frame_xxh3(image),
        "scl": None if pixels.scl is None else encode_scl(pixels.scl),
        "transform": _frame(row).transform(RESOLUTION_M),
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
