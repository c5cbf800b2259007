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

from harmonize.captions import Event, PatchFacts
from harmonize.crises import Touch, verdicts
from harmonize.event_pictures import event_picture
from harmonize.explanation import ClassSum, CodeShare, Explanation, SourceFindings
from harmonize.labelling import (
    LabelConfig,
    Labels,
    asked_patches,
    label_patches,
    open_config,
    patches_area,
    read_patches,
)
from harmonize.land_cover import Patches, Source, file_names, native_picture
from harmonize.merging import Evidence, class_shares, deciders, verdict
from harmonize.shipping import reference_maps, shipped_labels
from harmonize.wording import explained_words, sentence_words
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.manifest_file import load_manifest
from landmark.pictures import (
    Rgb,
    class_picture,
    picture_of,
    png_bytes,
    side_by_side,
    upscale,
    with_legend,
)
from landmark.shards import ShardReader
from landmark.sources import open_roots
from landmark.taxonomy import CLASSES, CRISIS, EVENT_CLASSES, names_of

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
    config = open_config(manifest, roots, patches_area(dataset, manifest))
    maps = reference_maps(dataset, roots, patch_id).get(shard, {}) if config.needs_maps else {}
    patches = read_patches(path, config).slice(row, 1)
    own = {} if config.archive is None else shipped_labels(dataset, roots, patch_id)
    shipped = own.get(shard, {})
    labels = label_patches(patches, config, [maps.get(patch_id)], [shipped.get(patch_id)])
    caption, caption_long = _captions(dataset, patch_id)
    crises = _crises(labels, config)
    rules = config.rules
    taken = deciders(labels.evidences, labels.classes, rules.min_covered, rules.merge)[0]
    asked = asked_patches(patches, config, [maps.get(patch_id)])
    deciding = sorted({int(k) for k in taken if k >= 0 and config.sources[k].table is None})
    mapped = deciding[0] if deciding else None
    with ShardReader(path) as reader:
        picture = upscale(picture_of(reader.image(row), reader.layout), _ZOOM)
    facts = PatchFacts(
        sensor=planned["sensor"],
        time=planned["datetime"],
        label_mask=int(labels.classes.label_mask[0]),
        known_mask=int(labels.classes.known_mask[0]),
        # As the labels file holds them.
        fractions=labels.classes.fractions[0].astype(np.float32).tolist(),
        events=tuple(Event(t.event.type, t.phase, t.fraction, t.days) for t in labels.touches[0]),
        lat=planned["lat"],
    )
    findings = tuple(
        _findings(
            source,
            evidence,
            tuple(CLASSES[k] for k in np.flatnonzero(taken == position)),
            rules.min_covered,
        )
        for position, (source, evidence) in enumerate(
            zip(config.sources, labels.evidences, strict=True)
        )
    )
    return Explanation(
        patch_id=patch_id,
        sensor=planned["sensor"],
        acquired=planned["datetime"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        lon=planned["lon"],
        lat=planned["lat"],
        shard=shard,
        sources=findings,
        merge=rules.merge,
        min_covered=config.rules.min_covered,
        events=tuple(_event(touch) for touch in labels.touches[0]),
        crises=crises,
        unknown=_unknown(labels, crises, config),
        labels=names_of(int(labels.classes.label_mask[0])),
        caption=caption,
        caption_long=caption_long,
        words=explained_words(facts, findings, crises, manifest.captions.short),
        sentence=sentence_words(facts, manifest.captions.long),
        notes=_notes(dataset, shard, row, labels),
        map_source=None if mapped is None else config.sources[mapped].settings.kind,
        picture=_pictures(picture, config, mapped, asked, labels.touches[0]),
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


def _findings(
    source: Source, evidence: Evidence, decided: tuple[str, ...], min_covered: float
) -> SourceFindings:
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
        decides=bool(decided),
        decided=decided,
        tagged=evidence.tagged,
        codes=tuple(codes),
        sums=_sums(evidence, min_covered),
    )


def _sums(evidence: Evidence, min_covered: float) -> tuple[ClassSum, ...]:
    shares = class_shares(evidence)
    present = names_of(int(verdict(evidence, min_covered).label_mask[0]))
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
    for name, found_out in verdicts(labels.touches[0], config.rules).items():
        state = "present" if found_out.present else "absent" if found_out.known else "unknown"
        reason = found_out.reason
        if not found_out.present and name in names_of(int(labels.classes.label_mask[0])):
            state, reason = "present", "a code of the land-cover source stands for it"
        if labels.archive is not None and not found_out.known:
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


def _pictures(
    picture: Rgb, config: LabelConfig, mapped: int | None, asked: Patches, touches: Sequence[Touch]
) -> bytes:
    """Return a PNG: the patch, its classes by the first map that decides any, and its events."""
    shown = [picture]
    names: set[str] = set()
    if mapped is not None:
        classes = _heaviest(config.sources[mapped], config, asked)
        names |= {CLASSES[k] for k in np.unique(classes) if k >= 0}
        shown.append(upscale(class_picture(classes), _ZOOM))
    shown.append(event_picture(picture, asked.frames[0], touches))
    names |= {EVENT_CLASSES[t.event.type] for t in touches if t.part is not None}
    ordered = [name for name in CLASSES if name in names]
    return png_bytes(with_legend(side_by_side(shown), ordered))


def _heaviest(source: Source, config: LabelConfig, asked: Patches) -> NDArray[np.int64]:
    """Return each pixel's heaviest class by a map, (120, 120), -1 where it has none."""
    codes, covered = native_picture(source, asked, config.rules)
    known = source.crosswalk.codes()
    weights = source.crosswalk.matrix(known)
    heaviest = np.where(weights.max(axis=1) > 0, weights.argmax(axis=1), -1)
    table: NDArray[np.int64] = np.full(max(known) + 1, -1, np.int64)
    table[list(known)] = heaviest
    usable = covered & np.isin(codes, known)
    return np.where(usable, table[np.where(usable, codes, known[0])], -1)
