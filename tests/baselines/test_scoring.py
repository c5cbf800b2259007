"""The engine behind evaluation, property by property against ir-measures and plain definitions."""

from __future__ import annotations

from itertools import product
from typing import Any

import ir_measures
import numpy as np
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
from baselines.groups import Case, group, judge
from baselines.measures import cut_offs, depths, measures
from baselines.ranked_kernels import order_of, ranked_sums, replicate_sums
from baselines.references import RANDOM
from baselines.resampling import resampling
from baselines.scoring import query_blocks
from landmark.errors import LandmarkError
from landmark.taxonomy import ALL_MASK, bit
from tests.baselines import plain_metrics as plain
from tests.baselines.galleries import QUERIES, Made, expected_gallery, galleries, made, ranked

PROVIDER = ir_measures.providers.registry["pytrec_eval"]


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
                for gain in [int(line[2]) if position == 2 else round(27720 * line[3])]
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
            # Jaccard grades over 12 classes are whole 1/27720ths, the grades TREC tools take.
            assert value == pytest.approx(other, abs=1e-9), measure


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
