"""The labels an archive ships with its images: masks, and labels of an image or a tile.

What each archive's own words and codes mean stands in `harmonize.archive_meanings`. Masks give a
class with its share of the patch. Labels of the image that is the patch give classes without
shares. Labels of a larger tile are weaker: that a flood is nowhere in the tile holds for every
patch cut from it; that one is somewhere in the tile says of each patch nothing, unless the
manifest takes it over (`tile_level: present`). reBEN's 19 names say less than the map of the
patch, and decide only where the archive lacks that map. The archive's words are kept as they are
in `native_labels`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonize.archive_meanings import JUDGED, MAPPED, MASKS, NAMED, TAGS
from harmonize.bigearthnet import undecided
from harmonize.corine import CLC_CODES
from harmonize.crises import MIN_ANALYSED
from harmonize.crosswalks import Crosswalk, load_crosswalk
from harmonize.merging import ROUNDING, Classes
from landmark.array_rasters import array_codes
from landmark.errors import InputError
from landmark.grid import SIZE_M, Frame
from landmark.hdf5 import is_hdf5
from landmark.manifest import LabelRules, LabelSource
from landmark.rasters import FRAME_PIXELS, codes_on_frame
from landmark.scenes import Scene, SceneEvent, SourceGrid
from landmark.taxonomy import ALL_MASK, CLASSES, CRISIS, CRISIS_MASK, LAND_COVER_MASK, bit

_HECTARE_M2 = 10_000.0
_PIXEL_M2 = SIZE_M * SIZE_M / FRAME_PIXELS
#: Presence threshold of a land-cover class that a 10 m mask gives, as of other 10 m sources.
_WATER_SHARE = 0.02
#: A CORINE label of an image stands for the classes that make up at least half of its code.
_HALF = 0.5


_LOWER = MappingProxyType({name.lower(): name for name in CLASSES})


@dataclass(frozen=True)
class ArchiveSource:
    """The manifest's entry of kind `archive` with its crosswalk read.

    Attributes:
        settings: The entry.
        crosswalk: What CORINE names stand for.
        nineteen: What BigEarthNet's 19 names stand for.
        left_open: Classes whose absence the 19 names cannot prove, as a mask.
    """

    settings: LabelSource
    crosswalk: Crosswalk
    nineteen: Crosswalk
    left_open: int


@dataclass(frozen=True)
class Shipped:
    """What an archive ships with one patch: plain values, picklable.

    Attributes:
        provider: The archive.
        item: The image.
        tags: Its labels.
        level: `image` or `tile`.
        mask: What to open for its mask, or None.
        grid: Where an HDF5 mask lies.
        event: The event it was taken for, or None.
        mapped: Whether it has a map that says more than its labels.
    """

    provider: str
    item: str
    tags: tuple[str, ...]
    level: str
    mask: str | None
    grid: SourceGrid | None
    event: SceneEvent | None
    mapped: bool = False


@dataclass(frozen=True)
class ArchiveFindings:
    """What archives say of some patches.

    Attributes:
        classes: The decision.
        native: Per patch, the archive's own labels, `mmflood:1`.
        records: Per patch, entries of `label_sources`.
        events: Per patch, entries of `events`.
    """

    classes: Classes
    native: list[list[str]]
    records: list[list[dict[str, Any]]]
    events: list[list[dict[str, Any]]]


@dataclass(frozen=True)
class _Finding:
    """What is known of one patch: masks of present and decided classes, and shares."""

    present: int = 0
    known: int = 0
    shares: tuple[tuple[str, float], ...] = ()
    native: tuple[str, ...] = ()
    covered: float = 0.0
    crosswalk: Crosswalk | None = None


def open_archive_source(settings: LabelSource, field: str) -> ArchiveSource:
    """Read the crosswalk of an entry of kind `archive`.

    Raises:
        InputError: The entry names rasters, or its crosswalk is wrong.
    """
    if settings.rasters:
        raise InputError(f"{field}.rasters: an archive's labels come with it; leave it empty")
    name = settings.crosswalk or "corine-published"
    corine = load_crosswalk(name, "corine", CLC_CODES)
    nineteen = load_crosswalk("ben-19")
    return ArchiveSource(settings, corine, nineteen, undecided(nineteen))


def shipped_with(scene: Scene, path: str | None) -> Shipped | None:
    """Return what an archive ships with a scene; None for a scene of no archive we know labels of.

    Args:
        scene: The scene.
        path: What to open for its mask or map, or None.
    """
    if scene.provider not in {*MASKS, *TAGS, *NAMED, *MAPPED}:
        return None
    return Shipped(
        provider=scene.provider,
        item=scene.item,
        tags=scene.tags,
        level=scene.tags_level,
        mask=path if scene.provider in MASKS else None,
        grid=scene.grid,
        event=scene.event,
        mapped=scene.provider in MAPPED and path is not None,
    )


def judge_shipped(
    source: ArchiveSource,
    shipped: Sequence[Shipped | None],
    frames: Sequence[Frame],
    valid: Sequence[float],
    rules: LabelRules,
) -> ArchiveFindings:
    """Decide what the archives' own labels say of patches.

    Args:
        source: The manifest's entry.
        shipped: Per patch, what its archive ships, or None.
        frames: Where.
        valid: Per patch, the share of valid pixels: a mask says nothing of the others.
        rules: How labels are decided.

    Raises:
        InputError: A label is none of the archive's, or a mask holds other codes.
        LandmarkError: A mask cannot be read.
    """
    masks = _mask_codes(shipped, frames)
    findings = [
        _Finding()
        if own is None
        else _join(_by_mask(own, masks.get(row), valid[row], rules), _by_tags(own, source, rules))
        for row, own in enumerate(shipped)
    ]
    fractions = np.full((len(shipped), len(CLASSES)), np.nan)
    for row, found in enumerate(findings):
        for name, share in found.shares:
            fractions[row, CLASSES.index(name)] = share
    return ArchiveFindings(
        classes=Classes(
            np.array([found.present for found in findings], np.uint16),
            np.array([found.known for found in findings], np.uint16),
            fractions,
        ),
        native=[list(found.native) for found in findings],
        records=[
            [] if own is None or not found.native else [_record(own, found, source)]
            for own, found in zip(shipped, findings, strict=True)
        ],
        events=[
            [] if own is None or own.event is None else [_event(own, found)]
            for own, found in zip(shipped, findings, strict=True)
        ],
    )


def clc_code(name: str, crosswalk: Crosswalk) -> int | None:
    """Return the CORINE code of a class name, whatever its punctuation and case, or None."""
    wanted = _plain(name)
    return next((row.code for row in crosswalk.rows if _plain(row.name) == wanted), None)


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[^a-z]+", " ", name.lower()).split())


def _mask_codes(
    shipped: Sequence[Shipped | None], frames: Sequence[Frame]
) -> dict[int, NDArray[np.int32]]:
    """Return row -> codes of its mask on its frame; each HDF5 mask is read once."""
    rows: dict[str, list[int]] = {}
    for row, own in enumerate(shipped):
        if own is not None and own.mask is not None:
            rows.setdefault(own.mask, []).append(row)
    found: dict[int, NDArray[np.int32]] = {}
    for path, members in rows.items():
        if is_hdf5(path):
            first = shipped[members[0]]
            assert first is not None
            grid = first.grid
            assert grid is not None
            pictures = array_codes(path, grid, [frames[row] for row in members])
            found.update(zip(members, pictures, strict=True))
            continue
        for row in members:
            codes, covered = codes_on_frame([path], frames[row])
            found[row] = np.where(covered, codes, np.iinfo(np.int32).min)
    return found


def _by_mask(
    own: Shipped, codes: NDArray[np.int32] | None, valid: float, rules: LabelRules
) -> _Finding:
    if codes is None:
        return _Finding()
    meaning = MASKS[own.provider]
    values, counts = np.unique(codes, return_counts=True)
    held = {
        int(v): int(n) for v, n in zip(values, counts, strict=True) if v != np.iinfo(np.int32).min
    }
    odd = sorted(set(held) - {meaning.positive, meaning.negative, 255, -1})
    if odd:
        raise InputError(f"{own.mask}: holds code {odd[0]}, which {own.provider} masks do not have")
    positive = held.get(meaning.positive, 0)
    # Where the image has no data nothing was looked at: such pixels are taken off the negatives.
    blind = round((1.0 - valid) * FRAME_PIXELS)
    looked = positive + max(0, held.get(meaning.negative, 0) - blind)
    native = tuple(f"{own.provider}:{code}" for code in sorted(held))
    share, covered = positive / FRAME_PIXELS, looked / FRAME_PIXELS
    if meaning.label in CRISIS:
        enough = share >= rules.event_share - ROUNDING or (
            positive * _PIXEL_M2 >= rules.event_hectares * _HECTARE_M2
        )
        known = bool(positive and enough) or covered >= MIN_ANALYSED - ROUNDING
        present = bool(positive and enough)
    else:
        share = positive / max(1, looked)
        known = covered >= rules.min_covered - ROUNDING
        present = known and positive > 0 and share >= _WATER_SHARE - ROUNDING
    mask = bit(meaning.label)
    return _Finding(
        present=mask if present else 0,
        known=mask if known else 0,
        shares=((meaning.label, share),) if known else (),
        native=native,
        covered=covered,
    )


def _by_tags(own: Shipped, source: ArchiveSource, rules: LabelRules) -> _Finding:
    if not own.tags:
        return _Finding()
    native = tuple(f"{own.provider}:{tag}" for tag in own.tags)
    if own.provider in MAPPED:
        if own.mapped:
            return _Finding(native=native, covered=1.0)
        return _by_names(own, source.nineteen, rules, native, source.left_open)
    if own.provider in NAMED:
        return _by_names(own, source.crosswalk, rules, native)
    present = known = 0
    for tag in own.tags:
        try:
            name, positive = TAGS[own.provider][tag]
        except KeyError:
            raise InputError(f"{own.item}: label {tag!r} is none of {own.provider}") from None
        taken = own.level == "image" or source.settings.tile_level == "present"
        if not positive or taken:
            known |= bit(name)
            present |= bit(name) if positive else 0
    return _Finding(present, known, (), native, 1.0)


def _by_names(
    own: Shipped,
    crosswalk: Crosswalk,
    rules: LabelRules,
    native: tuple[str, ...],
    left_open: int = 0,
) -> _Finding:
    """Decide land cover (all nine classes) and crises by a list of class names."""
    present, doubtful = 0, left_open
    used: Crosswalk | None = None
    for tag in own.tags:
        if tag in _LOWER:
            present |= bit(_LOWER[tag])
            continue
        code = clc_code(tag, crosswalk)
        if code is None:
            raise InputError(
                f"{own.item}: label {tag!r} is neither a class of {crosswalk.name} nor one of "
                f"{', '.join(sorted(_LOWER))}"
            )
        used = crosswalk
        for row in crosswalk.rows_of(code):
            if row.label is not None and row.weight >= _HALF:
                present |= bit(row.label)
            elif row.label is not None:
                doubtful |= bit(row.label)
    known = present | (LAND_COVER_MASK & ~doubtful)
    judged = JUDGED.get(own.item.partition("/")[0])
    if judged is not None:
        known |= bit(judged)
    if rules.outside_events == "absent":
        known |= CRISIS_MASK
    return _Finding(present, known & ALL_MASK, (), native, 1.0, used)


def _join(first: _Finding, second: _Finding) -> _Finding:
    return _Finding(
        first.present | second.present,
        first.known | second.known,
        first.shares + second.shares,
        first.native + second.native,
        max(first.covered, second.covered),
        first.crosswalk or second.crosswalk,
    )


def _record(own: Shipped, found: _Finding, source: ArchiveSource) -> dict[str, Any]:
    used = found.crosswalk
    return {
        "source": own.provider,
        "version": source.settings.version,
        "crosswalk": "native" if used is None else used.name,
        "crosswalk_sha256": "" if used is None else used.sha256,
        "covered_fraction": found.covered,
        "confidence": None,
    }


def _event(own: Shipped, found: _Finding) -> dict[str, Any]:
    event = own.event
    assert event is not None
    shares = dict(found.shares)
    share = next((shares[name] for name in CRISIS if name in shares), None)
    return {
        "type": event.type,
        "id": event.id,
        "start": event.start or None,
        "end": event.end or None,
        "phase": event.phase,
        "days": None,
        "fraction": share,
        "analysed_fraction": found.covered if own.mask is not None else None,
        "source": own.provider,
    }
