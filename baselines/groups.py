"""Documents alike to every query, and which of them a case keeps.

Twelve classes make at most 4096 label sets, and a gallery holds a few hundred of them. Documents
that share sensor, source, label set, known classes and the strata of their events form a group:
relevance, judgement and stratum are worked out per group (`landmark.relevance`) and looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from baselines.documents import Documents, EventFlags
from baselines.queries import Query
from landmark.relevance import jaccard, judged, relevant
from landmark.taxonomy import CRISIS_MASK, bit

#: The gallery of all sensors together.
BOTH = "both"


@dataclass(frozen=True)
class Case:
    """One gallery a query is asked in.

    Attributes:
        sensor: `s1`, `s2` or `both`.
        events: `all`, or only crisis patches of `seen` or `unseen` events.
        judged: Whether patches whose relevance is not known are left out.
        source: Where the patches come from (`provider/collection`); None: from anywhere.
    """

    sensor: str
    events: str
    judged: bool
    source: str | None = None


@dataclass(frozen=True)
class Groups:
    """The groups of a gallery.

    Attributes:
        codes: (n,) int32, the group of every document.
        counts: (g,) documents in each group.
        sensors: (g,) `s1` or `s2`.
        sources: (g,) `provider/collection`; empty texts where sources were not asked for.
        labels: (g,) uint16 bits of the classes present.
        known: (g,) uint16 bits of the classes decided.
        events: Crisis class -> which groups are of seen and of unseen events.
    """

    codes: NDArray[np.int32]
    counts: NDArray[np.int64]
    sensors: NDArray[np.str_]
    sources: NDArray[np.str_]
    labels: NDArray[np.uint16]
    known: NDArray[np.uint16]
    events: dict[str, EventFlags]


@dataclass(frozen=True)
class Judgements:
    """What one query thinks of every document, and the galleries it is asked in.

    Attributes:
        codes: (n,) int32, the group of every document.
        counts: (g,) documents in each group.
        relevant: (g,) binary relevance.
        grades: (g,) graded relevance, 0..1.
        cases: Each gallery with (g,) which groups it keeps.
    """

    codes: NDArray[np.int32]
    counts: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    grades: NDArray[np.float64]
    cases: tuple[tuple[Case, NDArray[np.bool_]], ...]


def group(documents: Documents, events: dict[str, EventFlags]) -> Groups:
    """Return the groups of a gallery.

    Args:
        documents: The gallery; with column `provenance` its sources are told apart.
        events: Crisis class -> which documents are of seen and unseen events.
    """
    sensors, sources = documents.sensors, source_names(documents)
    flags = np.zeros(len(documents), np.int64)
    for place, own in enumerate(events.values()):
        flags |= (own.seen.astype(np.int64) | own.unseen.astype(np.int64) << 1) << 2 * place
    sensor_names, sensor_codes = np.unique(sensors, return_inverse=True)
    names, source_codes = np.unique(sources, return_inverse=True)
    columns = (sensor_codes, source_codes, documents.label_masks, documents.known_masks, flags)
    codes = np.zeros(len(documents), np.int64)
    for column in columns:
        # Packed anew at each column, so that any number of columns fits 64 bits.
        wide = column.astype(np.int64)
        codes = np.unique(codes * (int(wide.max(initial=0)) + 1) + wide, return_inverse=True)[1]
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    return Groups(
        codes=codes.astype(np.int32),
        counts=np.bincount(codes, minlength=first.size),
        sensors=sensor_names[sensor_codes[first]],
        sources=names[source_codes[first]],
        labels=documents.label_masks[first],
        known=documents.known_masks[first],
        events={k: EventFlags(own.seen[first], own.unseen[first]) for k, own in events.items()},
    )


def source_names(documents: Documents) -> NDArray[np.str_]:
    """Return (n,) `provider/collection` of every document; empty without column `provenance`."""
    if "provenance" not in documents.table.column_names:
        return np.zeros(len(documents), "U1")
    provenance = documents.table["provenance"]
    parts = [pc.fill_null(pc.struct_field(provenance, f), "") for f in ("provider", "collection")]
    return np.array(pc.binary_join_element_wise(*parts, "/").to_pylist(), dtype=np.str_)


def judge(query: Query, groups: Groups) -> Judgements:
    """Return the judgements of a query by its classes; unknown counts as not relevant."""
    masks = query.wanted_mask, query.absent_mask
    return Judgements(
        groups.codes,
        groups.counts,
        relevant(groups.labels, *masks, groups.known),
        jaccard(groups.labels, *masks, groups.known),
        tuple(_cases(query, groups)),
    )


def judge_published(
    groups: Groups, found: NDArray[np.bool_], grades: NDArray[np.float64]
) -> Judgements:
    """Return the judgements of a query whose relevance an archive publishes.

    Args:
        groups: The gallery; only its sensors matter.
        found: (n,) binary relevance of the documents.
        grades: (n,) graded relevance, 0..1.
    """
    sensors, own = np.unique(groups.sensors, return_inverse=True)
    levels, level = np.unique(grades, return_inverse=True)
    pairs = (own[groups.codes] * levels.size + level) * 2 + found
    _, first, codes = np.unique(pairs, return_index=True, return_inverse=True)
    cases = [
        (Case(sensor, "all", False), sensors[own[groups.codes[first]]] == sensor)
        for sensor in sensors.tolist()
    ]
    if sensors.size > 1:
        cases.append((Case(BOTH, "all", False), np.ones(first.size, bool)))
    return Judgements(
        codes.astype(np.int32),
        np.bincount(codes, minlength=first.size),
        found[first],
        grades[first],
        tuple(cases),
    )


def gallery_sizes(groups: Groups) -> dict[tuple[str, str | None], int]:
    """Return (sensor, source) -> documents, with `both` and with source None for all together.

    A sensor's sources are told apart where it has several.
    """
    sizes: dict[tuple[str, str | None], int] = {}
    for sensor in np.unique(groups.sensors).tolist():
        own = groups.sensors == sensor
        sizes[sensor, None] = int(groups.counts[own].sum())
        names = np.unique(groups.sources[own]).tolist()
        for name in names if len(names) > 1 else ():
            sizes[sensor, name] = int(groups.counts[own & (groups.sources == name)].sum())
    if sum(source is None for _, source in sizes) > 1:
        sizes[BOTH, None] = int(groups.counts.sum())
    return sizes


def _cases(query: Query, groups: Groups) -> Iterator[tuple[Case, NDArray[np.bool_]]]:
    decided = judged(groups.labels, groups.known, query.wanted_mask, query.absent_mask)
    strata = ("all", "seen", "unseen") if query.wanted_mask & CRISIS_MASK else ("all",)
    for sensor, source in gallery_sizes(groups):
        own = np.ones(groups.counts.size, bool) if sensor == BOTH else groups.sensors == sensor
        if source is not None:
            yield Case(sensor, "all", False, source), own & (groups.sources == source)
            continue
        for stratum in strata:
            keep = own & _of_stratum(groups, query.classes, stratum)
            yield Case(sensor, stratum, False), keep
            yield Case(sensor, stratum, True), keep & decided


def _of_stratum(groups: Groups, wanted: Sequence[str], stratum: str) -> NDArray[np.bool_]:
    """Return (g,) which groups stay when only seen or unseen events count.

    A patch that carries a crisis class of the query stays only if it is of the stratum; a patch
    that carries none of them stays as something that is not relevant.
    """
    keep = np.ones(groups.counts.size, bool)
    for name in wanted:
        if stratum != "all" and name in groups.events:
            carries = (groups.labels & np.uint16(bit(name))) != 0
            keep &= ~carries | getattr(groups.events[name], stratum)
    return keep
