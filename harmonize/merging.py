"""From what sources say to classes: land cover by a rule of the manifest, crisis classes apart.

Each source decides some of the nine land-cover classes of a patch, or none. A map that covers
enough of it decides every class its crosswalk names: shares are of the area it knows, so that a
half-covered patch has the shares of its known half, and a class is present where its share,
weighted by the crosswalk, reaches the source's threshold. A table of labels decides the listed
classes, and says no shares. Where several sources decide a class, the manifest says who is
believed: the first (`priority`), any that has it (`union`), or all together (`agreement`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonize.crosswalks import Crosswalk
from landmark.rasters import FRAME_PIXELS, Counts
from landmark.taxonomy import CLASSES, CRISIS_MASK, LAND_COVER, LAND_COVER_MASK

#: Sums of weighted pixel shares that should equal the threshold miss it by less than this.
ROUNDING = 1e-9
#: A tag stands for the classes that make up at least half of its code; lighter ones it leaves open.
TAG_WEIGHT = 0.5
_BITS = np.uint16(1) << np.arange(len(CLASSES), dtype=np.uint16)


@dataclass(frozen=True)
class Evidence:
    """What one land-cover source says of some patches.

    Attributes:
        source: Kind of the source: `corine`, `dynamic-world`, `reference-map`.
        prefix: Of its native labels: `clc`, `dw`.
        version: Version or date, as the manifest gives it.
        crosswalk: What its codes stand for.
        threshold: Presence threshold, share of the known area.
        counts: Native codes found.
        tagged: Whether codes are tags of the whole patch, which have no shares.
        complete: Of tags: whether what is not listed is absent.
        undecided: Of tags: classes whose absence the list cannot prove, as a mask.
    """

    source: str
    prefix: str
    version: str
    crosswalk: Crosswalk
    threshold: float
    counts: Counts
    tagged: bool = False
    complete: bool = False
    undecided: int = 0

    @property
    def covered(self) -> NDArray[np.float64]:
        """(patches,) share of each patch the source covers."""
        return self.counts.covered / FRAME_PIXELS


@dataclass(frozen=True)
class Classes:
    """Classes of some patches.

    Attributes:
        label_mask: (patches,) uint16, bit = present.
        known_mask: (patches,) uint16, bit = decided.
        fractions: (patches, 12) share of the known area; NaN: no area measure.
    """

    label_mask: NDArray[np.uint16]
    known_mask: NDArray[np.uint16]
    fractions: NDArray[np.float64]


def class_shares(evidence: Evidence) -> NDArray[np.float64]:
    """Return (patches, 12): weighted share of the covered area; 0 where nothing is covered."""
    pixels = evidence.counts.counts @ evidence.crosswalk.matrix(evidence.counts.codes.tolist())
    covered = np.maximum(evidence.counts.covered, 1)[:, None]
    shares: NDArray[np.float64] = pixels / covered
    return shares


def present_mask(shares: NDArray[np.float64], threshold: float) -> NDArray[np.uint16]:
    """Return (patches,) uint16: the classes whose share reaches the threshold and is above 0."""
    return _mask((shares >= threshold - ROUNDING) & (shares > 0))


def verdict(evidence: Evidence, min_covered: float) -> Classes:
    """Return what one source decides by itself.

    A crosswalk may also name a crisis class (`corine-published` maps CORINE 334 to Burned Area):
    it can then be found present, but its absence from a land-cover map proves nothing. A list of
    labels that is complete does prove it.
    """
    usable = evidence.covered >= min_covered - ROUNDING
    named = np.uint16(evidence.crosswalk.mask)
    shares = class_shares(evidence)
    if evidence.tagged:
        listed = (evidence.counts.counts > 0) @ (_tag_weights(evidence) >= TAG_WEIGHT)
        maybe = (evidence.counts.counts > 0) @ (_tag_weights(evidence) > 0)
        present, doubtful = _mask(listed > 0), _mask((maybe > 0) & ~(listed > 0))
        absent = named & ~present & ~doubtful & np.uint16(~evidence.undecided & 0xFFFF)
        known = present | (absent if evidence.complete else np.uint16(0))
        shares = np.full_like(shares, np.nan)
    else:
        present = present_mask(shares, evidence.threshold)
        known = (named & np.uint16(LAND_COVER_MASK)) | (present & np.uint16(CRISIS_MASK))
    label_mask = np.where(usable, present, 0).astype(np.uint16)
    known_mask = np.where(usable, known, 0).astype(np.uint16)
    return Classes(label_mask, known_mask, np.where(_bits(known_mask), shares, np.nan))


def merge_land_cover(
    evidences: Sequence[Evidence], patches: int, min_covered: float, merge: str = "priority"
) -> Classes:
    """Decide the land-cover classes of patches.

    Args:
        evidences: Best source first.
        patches: How many patches there are.
        min_covered: Share of a patch a map must cover to decide.
        merge: `priority`, `union` or `agreement`.
    """
    verdicts = [verdict(evidence, min_covered) for evidence in evidences]
    if merge == "priority":
        return _by_priority(verdicts, patches)
    present, known = np.zeros((2, patches), np.uint16)
    disputed = np.zeros(patches, np.uint16)
    for own in verdicts:
        disputed |= (own.label_mask ^ present) & own.known_mask & known
        present |= own.label_mask
        known |= own.known_mask
    if merge == "agreement":
        known &= ~disputed
        present &= known
    shares = _mean_shares([own.fractions for own in verdicts], patches)
    return Classes(present, known, np.where(_bits(known), shares, np.nan))


def deciders(
    evidences: Sequence[Evidence], classes: Classes, min_covered: float, merge: str
) -> NDArray[np.int16]:
    """Return (patches, 12): position of the source a class was taken from, -1 where none was.

    Under `union` and `agreement` that is the first whose verdict on the class is the merged one.
    """
    found = np.full((len(classes.known_mask), len(CLASSES)), -1, np.int16)
    for position, evidence in reversed(list(enumerate(evidences))):
        own = verdict(evidence, min_covered)
        same = own.known_mask & classes.known_mask
        if merge != "priority":
            same &= ~(own.label_mask ^ classes.label_mask)
        found[_bits(same)] = position
    return found


def confidences(evidences: Sequence[Evidence], min_covered: float) -> NDArray[np.float64]:
    """Return (sources, patches): how far the other sources bear each one out, 0..1.

    The share of classes, among those that it and another source both decide, on which the two say
    the same; the mean over the other sources. NaN where no other source decides any of them.
    """
    verdicts = [verdict(evidence, min_covered) for evidence in evidences]
    patches = len(evidences[0].counts.counts) if evidences else 0
    found = np.full((len(evidences), patches), np.nan)
    for position, own in enumerate(verdicts):
        total, others = np.zeros((2, patches))
        for other in verdicts[:position] + verdicts[position + 1 :]:
            shared = own.known_mask & other.known_mask & np.uint16(LAND_COVER_MASK)
            equal = shared & ~(own.label_mask ^ other.label_mask)
            both = _bits(shared).sum(axis=1)
            total += np.where(both > 0, _bits(equal).sum(axis=1) / np.maximum(both, 1), 0.0)
            others += both > 0
        found[position] = np.where(others > 0, total / np.maximum(others, 1), np.nan)
    return found


def _by_priority(verdicts: Sequence[Classes], patches: int) -> Classes:
    label_mask, known_mask = np.zeros((2, patches), np.uint16)
    fractions = np.full((patches, len(CLASSES)), np.nan)
    cover = np.arange(len(CLASSES)) < len(LAND_COVER)
    for own in verdicts:
        new = own.known_mask & ~known_mask
        label_mask |= own.label_mask & new
        known_mask |= new
        shares = np.where(_bits(new), own.fractions, np.nan)
        # A source before that decides only some classes has part of the ground already: what the
        # next one says is fitted into the rest, so that the nine never sum to more than 1.
        rest = 1.0 - np.nansum(fractions[:, cover], axis=1)
        wanted = np.nansum(shares[:, cover], axis=1)
        factor = np.where(wanted > rest, np.maximum(rest, 0) / np.maximum(wanted, ROUNDING), 1.0)
        fitted = np.where(cover, shares * np.minimum(factor, 1.0)[:, None], shares)
        fractions = np.where(_bits(new), fitted, fractions)
    return Classes(label_mask, known_mask, fractions)


def _mean_shares(all_shares: Sequence[NDArray[np.float64]], patches: int) -> NDArray[np.float64]:
    """Return the mean of the sources' shares where they have any: nine of them sum to 1 at most."""
    total, sources = np.zeros((2, patches, len(CLASSES)))
    for shares in all_shares:
        known = ~np.isnan(shares)
        total += np.where(known, shares, 0.0)
        sources += known
    cover = slice(0, len(LAND_COVER))
    mean = np.where(sources > 0, total / np.maximum(sources, 1), np.nan)
    excess = np.maximum(np.nansum(mean[:, cover], axis=1), 1.0)
    mean[:, cover] /= excess[:, None]
    return mean


def _tag_weights(evidence: Evidence) -> NDArray[np.float64]:
    return evidence.crosswalk.matrix(evidence.counts.codes.tolist())


def _mask(present: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Return (n, 12) flags as (n,) masks."""
    mask: NDArray[np.uint16] = (present * _BITS).sum(axis=1).astype(np.uint16)
    return mask


def _bits(mask: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Return (n,) masks as (n, 12) flags."""
    flags: NDArray[np.bool_] = (mask[:, None] & _BITS) != 0
    return flags


def combine(land_cover: Classes, crisis: Classes) -> Classes:
    """Join what land cover and events say: present wins, the larger crisis share stays."""
    return Classes(
        label_mask=land_cover.label_mask | crisis.label_mask,
        known_mask=land_cover.known_mask | crisis.known_mask,
        fractions=np.fmax(land_cover.fractions, crisis.fractions),
    )


def native_labels(evidences: Sequence[Evidence], patch: int) -> list[str]:
    """Return every code any source found on a patch, however small: `clc:311`, `dw:1`."""
    labels: list[str] = []
    for evidence in evidences:
        found = evidence.counts.counts[patch] > 0
        labels += [f"{evidence.prefix}:{code}" for code in evidence.counts.codes[found]]
    return list(dict.fromkeys(labels))


def source_record(
    evidence: Evidence, patch: int, confidence: float = float("nan")
) -> dict[str, Any]:
    """Return the `label_sources` entry of a source for a patch; NaN confidence: not known."""
    return {
        "source": evidence.source,
        "version": evidence.version,
        "crosswalk": evidence.crosswalk.name,
        "crosswalk_sha256": evidence.crosswalk.sha256,
        "covered_fraction": float(evidence.covered[patch]),
        "confidence": None if math.isnan(confidence) else float(confidence),
    }
