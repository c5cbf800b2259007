"""Harmonize, step 1: one labels file per patch shard.

A labels file is a pure function of the patch shard's small columns, the label part of the
manifest, the crosswalks and the contents of the label files. All of them are in the fingerprint
of its commit mark: a file whose mark carries the same fingerprint is not made again. Images are
never decoded; the scene classes are, where a source asks for cloud masks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from harmonize.archive_labels import (
    ArchiveFindings,
    ArchiveSource,
    Shipped,
    judge_shipped,
    open_archive_source,
)
from harmonize.contents import file_content
from harmonize.crises import Touch, find_touches, judge_all
from harmonize.event_sources import read_events
from harmonize.events import Event
from harmonize.land_cover import Patches, Source, gather_evidence, open_source
from harmonize.merging import (
    Classes,
    Evidence,
    combine,
    confidences,
    merge_land_cover,
    native_labels,
    source_record,
)
from harmonize.patch_rows import box_around, cloud_masks, frames_of
from harmonize.shipping import file_sizes, reference_maps, shipped_labels
from landmark.commits import CommitMark, hash_json, read_mark
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.manifest import LabelRules, Manifest
from landmark.schema import label_schema
from landmark.shards import commit_shard
from landmark.sources import Roots
from landmark.stac_items import AreaShape
from landmark.taxonomy import names_of

#: Raised whenever the same inputs give other labels than before.
LABELLING_VERSION = 2
#: Fields of a label source that the fingerprint holds as contents, not as paths.
_BY_CONTENT = {"rasters", "crosswalk"}
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
        trust: (sources, patches): how far the other sources bear each one out; NaN: not known.
        archive: What archives' own labels say, or None where they are not asked for.
    """

    classes: Classes
    evidences: tuple[Evidence, ...]
    touches: list[list[Touch]]
    trust: NDArray[np.float64]
    archive: ArchiveFindings | None = None


def open_config(manifest: Manifest, roots: Roots, area: AreaShape | None = None) -> LabelConfig:
    """Open all label files a manifest names and read what is small (crosswalks, events).

    Args:
        manifest: The manifest.
        roots: Where `sandbox:` paths start.
        area: Where the patches lie (`patches_area`): what catalogs of maps are asked for.

    Raises:
        InputError: A file is missing or not what the manifest says it is.
    """
    sources = tuple(
        open_source(settings, roots, f"labels.{i}", area, manifest.label_rules)
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
    files: list[Any] = [[file_content(path) for path in source.paths] for source in sources]
    for entry in manifest.events:
        named = (entry.file, entry.analysed, entry.permanent_water)
        paths = [None if name is None else roots.label_path(name) for name in named]
        file, analysed, permanent = paths
        assert file is not None
        events += read_events(entry, file, analysed, permanent)
        files.append([file_content(path) for path in paths if path is not None])
    settings = {
        "version": LABELLING_VERSION,
        "labels": [s.settings.model_dump(mode="json", exclude=_BY_CONTENT) for s in sources],
        "crosswalks": [[s.crosswalk.name, s.crosswalk.sha256] for s in sources],
        "events": [
            # File names (not folders) are recorded per patch.
            {
                **e.model_dump(mode="json", exclude={"file", "analysed", "permanent_water"}),
                "name": Path(e.file).name,
            }
            for e in manifest.events
        ],
        "rules": manifest.label_rules.model_dump(mode="json"),
        "cloud_classes": manifest.patches.cloud_classes,
        "files": files,
        "periods": [[str(file.period) for file in source.files] for source in sources],
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
    config = open_config(manifest, roots, patches_area(dataset, manifest))
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
            near, root = _near(path, config), str(dataset.root)
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
    # The column is in UTC; its own time zone objects are slow to compare.
    times = [time.replace(tzinfo=dt.UTC) for time in patches["datetime"].to_pylist()]
    asked = asked_patches(patches, config, references)
    evidences = tuple(gather_evidence(source, asked, config.rules) for source in config.sources)
    touches = find_touches(config.events, frames, times)
    land_cover = merge_land_cover(
        evidences, len(frames), config.rules.min_covered, config.rules.merge
    )
    classes = combine(land_cover, judge_all(touches, config.rules))
    trust = confidences(evidences, config.rules.min_covered)
    if config.archive is None:
        return Labels(classes, evidences, touches, trust)
    valid = patches["valid_fraction"].to_pylist()
    found = judge_shipped(config.archive, shipped, frames, valid, config.rules)
    return Labels(combine(classes, found.classes), evidences, touches, trust, found)


def asked_patches(
    patches: pa.Table, config: LabelConfig, references: Sequence[str | None]
) -> Patches:
    """Return what land-cover sources are asked about; arguments as `label_patches`."""
    return Patches(
        names=patches["patch_id"].to_pylist(),
        frames=frames_of(patches),
        days=[time.date() for time in patches["datetime"].to_pylist()],
        references=references,
        masks=cloud_masks(patches, config.cloud_classes) if config.needs_clouds else None,
    )


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
            [
                source_record(evidence, row, trust[row])
                for evidence, trust in zip(labels.evidences, labels.trust, strict=True)
            ]
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


def patches_area(dataset: Dataset, manifest: Manifest) -> AreaShape | None:
    """Return the box around all kept patches, where a source asks a catalog for it, else None."""
    if not any(settings.catalog is not None for settings in manifest.labels):
        return None
    kept = pq.read_table(dataset.plan, columns=["lon", "lat"], filters=[("status", "=", "keep")])
    return AreaShape(shapely.box(*box_around(kept)), is_box=True) if kept.num_rows else None


def _near(shard: Path, config: LabelConfig) -> LabelConfig:
    """Return a configuration with what may touch a shard's patches: tasks carry nothing else."""
    patches = pq.read_table(shard, columns=["lon", "lat", "patch_id"])
    box, names = box_around(patches), patches["patch_id"].to_pylist()
    return replace(
        config,
        sources=tuple(source.near(box, names) for source in config.sources),
        events=tuple(event for event in config.events if event.meets(*box)),
    )


def _fingerprint(
    patches: CommitMark,
    config: LabelConfig,
    references: dict[str, str],
    shipped: dict[str, Shipped],
) -> str:
    files = {*references.values(), *(own.mask for own in shipped.values() if own.mask)}
    words = {
        name: [own.tags, own.level, own.mapped, None if own.event is None else vars(own.event)]
        for name, own in shipped.items()
    }
    return hash_json([patches.xxh3, config.fingerprint, file_sizes(files), words])
