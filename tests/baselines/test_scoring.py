"""The engine behind evaluation, property by property against ir-measures and plain definitions.

Galleries are drawn with few score levels (many ties), unknown classes (unjudged patches), classes
nobody carries (queries without relevant patches), events, both sensors and two sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from ir_measures import AP, R, Rprec, nDCG
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_normalized_dcg,
    retrieval_r_precision,
)

from baselines import scoring
from baselines.documents import Documents, EventFlags
from baselines.groups import Case, group, judge, source_names
from baselines.measures import cut_offs, depths, measures
from baselines.queries import Query
from baselines.ranked_kernels import order_of, ranked_sums, replicate_sums
from baselines.references import RANDOM
from baselines.resampling import Resampling, interval, resampling
from baselines.scoring import Outcome, query_blocks, score
from landmark.errors import LandmarkError
from landmark.progress import Silent
from landmark.taxonomy import ALL_MASK, CLASSES, bit
from tests.baselines import plain_metrics as plain

QUERIES = (
    Query("water", "water", "single", ("Water",)),
    Query("flood", "flooded area", "single", ("Flooded Area",)),
    Query("nobody", "snow and ice", "single", ("Snow and Ice",)),  # no patch carries it
    Query("pair", "water. crops", "combination", ("Water", "Crops")),
    Query("wet", "flooded area. crops", "held_out", ("Flooded Area", "Crops")),
    Query("dry", "crops without water", "negation", ("Crops",), ("Water",)),
)
FLOOD = bit("Flooded Area")
PROVIDER = ir_measures.providers.registry["pytrec_eval"]


@dataclass(frozen=True)
class Stored:
    """A ranker with its scores ready."""

    table: np.ndarray
    run: str = "stored"
    recipe: str | None = None

    def scores(self, query: Query) -> np.ndarray:
        return self.table[QUERIES.index(query)]

    def many(self, queries: Any) -> np.ndarray:
        return np.stack([self.scores(query) for query in queries])


@dataclass(frozen=True)
class Made:
    documents: Documents
    events: dict[str, EventFlags]
    scores: np.ndarray
    blocks: np.ndarray

    def outcomes(self, drawn: Resampling | None = None) -> list[Outcome]:
        ranker = Stored(self.scores)
        return score(self.documents, QUERIES, [ranker], self.events, Silent(), drawn=drawn)


def made(labels: Any, known: Any, scores: Any, seed: int = 0) -> Made:
    """A gallery of random sensors, sources, flood events and blocks."""
    generator = np.random.default_rng(seed)
    n = len(labels)
    labels, known = np.asarray(labels, np.uint16), np.asarray(known, np.uint16)
    labels = labels & ~np.uint16(bit("Snow and Ice"))
    sources = generator.integers(2, size=n)
    table = pa.table(
        {
            "patch_id": [f"p{i:05d}" for i in range(n)],
            "sensor": generator.choice(["s1", "s2"], n).tolist(),
            "label_mask": labels,
            "known_mask": labels | known,
            "provenance": [{"provider": "p", "collection": f"c{source}"} for source in sources],
        }
    )
    seen = generator.random(n) < 0.4
    listed = generator.random(n) < 0.8
    events = {"Flooded Area": EventFlags(seen=listed & seen, unseen=listed & ~seen)}
    blocks = generator.choice(["a", "b", "c", "d"], n)
    return Made(Documents(table), events, np.asarray(scores, np.float32), blocks)


@st.composite
def galleries(draw: st.DrawFn) -> Made:
    n = draw(st.integers(1, 40))
    levels = draw(st.integers(1, 12))
    masks = arrays.arrays(np.uint16, n, elements=st.integers(0, ALL_MASK))
    scores = arrays.arrays(np.int64, (len(QUERIES), n), elements=st.integers(-levels, levels))
    some = draw(masks) & draw(masks)
    known = draw(st.one_of(st.just(np.full(n, ALL_MASK, np.uint16)), masks))
    return made(some, known, draw(scores) / 4, draw(st.integers(0, 1000)))


def classes(mask: int) -> set[str]:
    return {name for name in CLASSES if mask & bit(name)}


def expected_gallery(made: Made, query: Query, case: Case) -> list[tuple[str, float, bool, float]]:
    """(patch_id, score, relevant, grade) of every patch of one gallery, by sets of words."""
    scores = made.scores[QUERIES.index(query)]
    sources = source_names(made.documents)
    result = []
    for i, row in enumerate(made.documents.table.to_pylist()):
        has, knows = classes(row["label_mask"]), classes(row["known_mask"])
        want, lack = set(query.classes), set(query.absent)
        refused = bool(lack & has) or not lack <= knows
        relevant = want <= has and not refused
        grade = 0.0 if refused else len(want & has) / len(want | has)
        decided = want | lack <= knows or bool(want & (knows - has)) or bool(lack & has)
        flags = made.events["Flooded Area"]
        of_stratum = {"all": True, "seen": flags.seen[i], "unseen": flags.unseen[i]}[case.events]
        carries = "Flooded Area" in want & has
        if (
            case.sensor in (row["sensor"], "both")
            and case.source in (None, sources[i])
            and (not carries or of_stratum)
            and (decided or not case.judged)
        ):
            result.append((row["patch_id"], float(scores[i]), relevant, grade))
    return result


def ranked(gallery: list[tuple[str, float, bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    best_first = sorted(gallery, key=lambda line: (-line[1], line[0]))
    return np.array([g[2] for g in best_first]), np.array([g[3] for g in best_first])


@settings(max_examples=20)
@given(galleries())
def test_every_value_is_what_the_definitions_say(made: Made) -> None:
    outcomes = [one for one in made.outcomes() if one.run != RANDOM]
    found = {(one.query.id, one.case): one for one in outcomes}
    assert len(found) == len(outcomes)
    held = {row["sensor"] for row in made.documents.table.to_pylist()}
    sensors = ("s1", "s2", "both") if len(held) == 2 else tuple(held)
    for query, sensor, events, is_judged in product(
        QUERIES, sensors, ("all", "seen", "unseen"), (False, True)
    ):
        if events != "all" and "Flooded Area" not in query.classes:
            assert (query.id, Case(sensor, events, is_judged)) not in found
            continue
        gallery = expected_gallery(made, query, Case(sensor, events, is_judged))
        one = found.get((query.id, Case(sensor, events, is_judged)))
        if not any(line[2] for line in gallery):
            assert one is None
            continue
        assert one is not None
        relevant, grades = ranked(gallery)
        for measure, value in zip(one.measures, one.values, strict=True):
            expected = plain.value_of(
                measure.relevance, measure.metric, measure.k, relevant, grades
            )
            assert value == pytest.approx(expected, abs=1e-12), measure


@settings(max_examples=12)
@given(galleries())
def test_values_equal_ir_measures(made: Made) -> None:
    """trec_eval breaks ties by falling name, so names fall with position."""
    for one in made.outcomes():
        if one.run == RANDOM:
            continue
        gallery = expected_gallery(made, one.query, one.case)
        names = [f"d{len(gallery) - i:05d}" for i in range(len(gallery))]
        run = [ir_measures.ScoredDoc("q", n, g[1]) for n, g in zip(names, gallery, strict=True)]
        # Half of what is not relevant is left out of the qrels, as TREC pools leave it out.
        binary, graded = (
            [
                ir_measures.Qrel("q", name, gain)
                for i, (name, line) in enumerate(zip(names, gallery, strict=True))
                for gain in [int(line[2]) if position == 2 else round(60 * 77 * line[3])]
                if gain or i % 2
            ]
            for position in (2, 3)
        )
        cuts = [m.k for m in one.measures if m.metric == "recall"]
        asked = [AP, Rprec, nDCG, *(m @ k for m in (AP, R, nDCG) for k in cuts)]
        expected = PROVIDER.calc_aggregate(asked, binary, run)
        by_grade = PROVIDER.calc_aggregate([nDCG, *(nDCG @ k for k in cuts)], graded, run)
        relevant = sum(line[2] for line in gallery)
        for measure, value in zip(one.measures, one.values, strict=True):
            match measure.metric, measure.k:
                case "map", _:
                    other = expected[AP]
                case "map_at", int(k):  # trec_eval divides by all relevant
                    other = expected[AP @ k] * relevant / min(k, relevant)
                case "r_precision", _:
                    other = expected[Rprec]
                case "recall", k:
                    other = expected[R @ k]
                case _, k:
                    own = expected if measure.relevance == "binary" else by_grade
                    other = own[nDCG if k is None else nDCG @ k]
            # Jaccard grades over 12 classes are not all whole 1/4620ths: rounding moves nDCG a bit.
            exact = 1e-9 if measure.relevance == "binary" else 2e-4
            assert value == pytest.approx(other, abs=exact), measure


@settings(max_examples=25)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_values_equal_torchmetrics_where_it_knows_no_ties(flags: list[bool], random: Any) -> None:
    import torch

    # torchmetrics takes documents of score 0 or less for not retrieved.
    scores = list(range(1, len(flags) + 1))
    random.shuffle(scores)
    labels = np.where(flags, bit("Water"), bit("Trees"))
    own = made(labels, np.full(len(flags), ALL_MASK), np.tile(scores, (len(QUERIES), 1)))
    for one in own.outcomes():
        if one.run == RANDOM or one.query.id != "water" or one.case.judged:
            continue
        gallery = expected_gallery(own, one.query, one.case)
        pair = torch.tensor([line[1] for line in gallery]), torch.tensor([g[2] for g in gallery])
        for measure, value in zip(one.measures, one.values, strict=True):
            if measure.relevance == "binary" and measure.metric == "map":
                assert value == pytest.approx(float(retrieval_average_precision(*pair)), abs=1e-5)
            elif measure.relevance == "binary" and measure.metric == "r_precision":
                assert value == pytest.approx(float(retrieval_r_precision(*pair)), abs=1e-5)
            elif measure.relevance == "binary" and measure.metric == "ndcg":
                theirs = retrieval_normalized_dcg(*pair, top_k=measure.k)
                assert value == pytest.approx(float(theirs), abs=1e-5)


@settings(max_examples=40)
@given(
    arrays.arrays(
        np.float32,
        st.integers(0, 300),
        elements=st.floats(-4, 4, width=32, allow_subnormal=True) | st.sampled_from([0.0, -0.0]),
    )
)
def test_the_order_is_the_stable_one(scores: np.ndarray) -> None:
    assert order_of(scores).tolist() == np.argsort(-scores, kind="stable").tolist()


def test_infinite_and_huge_scores_have_their_place() -> None:
    scores = np.array([1, -np.inf, np.inf, 3e38, -3e38, 1e-45, -1e-45], np.float32)
    assert order_of(scores).tolist() == [2, 3, 0, 5, 6, 4, 1]


def test_a_score_that_is_no_number_is_refused() -> None:
    own = made([1, 1], [ALL_MASK] * 2, np.full((len(QUERIES), 2), np.nan))
    with pytest.raises(LandmarkError, match="NaN"):
        own.outcomes()


@settings(max_examples=12)
@given(galleries())
def test_a_replicate_is_the_metric_of_the_repeated_gallery(made: Made) -> None:
    """A resampled gallery holds every patch of a block as often as the block was drawn."""
    drawn = resampling(made.blocks, 6)
    if drawn is None:
        return
    names = np.unique(made.blocks)
    place = {row: i for i, row in enumerate(made.documents.table["patch_id"].to_pylist())}
    for one in made.outcomes(drawn):
        if one.run == RANDOM:
            assert one.replicates is None
            continue
        assert one.replicates is not None
        gallery = expected_gallery(made, one.query, one.case)
        for b, values in enumerate(one.replicates):
            times = dict(zip(names, drawn.weights[:, b], strict=True))
            repeated = [line for line in gallery for _ in range(times[made.blocks[place[line[0]]]])]
            relevant, grades = ranked(repeated)
            for measure, value in zip(one.measures, values, strict=True):
                if not relevant.any():
                    assert measure.relevance == "graded" or np.isnan(value)
                    continue
                expected = plain.value_of(
                    measure.relevance, measure.metric, measure.k, relevant, grades
                )
                assert value == pytest.approx(expected, abs=1e-6), measure


def test_sources_are_galleries_of_their_own() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 4096, 60) & generator.integers(0, 4096, 60)
    own = made(labels, np.full(60, ALL_MASK), generator.random((len(QUERIES), 60)))
    apart = [one for one in own.outcomes() if one.case.source and one.run == "stored"]
    assert {(o.case.sensor, o.case.source) for o in apart} == set(
        product(("s1", "s2"), ("p/c0", "p/c1"))
    )
    for one in apart:
        relevant, grades = ranked(expected_gallery(own, one.query, one.case))
        for measure, value in zip(one.measures, one.values, strict=True):
            expected = plain.value_of(
                measure.relevance, measure.metric, measure.k, relevant, grades
            )
            assert value == pytest.approx(expected, abs=1e-12)


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 4096, 50)
    own = made(labels, np.full(50, ALL_MASK), generator.random((len(QUERIES), 50)))
    whole = {(o.run, o.query.id, o.case): o.values for o in own.outcomes()}
    monkeypatch.setattr(scoring, "SCORE_BYTES", 2 * 4 * 50)
    assert [len(block) for block in query_blocks(QUERIES, 50)] == [2, 2, 2]
    for one in own.outcomes():
        assert (one.values == whole[one.run, one.query.id, one.case]).all()


def test_groups_hold_every_document_once() -> None:
    generator = np.random.default_rng(5)
    own = made(generator.integers(0, 4, 200), generator.integers(0, 8, 200), np.zeros((6, 200)))
    groups = group(own.documents, own.events)
    assert groups.counts.sum() == 200
    assert len(groups.counts) < 200
    assert (groups.labels[groups.codes] == own.documents.label_masks).all()
    assert (groups.known[groups.codes] == own.documents.known_masks).all()
    assert (groups.sensors[groups.codes] == own.documents.sensors).all()
    for flag in ("seen", "unseen"):
        per_group = getattr(groups.events["Flooded Area"], flag)[groups.codes]
        assert (per_group == getattr(own.events["Flooded Area"], flag)).all()


def test_cut_offs_are_the_published_ones_and_their_share_of_the_gallery() -> None:
    assert cut_offs(517_442) == (10, 100, 1000)
    assert cut_offs(51_744) == (1, 10, 100, 1000)
    assert cut_offs(2000) == (1, 4, 10, 100, 1000)
    assert cut_offs(50) == (1, 10)
    assert depths(measures(2000)) == (1, 4, 10, 100, 1000)


def test_resampling_draws_whole_blocks_and_the_same_ones_again() -> None:
    blocks = np.array(["b", "a", "b", "c"])
    drawn = resampling(blocks, 50)
    assert drawn is not None
    assert (drawn.weights.sum(axis=0) == 3).all()
    assert drawn.blocks.tolist() == [1, 0, 1, 2]
    again = resampling(blocks, 50)
    assert again is not None
    assert (again.weights == drawn.weights).all()
    assert resampling(np.array(["a", "a"])) is None


def test_an_interval_over_queries_alone_is_the_percentile_bootstrap() -> None:
    queries = [Query(f"q{i}", "t", "single", ("Water",)) for i in range(40)]
    values = np.random.default_rng(6).random((40, 1))
    ends = interval(values, None, queries)
    assert ends is not None
    low, high = float(ends[0][0]), float(ends[1][0])
    # Normal theory: mean +- 1.645 standard errors.
    error = values.std() / np.sqrt(40)
    assert low == pytest.approx(values.mean() - 1.645 * error, abs=0.3 * error)
    assert high == pytest.approx(values.mean() + 1.645 * error, abs=0.3 * error)
    assert interval(values[:1], None, queries[:1]) is None


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Many galleries of correlated blocks: patches of a block share their luck."""
    generator = np.random.default_rng(8)
    query = QUERIES[0]
    truth, covered, rounds = [], 0, 120
    ends = []
    for _ in range(rounds):
        luck = np.repeat(generator.normal(0, 0.7, 30), 12)
        relevant = generator.random(360) < 0.3
        scores = 1.0 * relevant + luck + generator.normal(0, 0.7, 360)
        labels = np.where(relevant, bit("Water"), bit("Trees"))
        own = made(labels, np.full(360, ALL_MASK), np.tile(scores, (len(QUERIES), 1)))
        drawn = resampling(np.repeat([f"b{i:02d}" for i in range(30)], 12), 100)
        (one,) = [
            o
            for o in own.outcomes(drawn)
            if o.query == query and o.run == "stored" and o.case == Case("both", "all", False)
        ]
        truth.append(one.values[0])
        found = interval(one.values[None], one.replicates[None], [query])
        ends.append((found[0][0], found[1][0]))
    mean = float(np.mean(truth))
    covered = sum(low <= mean <= high for low, high in ends)
    assert 0.78 <= covered / rounds <= 0.98


def test_kernels_run_as_plain_python_too() -> None:
    """What numba compiles is what the source says (and coverage can see it)."""
    generator = np.random.default_rng(9)
    labels = generator.integers(0, 4096, 25) & generator.integers(0, 4096, 25)
    own = made(labels, np.full(25, ALL_MASK), generator.integers(0, 5, (len(QUERIES), 25)) / 2)
    judged = judge(QUERIES[0], group(own.documents, own.events))
    scores = own.scores[0]
    order = order_of.py_func(scores)
    assert order.tolist() == order_of(scores).tolist()
    codes = judged.codes[order]
    keep = np.ones(judged.counts.size, bool)
    cuts = np.array([3, 10], np.int64)
    steps = 1 / np.log2(np.arange(2, 60))
    same = (codes, keep, judged.relevant, judged.grades, 4, cuts, steps)
    assert ranked_sums.py_func(*same) == pytest.approx(ranked_sums(*same))
    drawn = resampling(own.blocks, 5)
    assert drawn is not None
    rest = (keep, judged.relevant, judged.grades, np.full(5, 4), cuts)
    tables = (drawn.discounts, drawn.harmonics)
    same_drawn = (codes, drawn.blocks[order], drawn.weights, *rest, *tables)
    assert replicate_sums.py_func(*same_drawn) == pytest.approx(replicate_sums(*same_drawn))
