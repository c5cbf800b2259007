"""From counted codes to classes: one land-cover decision per patch, crisis classes apart.

The first source (in the manifest's order) that covers enough of a patch decides all nine
land-cover classes: each is then known, present or absent. Shares are of the area the source
knows, so a half-covered patch has the shares of its known half. A class is present where its
share, weighted by the crosswalk, reaches the source's threshold.
"""

from __future__ import annotations

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
    """

    source: str
    prefix: str
    version: str
    crosswalk: Crosswalk
    threshold: float
    counts: Counts

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
    bits = np.uint16(1) << np.arange(len(CLASSES), dtype=np.uint16)
    present = (shares >= threshold - ROUNDING) & (shares > 0)
    mask: NDArray[np.uint16] = (present * bits).sum(axis=1).astype(np.uint16)
    return mask


def deciding_source(
    evidences: Sequence[Evidence], patches: int, min_covered: float
) -> NDArray[np.int64]:
    """Return (patches,) position of the source that decides, -1 where none covers enough."""
    decided = np.full(patches, -1, np.int64)
    for position, evidence in reversed(list(enumerate(evidences))):
        decided[evidence.covered >= min_covered - ROUNDING] = position
    return decided


def merge_land_cover(evidences: Sequence[Evidence], patches: int, min_covered: float) -> Classes:
    """Decide the land-cover classes of patches.

    A crosswalk may also name a crisis class (`corine-published` maps CORINE 334 to Burned Area):
    it can then be found present, but its absence from a land-cover map proves nothing.

    Args:
        evidences: Best source first.
        patches: How many patches there are.
        min_covered: Share of a patch a source must cover to decide.
    """
    label_mask, known_mask = np.zeros((2, patches), np.uint16)
    fractions = np.full((patches, len(CLASSES)), np.nan)
    decided = deciding_source(evidences, patches, min_covered)
    for position, evidence in enumerate(evidences):
        mine = decided == position
        shares = class_shares(evidence)[mine]
        present = present_mask(shares, evidence.threshold)
        crisis = present & np.uint16(CRISIS_MASK)
        label_mask[mine] = present
        known_mask[mine] = np.uint16(LAND_COVER_MASK) | crisis
        found = np.array([[mask >> k & 1 for k in range(len(CLASSES))] for mask in crisis], bool)
        kept = found.reshape(-1, len(CLASSES))
        kept[:, : len(LAND_COVER)] = True
        fractions[mine] = np.where(kept, shares, np.nan)
    return Classes(label_mask, known_mask, fractions)


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


def source_record(evidence: Evidence, patch: int) -> dict[str, Any]:
    """Return the `label_sources` entry of a source for a patch."""
    return {
        "source": evidence.source,
        "version": evidence.version,
        "crosswalk": evidence.crosswalk.name,
        "crosswalk_sha256": evidence.crosswalk.sha256,
        "covered_fraction": float(evidence.covered[patch]),
        "confidence": None,
    }
