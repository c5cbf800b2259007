"""`landmark explain`: derive every word about one patch again, from the sources themselves."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harmonize.crises import Touch, verdicts
from harmonize.explanation import ClassSum, CodeShare, Explanation, SourceFindings
from harmonize.labelling import (
    LabelConfig,
    Labels,
    frames_of,
    label_patches,
    open_config,
    read_patches,
)
from harmonize.land_cover import Source, file_names, native_picture
from harmonize.merging import Evidence, class_shares, deciding_source, present_mask
from harmonize.shipping import reference_maps, shipped_labels
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.grid import Frame
from landmark.manifest_file import load_manifest
from landmark.pictures import class_picture, picture_of, png_bytes, upscale
from landmark.shards import ShardReader
from landmark.sources import open_roots
from landmark.taxonomy import CLASSES, CRISIS, names_of

#: Pictures are shown this many times larger than 120 px.
_ZOOM = 3
_HECTARE_M2 = 10_000.0


def explain(root: Path, patch_id: str) -> Explanation:
    """Derive what is known of a patch from its sources, crosswalks and events.

    The labels are made again for this patch alone; if the stored ones differ (a source changed
    since), a note says so.

    Args:
        root: The dataset directory.
        patch_id: As in plan.parquet.

    Raises:
        InputError: There is no such patch (the nearest ids are named), it is not a kept one, or
            the dataset was not fetched.
    """
    dataset = Dataset(root)
    dataset.require(dataset.manifest, "fetch MANIFEST --out DATASET")
    dataset.require(dataset.plan, "fetch MANIFEST --out DATASET")
    planned = _planned(dataset, patch_id)
    shard = planned["shard"]
    path = dataset.require(dataset.patch_shard(shard), f"fetch MANIFEST --out {root}")
    names: list[str] = pq.read_table(path, columns=["patch_id"])["patch_id"].to_pylist()
    if patch_id not in names:
        raise InputError(
            f"{patch_id}: was planned, but is not in {path.name}: a rule of the manifest left it "
            "out, or it could not be made (see the commit mark beside the file)"
        )
    row = names.index(patch_id)
    manifest = load_manifest(str(dataset.manifest))
    roots = open_roots(manifest, dataset)
    config = open_config(manifest, roots)
    maps = reference_maps(dataset, roots, patch_id).get(shard, {}) if config.needs_maps else {}
    patches = read_patches(path, config).slice(row, 1)
    asked = config.archive is not None
    shipped = shipped_labels(dataset, roots, patch_id).get(shard, {}) if asked else {}
    labels = label_patches(patches, config, [maps.get(patch_id)], [shipped.get(patch_id)])
    caption, caption_long = _captions(dataset, patch_id)
    crises = _crises(labels, config)
    decided = int(deciding_source(labels.evidences, 1, config.rules.min_covered)[0])
    with ShardReader(path) as reader:
        picture = png_bytes(upscale(picture_of(reader.image(row), reader.layout), _ZOOM))
    return Explanation(
        patch_id=patch_id,
        sensor=planned["sensor"],
        acquired=planned["datetime"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        lon=planned["lon"],
        lat=planned["lat"],
        shard=shard,
        sources=tuple(
            _findings(source, evidence, decides=position == decided)
            for position, (source, evidence) in enumerate(
                zip(config.sources, labels.evidences, strict=True)
            )
        ),
        min_covered=config.rules.min_covered,
        events=tuple(_event(touch) for touch in labels.touches[0]),
        crises=crises,
        unknown=_unknown(labels, crises, config),
        labels=names_of(int(labels.classes.label_mask[0])),
        caption=caption,
        caption_long=caption_long,
        notes=_notes(dataset, shard, row, labels),
        picture=picture,
        map_picture=_map(config, decided, frames_of(patches)[0], maps.get(patch_id)),
    )


def _planned(dataset: Dataset, patch_id: str) -> dict[str, Any]:
    columns = ["sensor", "datetime", "lon", "lat", "shard", "status", "reason"]
    found = pq.read_table(dataset.plan, columns=columns, filters=[("patch_id", "=", patch_id)])
    rows: list[dict[str, Any]] = found.to_pylist()
    if not rows:
        near = _nearest(dataset, patch_id)
        hint = f"; nearest are {', '.join(near)}" if near else ""
        raise InputError(f"{patch_id}: no such patch in {dataset.plan}{hint}")
    kept = [row for row in rows if row["status"] == "keep"]
    if not kept:
        why = ": ".join(text for text in (rows[0]["status"], rows[0]["reason"]) if text)
        raise InputError(f"{patch_id}: was planned but not kept ({why}), so it has no labels")
    return kept[0]


def _nearest(dataset: Dataset, patch_id: str, count: int = 3) -> list[str]:
    """Return the kept ids that share the longest beginning with an id."""
    kept = pq.read_table(dataset.plan, columns=["patch_id"], filters=[("status", "=", "keep")])
    ids: list[str] = sorted(kept["patch_id"].to_pylist())
    place = bisect.bisect(ids, patch_id)
    around = ids[max(0, place - count) : place + count]
    return sorted(around, key=lambda one: -_common(one, patch_id))[:count]


def _common(a: str, b: str) -> int:
    pairs = zip(a, b, strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _captions(dataset: Dataset, patch_id: str) -> tuple[str, str]:
    if not dataset.index.exists():
        return "", ""
    columns = ["caption", "caption_long"]
    rows = pq.read_table(dataset.index, columns=columns, filters=[("patch_id", "=", patch_id)])
    found = rows.to_pylist()
    return (found[0]["caption"], found[0]["caption_long"]) if found else ("", "")


def _findings(source: Source, evidence: Evidence, *, decides: bool) -> SourceFindings:
    counts, covered = evidence.counts.counts[0], max(1, int(evidence.counts.covered[0]))
    order = np.argsort(-counts, kind="stable")
    codes = []
    for column in order[counts[order] > 0]:
        code = int(evidence.counts.codes[column])
        rows = evidence.crosswalk.rows_of(code)
        codes.append(
            CodeShare(
                native=f"{evidence.prefix}:{code}",
                name=evidence.crosswalk.name_of(code),
                pixels=int(counts[column]),
                share=float(counts[column]) / covered,
                classes=tuple((row.label, row.weight) for row in rows if row.label is not None),
                notes=tuple(dict.fromkeys(row.note for row in rows if row.note)),
            )
        )
    return SourceFindings(
        source=evidence.source,
        version=evidence.version,
        files=file_names(source),
        crosswalk=evidence.crosswalk.name,
        crosswalk_sha256=evidence.crosswalk.sha256,
        threshold=evidence.threshold,
        covered=float(evidence.covered[0]),
        decides=decides,
        codes=tuple(codes),
        sums=_sums(evidence),
    )


def _sums(evidence: Evidence) -> tuple[ClassSum, ...]:
    shares = class_shares(evidence)
    present = names_of(int(present_mask(shares, evidence.threshold)[0]))
    return tuple(
        ClassSum(CLASSES[k], float(shares[0, k]), CLASSES[k] in present)
        for k in np.argsort(-shares[0], kind="stable")
        if shares[0, k] > 0
    )


def _event(touch: Touch) -> dict[str, Any]:
    return {
        **touch.to_record(),
        "hectares": touch.area / _HECTARE_M2,
        "lasts_days": touch.event.lasts_days,
    }


def _crises(labels: Labels, config: LabelConfig) -> tuple[tuple[str, str, str], ...]:
    found = []
    for name, verdict in verdicts(labels.touches[0], config.rules).items():
        state = "present" if verdict.present else "absent" if verdict.known else "unknown"
        reason = verdict.reason
        if not verdict.present and name in names_of(int(labels.classes.label_mask[0])):
            state, reason = "present", "a code of the land-cover source stands for it"
        if labels.archive is not None and not verdict.known:
            own = labels.archive.classes
            if name in names_of(int(own.known_mask[0])):
                present = name in names_of(int(own.label_mask[0]))
                state, reason = (
                    ("present" if present else "absent"),
                    "the archive's own labels say so",
                )
        found.append((name, state, reason))
    return tuple(found)


def _unknown(
    labels: Labels, crises: Sequence[tuple[str, str, str]], config: LabelConfig
) -> tuple[tuple[str, str], ...]:
    known = names_of(int(labels.classes.known_mask[0]))
    reasons = {name: reason for name, _, reason in crises}
    uncovered = (
        f"no land-cover source covers {100 * config.rules.min_covered:g} % of the patch"
        if config.sources
        else "the manifest names no land-cover source"
    )
    return tuple(
        (name, reasons[name] if name in CRISIS else uncovered)
        for name in CLASSES
        if name not in known
    )


def _notes(dataset: Dataset, shard: str, row: int, labels: Labels) -> tuple[str, ...]:
    path = dataset.label_shard(shard)
    if not path.exists():
        return ("the dataset is not harmonized yet; these labels were made for this answer",)
    stored = pq.read_table(path, columns=["label_mask", "known_mask"]).slice(row, 1).to_pylist()[0]
    made = (int(labels.classes.label_mask[0]), int(labels.classes.known_mask[0]))
    if (stored["label_mask"], stored["known_mask"]) != made:
        return (
            "the stored labels differ: a source, a crosswalk or the manifest changed since; run "
            "`landmark harmonize` again",
        )
    return ()


def _map(config: LabelConfig, decided: int, frame: Frame, reference: str | None) -> bytes | None:
    """Return a PNG of each pixel's heaviest class by the deciding source."""
    if decided < 0:
        return None
    source = config.sources[decided]
    codes, covered = native_picture(source, frame, reference)
    known = source.crosswalk.codes()
    weights = source.crosswalk.matrix(known)
    heaviest = np.where(weights.max(axis=1) > 0, weights.argmax(axis=1), -1)
    table: NDArray[np.int64] = np.full(max(known) + 1, -1, np.int64)
    table[list(known)] = heaviest
    usable = covered & np.isin(codes, known)
    classes = np.where(usable, table[np.where(usable, codes, known[0])], -1)
    return png_bytes(upscale(class_picture(classes), _ZOOM))
