"""Harmonize, step 1: one labels file per patch shard.

A labels file is a pure function of the patch shard's small columns, the label part of the
manifest, the crosswalks and the contents of the label files. All of them are in the fingerprint
of its commit mark: a file whose mark carries the same fingerprint is not made again. Images are
never decoded; the scene classes are, where a source asks for cloud masks.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from harmonize.archive_labels import (
    ArchiveFindings,
    ArchiveSource,
    Shipped,
    judge_shipped,
    open_archive_source,
)
from harmonize.crises import Touch, find_touches, judge_all
from harmonize.events import Event, read_events
from harmonize.land_cover import Source, gather_evidence, open_source
from harmonize.merging import (
    Classes,
    Evidence,
    combine,
    merge_land_cover,
    native_labels,
    source_record,
)
from harmonize.shipping import file_sizes, reference_maps, shipped_labels
from landmark.codec import decode_scl
from landmark.commits import CommitMark, hash_json, read_mark
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.grid import PIXELS, Frame
from landmark.manifest import LabelRules, Manifest
from landmark.schema import label_schema
from landmark.shards import commit_shard
from landmark.sources import Roots, is_url
from landmark.taxonomy import names_of

#: Raised whenever the same inputs give other labels than before.
LABELLING_VERSION = 1
#: Files larger than this are known by size, head and tail: hashing CORINE's whole raster would
#: cost more than labelling with it.
_WHOLE_FILE = 256 << 20
_PIECE = 1 << 20
#: Fields of a label source that the fingerprint holds as contents, not as paths.
_BY_CONTENT = {"rasters", "crosswalk"}
#: No patch (1.2 km, up to 84 degrees north) reaches farther from its centre.
_REACH_DEGREES = 0.1
#: What labelling reads of a patch, besides `scl` where clouds are masked.
COLUMNS = ("patch_id", "datetime", "epsg", "transform", "valid_fraction")


@dataclass(frozen=True)
class LabelConfig:
    """Everything labels follow from, besides the patches: the same for all shards.

    Attributes:
        sources: Land-cover sources, best first.
        events: Events of all sources.
        rules: How labels are decided.
        cloud_classes: Scene classes that count as cloud.
        fingerprint: Hash of the settings and of the contents of all files.
        archive: The entry for archives' own labels, or None.
    """

    sources: tuple[Source, ...]
    events: tuple[Event, ...]
    rules: LabelRules
    cloud_classes: tuple[int, ...]
    fingerprint: str
    archive: ArchiveSource | None = None

    @property
    def needs_clouds(self) -> bool:
        """Whether a source wants cloudy pixels left out."""
        return any(source.settings.mask_clouds for source in self.sources)

    @property
    def needs_maps(self) -> bool:
        """Whether a source wants the maps that archives ship."""
        return any(source.settings.kind == "reference-map" for source in self.sources)


@dataclass(frozen=True)
class LabelTask:
    """One patch shard to label: plain values, picklable.

    Attributes:
        shard: Name of the patch shard, e.g. `s1-00003`.
        root: The dataset directory.
        config: What labels follow from.
        references: patch_id -> the label map its archive ships, where there is one.
        shipped: patch_id -> the labels its archive ships, where there are any.
        fingerprint: Of the labels file.
    """

    shard: str
    root: str
    config: LabelConfig
    references: dict[str, str]
    shipped: dict[str, Shipped]
    fingerprint: str


@dataclass(frozen=True)
class LabelResult:
    """What labelling a shard gave.

    Attributes:
        shard: Name of the patch shard.
        patches: Rows of the labels file.
        labelled: Of these, with at least one class decided.
    """

    shard: str
    patches: int
    labelled: int


@dataclass(frozen=True)
class Labels:
    """Labels of some patches with what they were decided from.

    Attributes:
        classes: The decision.
        evidences: What each land-cover source says.
        touches: Per patch, the events it has to do with.
        archive: What archives' own labels say, or None where they are not asked for.
    """

    classes: Classes
    evidences: tuple[Evidence, ...]
    touches: list[list[Touch]]
    archive: ArchiveFindings | None = None


def open_config(manifest: Manifest, roots: Roots) -> LabelConfig:
    """Open all label files a manifest names and read what is small (crosswalks, events).

    Raises:
        InputError: A file is missing or not what the manifest says it is.
    """
    sources = tuple(
        open_source(settings, roots, f"labels.{i}")
        for i, settings in enumerate(manifest.labels)
        if settings.kind != "archive"
    )
    archives = [
        open_archive_source(settings, f"labels.{i}")
        for i, settings in enumerate(manifest.labels)
        if settings.kind == "archive"
    ]
    if len(archives) > 1:
        raise InputError("labels: names kind archive twice; one entry serves all archives")
    events: list[Event] = []
    files: list[list[str]] = [[_content(path) for path in source.paths] for source in sources]
    for entry in manifest.events:
        file = roots.label_path(entry.file)
        analysed = None if entry.analysed is None else roots.label_path(entry.analysed)
        events += read_events(entry, file, analysed)
        files.append([_vector_content(path) for path in (file, analysed) if path is not None])
    settings = {
        "version": LABELLING_VERSION,
        "labels": [s.settings.model_dump(mode="json", exclude=_BY_CONTENT) for s in sources],
        "crosswalks": [[s.crosswalk.name, s.crosswalk.sha256] for s in sources],
        "events": [
            # File names (not folders) are recorded per patch.
            {
                **e.model_dump(mode="json", exclude={"file", "analysed"}),
                "name": Path(e.file).name,
            }
            for e in manifest.events
        ],
        "rules": manifest.label_rules.model_dump(mode="json"),
        "cloud_classes": manifest.patches.cloud_classes,
        "files": files,
        "archive": [
            [a.settings.model_dump(mode="json", exclude=_BY_CONTENT), a.crosswalk.sha256]
            for a in archives
        ],
    }
    return LabelConfig(
        sources=sources,
        events=tuple(events),
        rules=manifest.label_rules,
        cloud_classes=manifest.patches.cloud_classes,
        fingerprint=hash_json(settings),
        archive=archives[0] if archives else None,
    )


def plan_labelling(dataset: Dataset, manifest: Manifest, roots: Roots) -> list[LabelTask]:
    """Return the patch shards whose labels are missing or out of date, in order.

    Raises:
        InputError: A label file is missing or wrong.
        LandmarkError: A commit mark is damaged.
    """
    config = open_config(manifest, roots)
    references = reference_maps(dataset, roots) if config.needs_maps else {}
    shipped = shipped_labels(dataset, roots) if config.archive is not None else {}
    tasks = []
    for path in sorted(dataset.patches.glob("s[12]-[0-9]*.parquet")):
        mark = read_mark(path)
        if mark is None:
            continue
        own = references.get(path.stem, {})
        labels = shipped.get(path.stem, {})
        fingerprint = _fingerprint(mark, config, own, labels)
        done = read_mark(dataset.label_shard(path.stem))
        if done is None or done.fingerprint != fingerprint:
            near = replace(config, events=_events_near(path, config.events))
            root = str(dataset.root)
            tasks.append(LabelTask(path.stem, root, near, own, labels, fingerprint))
    return tasks


def label_shard(task: LabelTask) -> LabelResult:
    """Label one patch shard and commit its labels file.

    Raises:
        InputError: A label raster holds codes that are none.
        LandmarkError: A file cannot be read.
    """
    dataset = Dataset(Path(task.root))
    patches = read_patches(dataset.patch_shard(task.shard), task.config)
    names = patches["patch_id"].to_pylist()
    labels = label_patches(
        patches,
        task.config,
        [task.references.get(name) for name in names],
        [task.shipped.get(name) for name in names],
    )
    commit_shard(dataset.label_shard(task.shard), to_table(names, labels), task.fingerprint)
    return LabelResult(
        shard=task.shard,
        patches=len(names),
        labelled=int((labels.classes.known_mask != 0).sum()),
    )


def read_patches(path: Path, config: LabelConfig) -> pa.Table:
    """Return what labelling needs of a patch shard; images are not read."""
    columns = [*COLUMNS, *(["scl"] if config.needs_clouds else [])]
    return pq.read_table(path, columns=columns)


def label_patches(
    patches: pa.Table,
    config: LabelConfig,
    references: Sequence[str | None],
    shipped: Sequence[Shipped | None],
) -> Labels:
    """Decide the labels of some patches.

    Args:
        patches: Rows with `COLUMNS`, and `scl` where `config.needs_clouds`.
        config: What labels follow from.
        references: The map that ships with each patch, or None.
        shipped: The labels that ship with each patch, or None.
    """
    frames = frames_of(patches)
    times: list[dt.datetime] = patches["datetime"].to_pylist()
    masks = _cloud_masks(patches, config) if config.needs_clouds else None
    evidences = tuple(
        gather_evidence(source, frames, references, masks) for source in config.sources
    )
    touches = find_touches(config.events, frames, times)
    land_cover = merge_land_cover(evidences, len(frames), config.rules.min_covered)
    classes = combine(land_cover, judge_all(touches, config.rules))
    if config.archive is None:
        return Labels(classes, evidences, touches)
    valid = patches["valid_fraction"].to_pylist()
    found = judge_shipped(config.archive, shipped, frames, valid, config.rules)
    return Labels(combine(classes, found.classes), evidences, touches, found)


def to_table(names: Sequence[str], labels: Labels) -> pa.Table:
    """Return the rows of a labels file."""
    classes, own, rows = labels.classes, labels.archive, range(len(names))
    columns = [
        list(names),
        classes.label_mask,
        classes.known_mask,
        [list(names_of(int(mask))) for mask in classes.label_mask],
        pa.FixedSizeListArray.from_arrays(
            pa.array(classes.fractions.astype(np.float32).ravel()), classes.fractions.shape[1]
        ),
        [
            [source_record(evidence, row) for evidence in labels.evidences]
            + (own.records[row] if own else [])
            for row in rows
        ],
        [native_labels(labels.evidences, row) + (own.native[row] if own else []) for row in rows],
        [
            [touch.to_record() for touch in labels.touches[row]] + (own.events[row] if own else [])
            for row in rows
        ],
    ]
    schema = label_schema()
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _events_near(shard: Path, events: tuple[Event, ...]) -> tuple[Event, ...]:
    """Return the events that may touch a shard's patches: a task need not carry the others."""
    if not events:
        return ()
    centres = pq.read_table(shard, columns=["lon", "lat"])
    lon, lat = centres["lon"].to_numpy(), centres["lat"].to_numpy()
    west, south = lon.min() - _REACH_DEGREES, lat.min() - _REACH_DEGREES
    east, north = lon.max() + _REACH_DEGREES, lat.max() + _REACH_DEGREES
    return tuple(event for event in events if event.meets(west, south, east, north))


def _fingerprint(
    patches: CommitMark,
    config: LabelConfig,
    references: dict[str, str],
    shipped: dict[str, Shipped],
) -> str:
    files = {*references.values(), *(own.mask for own in shipped.values() if own.mask)}
    return hash_json([patches.xxh3, config.fingerprint, file_sizes(files)])


def frames_of(patches: pa.Table) -> list[Frame]:
    """Return the frames of patch rows (`COLUMNS`)."""
    return [
        Frame(name=name, epsg=epsg, x_min=transform[2], y_max=transform[5])
        for name, epsg, transform in zip(
            patches["patch_id"].to_pylist(),
            patches["epsg"].to_pylist(),
            patches["transform"].to_pylist(),
            strict=True,
        )
    ]


def _cloud_masks(patches: pa.Table, config: LabelConfig) -> NDArray[np.bool_]:
    """Return (patches, 60, 60), True on cloud; all False where a patch has no scene classes."""
    masks = np.zeros((patches.num_rows, PIXELS // 2, PIXELS // 2), np.bool_)
    for row, frame in enumerate(patches["scl"]):
        if frame.is_valid:
            masks[row] = np.isin(decode_scl(frame.as_buffer()), config.cloud_classes)
    return masks


def _content(path: str | Path) -> str:
    """Return what tells a file's content: xxh3 of it, or of size, head and tail if it is large."""
    if is_url(str(path)):
        return str(path)
    digest = xxhash.xxh3_128()
    size = Path(path).stat().st_size
    digest.update(str(size).encode())
    with Path(path).open("rb") as stream:
        if size > _WHOLE_FILE:
            digest.update(stream.read(_PIECE))
            stream.seek(-_PIECE, os.SEEK_END)
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _vector_content(path: Path) -> Any:
    """Return the content of a vector file; some formats are a folder, or all files of a stem."""
    if path.is_dir():
        return [_content(part) for part in sorted(path.iterdir()) if part.is_file()]
    if path.suffix.lower() != ".shp":
        return _content(path)
    return [_content(part) for part in sorted(path.parent.glob(f"{path.stem}.*"))]
