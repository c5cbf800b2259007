"""What archives ship with the patches of a plan: label maps, masks, labels in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from harmonize.archive_labels import Shipped, shipped_with
from landmark.archives.containers import zip_of
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.scenes import Scene
from landmark.sources import Roots
from landmark.subfiles import extent, is_subfile

#: Archives whose reference maps hold CORINE codes.
_CORINE_ARCHIVES = frozenset({"reben"})


def reference_maps(
    dataset: Dataset, roots: Roots, patch_id: str | None = None
) -> dict[str, dict[str, str]]:
    """Return shard -> patch_id -> the CORINE map its archive ships with that patch.

    A patch whose map the archive lacks is left out: it has no labels, and is not labelled empty.

    Args:
        dataset: The dataset; its plan is read.
        roots: Where the archives lie.
        patch_id: Only for this patch.

    Raises:
        InputError: No scene of the plan has such a map.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for shard, name, scene in _planned(dataset, patch_id):
        if scene.reference is not None and scene.provider in _CORINE_ARCHIVES:
            path = _existing(scene, roots)
            if path is not None:
                found[shard][name] = path
    if not found and patch_id is None:
        raise InputError(
            f"{dataset.manifest}: labels ask for reference maps, but the catalog ships none; "
            "use an archive that does, or another kind of label source"
        )
    return dict(found)


def shipped_labels(
    dataset: Dataset, roots: Roots, patch_id: str | None = None
) -> dict[str, dict[str, Shipped]]:
    """Return shard -> patch_id -> the labels its archive ships with that patch.

    Args:
        dataset: The dataset; its plan is read.
        roots: Where the archives lie.
        patch_id: Only for this patch.

    Raises:
        InputError: No scene of the plan is an archive's.
    """
    found: dict[str, dict[str, Shipped]] = defaultdict(dict)
    for shard, name, scene in _planned(dataset, patch_id):
        shipped = shipped_with(scene, _existing(scene, roots))
        if shipped is not None:
            found[shard][name] = shipped
    if not found and patch_id is None:
        raise InputError(
            f"{dataset.manifest}: labels ask for an archive's own labels, but no catalog is one; "
            "name another kind of label source"
        )
    return dict(found)


def source_splits(dataset: Dataset) -> dict[str, str]:
    """Return patch_id -> the split its archive publishes it in, in our words, or ""."""
    return {name: scene.split for _, name, scene in _planned(dataset, None)}


def published_keys(dataset: Dataset) -> dict[str, str]:
    """Return published key -> patch_id of the patches of a published corpus."""
    return {
        scene.item: name
        for _, name, scene in _planned(dataset, None)
        if scene.provider == "crisislandmark"
    }


def file_sizes(paths: Iterable[str]) -> list[tuple[str, int]]:
    """Return name and size of files: archives are published whole, and a mended one differs.

    Of a member of a tar file that is its own size; of a member of a zip file the size of the zip,
    for the directory of a large one takes seconds to read. 0 for what does not exist.
    """
    return sorted({(Path(path).name, _size(path.partition("#")[0])) for path in paths})


def _size(path: str) -> int:
    if is_subfile(path):
        return extent(path)[2]
    file = Path(zip_of(path) or path)
    return file.stat().st_size if file.is_file() else 0


def _existing(scene: Scene, roots: Roots) -> str | None:
    """Return what to open for a scene's map or mask, or None where the archive lacks it."""
    if scene.reference is None:
        return None
    try:
        return roots.resolve(scene.sensor, scene.reference.href)
    except InputError:
        return None


def _planned(dataset: Dataset, patch_id: str | None) -> Iterator[tuple[str, str, Scene]]:
    """Yield (shard, patch_id, scene) of the kept rows of the plan; a scene is parsed once."""
    wanted = [("status", "=", "keep")] + ([("patch_id", "=", patch_id)] if patch_id else [])
    columns = ["patch_id", "shard", "scene"]
    plan = pq.read_table(dataset.plan, columns=columns, filters=wanted)
    last, scene = "", None
    rows = zip(*(plan[name].to_pylist() for name in ("shard", "patch_id", "scene")), strict=True)
    for shard, name, text in rows:
        if scene is None or text != last:
            last, scene = text, Scene.from_json(text)
        yield shard, name, scene
