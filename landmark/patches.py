"""One patch shard from its plan rows: read, judge by the manifest's rules, encode, commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from landmark.cog.known import KnownHeaders
from landmark.commits import Filtered, Hole, hash_bytes, hash_json
from landmark.dataset import Dataset
from landmark.errors import LandmarkError
from landmark.grid import Frame
from landmark.hdf5 import split_path
from landmark.manifest import Manifest
from landmark.manifest_file import load_manifest
from landmark.opening import is_remote
from landmark.patch_columns import PatchColumns
from landmark.pixels import PatchPixels, iter_patches
from landmark.plan_file import PlanFile
from landmark.progress import Silent
from landmark.radiometry import class_fraction
from landmark.scenes import Scene
from landmark.schema import SCHEMA_VERSION, ImageLayout, patch_schema, s1_layout, s2_layout
from landmark.shards import commit_shard
from landmark.signing import Signer
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
#: The plan columns that making a patch asks for.
_ASKED = ("patch_id", "frame", "epsg", "x_min", "y_max", "scene")
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
    frames = [Frame(row["frame"], row["epsg"], row["x_min"], row["y_max"]) for row in planned]
    made = PatchColumns(rows, layout)
    filtered: dict[int, Filtered] = {}
    holes: dict[int, Hole] = {}
    source = _source(roots, rows["sensor"][0].as_py())
    for text, group in groupby(range(len(planned)), key=lambda index: planned[index]["scene"]):
        scene = Scene.from_json(text)
        wanted = {index: frames[index] for index in group}
        for index, pixels, rounds in _read_scene(scene, wanted, layout, source):
            patch_id = planned[index]["patch_id"]
            if isinstance(pixels, str):
                holes[index] = Hole(patch_id, "read", pixels, rounds)
                continue
            cloud = None
            if pixels.scl is not None:
                cloud = class_fraction(pixels.scl, manifest.patches.cloud_classes)
            rejection = _rejection(patch_id, pixels, cloud, manifest)
            if rejection is not None:
                filtered[index] = rejection
            else:
                made.add(index, frames[index], scene, pixels, cloud)
    return ShardContent(made.table(), _in_order(filtered), _in_order(holes))


Entry = TypeVar("Entry")


def _in_order(entries: dict[int, Entry]) -> tuple[Entry, ...]:
    return tuple(entries[index] for index in sorted(entries))


@dataclass(frozen=True)
class _Source:
    """Where the files of a shard are: href -> path, what signs URLs, and headers read so far."""

    locate: Callable[[str], str]
    signer: Signer
    known: KnownHeaders


def _source(roots: Roots, sensor: str) -> _Source:
    return _Source(roots.locator(sensor), roots.signer(sensor), KnownHeaders())


def _read_scene(
    scene: Scene,
    frames: Mapping[int, Frame],
    layout: ImageLayout,
    source: _Source,
) -> Iterator[tuple[int, PatchPixels | str, int]]:
    """Yield (position, pixels or the cause of its hole, rounds) for the patches of one scene.

    Args:
        scene: What is read.
        frames: Position of each patch -> where it lies.
        layout: Of the images.
        source: Where the files are.
    """
    located: dict[str, str] = {}

    def locate(href: str) -> str:
        path = source.locate(href)
        located[path] = href
        return path

    failed: dict[int, str] = {}
    wanted = list(frames)
    for round_ in range(1, _ROUNDS + 1):
        failed = {}
        waiting = dict.fromkeys(wanted)
        chosen = [frames[index] for index in wanted]
        patches = iter_patches(
            scene, chosen, locate, layout, signer=source.signer, known=source.known
        )
        try:
            for position, pixels in patches:
                index = wanted[position]
                del waiting[index]
                if isinstance(pixels, str):
                    failed[index] = pixels
                else:
                    yield index, pixels, round_
        except LandmarkError as error:
            failed.update(dict.fromkeys(waiting, str(error)))
        wanted = sorted(failed)
        if not failed or round_ == _ROUNDS or not any(map(is_remote, located)):
            break
        time.sleep(_PAUSE_S)
    for index, cause in sorted(failed.items()):
        # The cause goes into the commit mark: the catalog's own href, never a local path.
        for path, href in located.items():
            cause = cause.replace(path, href).replace(split_path(path)[0], href.partition("#")[0])
        yield index, cause, round_


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
