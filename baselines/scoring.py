"""Every ranker against every query, in every gallery: the values that rows are means of.

Queries are scored in blocks (one matrix product reads the vectors once for many queries), each
ranking is sorted once, and every gallery (sensor, stratum of events, judged only, source) is a
filter on that one order. What is held at a time is bounded by `SCORE_BYTES`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.documents import Documents, EventFlags
from baselines.groups import Case, Groups, Judgements, gallery_sizes, group, judge, judge_published
from baselines.measures import Measure, Norms, depths, measures, norms, of_random, of_sums
from baselines.metrics import discounts, refuse_nan
from baselines.published import KIND as PUBLISHED
from baselines.published import Grades
from baselines.published import judgements as published_judgements
from baselines.queries import Query
from baselines.ranked_kernels import order_of, ranked_sums, replicate_sums
from baselines.rankers import Ranker
from baselines.references import RANDOM
from baselines.resampling import Resampling
from landmark.progress import Progress

#: Scores of one block of queries: float32, documents x queries.
SCORE_BYTES = 128 * 2**20

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What one ranker reached for one query in one gallery.

    Attributes:
        run: Name of the run or reference.
        recipe: Its recipe, or None.
        case: The gallery.
        query: The query.
        measures: What was measured.
        values: (m,) 0..1.
        replicates: (B, m) float32 the same on resampled galleries, NaN where nothing is relevant;
            None where the gallery is not resampled, and in closed form.
    """

    run: str
    recipe: str | None
    case: Case
    query: Query
    measures: tuple[Measure, ...]
    values: Floats
    replicates: NDArray[np.float32] | None


@dataclass(frozen=True)
class Asked:
    """One gallery a query is asked in.

    Attributes:
        case: Which.
        keep: (g,) groups in it.
        measures: What is measured.
        norms: What its sums are divided by.
        drawn_norms: The same of resampled galleries, or None.
    """

    case: Case
    keep: NDArray[np.bool_]
    measures: tuple[Measure, ...]
    norms: Norms
    drawn_norms: Norms | None

    @property
    def cuts(self) -> NDArray[np.int64]:
        """Cut-offs looked at, ascending."""
        return np.array(depths(self.measures), np.int64)


@dataclass(frozen=True)
class Target:
    """One query with all that is the same for every ranker.

    Attributes:
        query: The query.
        judgements: What it thinks of every group of documents.
        asked: The galleries that hold something relevant.
    """

    query: Query
    judgements: Judgements
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class Gallery:
    """Everything about the documents that no query changes.

    Attributes:
        groups: Their groups.
        measures: (sensor, source) -> what is measured in that gallery.
        discounts: (n,) discount of every rank.
        discount_sums: Sum of the first 0, 1, 2, ... discounts.
        resampling: Resampled galleries, or None.
        drawn_counts: (g, B) documents of each group in them, or None.
    """

    groups: Groups
    measures: dict[tuple[str, str | None], tuple[Measure, ...]]
    discounts: Floats
    discount_sums: Floats
    resampling: Resampling | None
    drawn_counts: NDArray[np.int64] | None

    @classmethod
    def of(cls, groups: Groups, drawn: Resampling | None = None) -> Gallery:
        """Return the gallery of some groups."""
        steps = discounts(groups.codes.size)
        return cls(
            groups,
            {place: measures(size) for place, size in gallery_sizes(groups).items()},
            steps,
            np.concatenate([[0.0], np.cumsum(steps)]),
            drawn,
            None if drawn is None else drawn.group_counts(groups.codes, groups.counts.size),
        )


def score(
    documents: Documents,
    queries: Sequence[Query],
    rankers: Sequence[Ranker],
    events: dict[str, EventFlags],
    progress: Progress,
    published: Grades | None = None,
    drawn: Resampling | None = None,
) -> list[Outcome]:
    """Return all outcomes; a query with nothing relevant in a gallery has none there.

    Args:
        documents: All patches that are ranked, of both sensors, in patch_id order.
        queries: The queries.
        rankers: What ranks; the random reference is added in closed form.
        events: Crisis class -> which documents are of seen and unseen events.
        progress: Told of every query.
        published: Query id -> patch_id -> grade: relevance of queries of kind `published`.
        drawn: Resampled galleries, for intervals; None: only the gallery itself.

    Raises:
        LandmarkError: A score is NaN.
    """
    gallery = Gallery.of(group(documents, events), drawn)
    outcomes: list[Outcome] = []
    progress.start("Evaluating", len(queries) * len(rankers))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for block in query_blocks(queries, len(documents)):
            targets = list(
                pool.map(lambda query: _target(query, gallery, documents, published or {}), block)
            )
            for target in targets:
                outcomes.extend(_random(target, gallery))
            for ranker in rankers:
                table = ranker.many(block)

                def measured(
                    place: int,
                    ranker: Ranker = ranker,
                    table: NDArray[np.float32] = table,
                    targets: list[Target] = targets,
                ) -> list[Outcome]:
                    return list(_ranked(ranker, table[place], targets[place], gallery))

                for found in pool.map(measured, range(len(block))):
                    outcomes.extend(found)
                    progress.advance()
    progress.finish()
    return outcomes


def query_blocks(queries: Sequence[Query], documents: int) -> Iterator[Sequence[Query]]:
    """Yield the queries in blocks whose scores take at most `SCORE_BYTES`."""
    size = max(1, SCORE_BYTES // (4 * max(documents, 1)))
    for start in range(0, len(queries), size):
        yield queries[start : start + size]


def _target(query: Query, gallery: Gallery, documents: Documents, published: Grades) -> Target:
    counts = gallery.drawn_counts
    if query.kind == PUBLISHED:
        ids = documents.table["patch_id"].to_pylist()
        found = published_judgements(ids, published.get(query.id, {}))
        own = judge_published(gallery.groups, *found)
        if gallery.resampling is not None:
            counts = gallery.resampling.group_counts(own.codes, own.counts.size)
    else:
        own = judge(query, gallery.groups)
    asked = (
        _asked(case, keep, own, counts, gallery)
        for case, keep in own.cases
        if own.counts[keep & own.relevant].any()
    )
    return Target(query, own, tuple(asked))


def _asked(
    case: Case,
    keep: NDArray[np.bool_],
    own: Judgements,
    drawn_counts: NDArray[np.int64] | None,
    gallery: Gallery,
) -> Asked:
    wanted = gallery.measures[case.sensor, case.source]
    cuts, drawn = depths(wanted), None
    if gallery.resampling is not None and drawn_counts is not None:
        counts = np.where(keep[:, None], drawn_counts, 0)
        drawn = norms(own, counts, cuts, gallery.resampling.discounts)
    plain = norms(own, np.where(keep, own.counts, 0), cuts, gallery.discount_sums)
    return Asked(case, keep, wanted, plain, drawn)


def _random(target: Target, gallery: Gallery) -> Iterator[Outcome]:
    for asked in target.asked:
        values = of_random(asked.norms, asked.measures, gallery.discount_sums)
        yield Outcome(RANDOM, None, asked.case, target.query, asked.measures, values, None)


def _ranked(
    ranker: Ranker, scores: NDArray[np.float32], target: Target, gallery: Gallery
) -> Iterator[Outcome]:
    refuse_nan(scores)
    order = order_of(np.ascontiguousarray(scores, np.float32))
    ranked = target.judgements.codes[order]
    blocks = None if gallery.resampling is None else gallery.resampling.blocks[order]
    # Where everything is judged, or all events are seen, galleries repeat.
    known: dict[tuple[bytes, tuple[Measure, ...]], tuple[Floats, NDArray[np.float32] | None]] = {}
    for asked in target.asked:
        key = asked.keep.tobytes(), asked.measures
        if key not in known:
            values = _values(ranked, asked, target.judgements, gallery)
            drawn = None
            if blocks is not None:
                drawn = _replicates(ranked, blocks, asked, target.judgements, gallery)
            known[key] = values, drawn
        yield Outcome(
            ranker.run, ranker.recipe, asked.case, target.query, asked.measures, *known[key]
        )


def _values(
    ranked: NDArray[np.int32], asked: Asked, own: Judgements, gallery: Gallery
) -> NDArray[np.float64]:
    sums = ranked_sums(
        ranked,
        asked.keep,
        own.relevant,
        own.grades,
        int(asked.norms.relevant),
        asked.cuts,
        gallery.discounts,
    )
    return of_sums(sums, asked.norms, asked.measures)


def _replicates(
    ranked: NDArray[np.int32],
    blocks: NDArray[np.int32],
    asked: Asked,
    own: Judgements,
    gallery: Gallery,
) -> NDArray[np.float32]:
    drawn, found = gallery.resampling, asked.drawn_norms
    assert drawn is not None
    assert found is not None
    sums = replicate_sums(
        ranked,
        blocks,
        drawn.weights,
        asked.keep,
        own.relevant,
        own.grades,
        found.relevant,
        asked.cuts,
        drawn.discounts,
        drawn.harmonics,
    )
    return of_sums(sums, found, asked.measures).T.astype(np.float32)
