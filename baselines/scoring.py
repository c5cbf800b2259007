"""Every ranker against every query, in every gallery: the values that rows are means of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines import metrics
from baselines.documents import Documents, EventFlags, kept_for_events
from baselines.measures import Judgements, Measure, measures, of_random, of_ranking
from baselines.published import KIND as PUBLISHED
from baselines.published import Grades
from baselines.published import judgements as published_judgements
from baselines.queries import Query
from baselines.rankers import Ranker
from baselines.references import RANDOM
from landmark.progress import Progress
from landmark.relevance import jaccard, judged, relevant
from landmark.taxonomy import CRISIS_MASK


@dataclass(frozen=True)
class Case:
    """One gallery a query is asked in.

    Attributes:
        sensor: `s1`, `s2` or `both`.
        events: `all`, or only crisis patches of `seen` or `unseen` events.
        judged: Whether patches whose relevance is not known are left out.
    """

    sensor: str
    events: str
    judged: bool


@dataclass(frozen=True)
class Value:
    """What one ranker reached for one query.

    Attributes:
        run: Name of the run or reference.
        recipe: Its recipe, or None.
        case: The gallery.
        query: The query.
        measure: The metric.
        value: 0..1.
    """

    run: str
    recipe: str | None
    case: Case
    query: Query
    measure: Measure
    value: float


def score(
    documents: Documents,
    queries: Sequence[Query],
    rankers: Sequence[Ranker],
    events: dict[str, EventFlags],
    progress: Progress,
    published: Grades | None = None,
) -> list[Value]:
    """Return all values; a query with nothing relevant in a gallery has none there.

    Args:
        documents: All patches that are ranked, of both sensors.
        queries: The queries.
        rankers: What ranks; the random reference is added in closed form.
        events: Crisis class -> which documents are of seen and unseen events.
        progress: Told of every query.
        published: Query id -> patch_id -> grade: relevance of queries of kind `published`.
    """
    galleries = _galleries(documents)
    wanted = {sensor: measures(places.size) for sensor, places in galleries.items()}
    values: list[Value] = []
    progress.start("Evaluating", len(queries))
    for query in queries:
        scores = [ranker.scores(query) for ranker in rankers]
        if query.kind == PUBLISHED:
            grades = (published or {}).get(query.id, {})
            judgements = published_judgements(documents.table["patch_id"].to_pylist(), grades)
            cases = [("all", False, np.ones(len(documents), bool))]
        else:
            judgements = _judge(documents, query)
            cases = list(_cases(documents, query, events))
        for sensor, places in galleries.items():
            orders = [places[metrics.ranking(own[places])] for own in scores]
            for strata, is_judged, keep in cases:
                case = Case(sensor, strata, is_judged)
                for run, recipe, found in _measure(
                    rankers, orders, places[keep[places]], keep, judgements, wanted[sensor]
                ):
                    values.extend(
                        Value(run, recipe, case, query, measure, value)
                        for measure, value in zip(wanted[sensor], found, strict=True)
                        if not math.isnan(value)
                    )
        progress.advance()
    progress.finish()
    return values


def _galleries(documents: Documents) -> dict[str, NDArray[np.intp]]:
    """Return sensor -> positions of its documents, and `both` where there are two sensors."""
    sensors = documents.sensors
    found = {str(sensor): np.flatnonzero(sensors == sensor) for sensor in np.unique(sensors)}
    if len(found) > 1:
        found["both"] = np.arange(len(documents))
    return found


def _judge(documents: Documents, query: Query) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return binary and graded relevance of all documents; unknown counts as not relevant."""
    masks, known = documents.label_masks, documents.known_masks
    return (
        relevant(masks, query.wanted_mask, query.absent_mask, known),
        jaccard(masks, query.wanted_mask, query.absent_mask, known),
    )


def _cases(
    documents: Documents, query: Query, events: dict[str, EventFlags]
) -> Iterator[tuple[str, bool, NDArray[np.bool_]]]:
    """Yield (events, judged, (n,) which documents stay)."""
    everything = np.ones(len(documents), bool)
    decided = judged(
        documents.label_masks, documents.known_masks, query.wanted_mask, query.absent_mask
    )
    strata = ("all", "seen", "unseen") if query.wanted_mask & CRISIS_MASK else ("all",)
    for stratum in strata:
        keep = everything
        if stratum != "all":
            keep = kept_for_events(documents, events, query.classes, stratum)
        yield stratum, False, keep
        yield stratum, True, keep & decided


def _measure(
    rankers: Sequence[Ranker],
    orders: Sequence[NDArray[np.intp]],
    places: NDArray[np.intp],
    keep: NDArray[np.bool_],
    judgements: tuple[NDArray[np.bool_], NDArray[np.float64]],
    wanted: tuple[Measure, ...],
) -> Iterator[tuple[str, str | None, list[float]]]:
    """Yield (run, recipe, values) for the random reference and every ranker, on kept places."""
    binary, graded = judgements
    own = Judgements.of(binary[places], graded[places])
    if not own.relevant.any():
        return
    yield RANDOM, None, of_random(own, wanted)
    # Where each kept document lies among the kept ones: `places` is sorted.
    position = np.empty(keep.size, np.intp)
    position[places] = np.arange(places.size)
    for ranker, order in zip(rankers, orders, strict=True):
        yield ranker.run, ranker.recipe, of_ranking(position[order[keep[order]]], own, wanted)
