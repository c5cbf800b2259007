"""Metrics equal trec_eval's (through ir-measures); random expectations equal enumeration."""

from __future__ import annotations

import itertools
import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, R, Rprec, nDCG

from baselines import metrics
from landmark.errors import LandmarkError

CUTS = (1, 3, 10, 100)


def trec(scores: np.ndarray, gains: np.ndarray, measures: list) -> dict:
    """What trec_eval says. It breaks ties by falling document name, so names fall with position."""
    names = [f"d{len(scores) - i:05d}" for i in range(len(scores))]
    qrels = [ir_measures.Qrel("q", n, int(g)) for n, g in zip(names, gains, strict=True)]
    run = [ir_measures.ScoredDoc("q", n, float(s)) for n, s in zip(names, scores, strict=True)]
    provider = ir_measures.providers.registry["pytrec_eval"]
    return provider.calc_aggregate(measures, qrels, run)


@st.composite
def cases(draw: st.DrawFn, top_gain: int) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 60))
    levels = draw(st.integers(1, 12))  # few levels: many ties
    scores = draw(st.lists(st.integers(-levels, levels), min_size=n, max_size=n))
    gains = draw(st.lists(st.integers(0, top_gain), min_size=n, max_size=n))
    gains[draw(st.integers(0, n - 1))] = top_gain
    return np.array(scores, np.float32) / 4, np.array(gains)


@settings(max_examples=60, deadline=None)
@given(cases(top_gain=1))
def test_binary_metrics_equal_trec_eval_with_ties(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, gains = case
    ranked = gains.astype(bool)[metrics.ranking(scores)]
    relevant = int(gains.sum())
    expected = trec(scores, gains, [AP, Rprec, nDCG, *(m @ k for m in (AP, R, nDCG) for k in CUTS)])
    assert metrics.average_precision(ranked) == pytest.approx(expected[AP], abs=1e-12)
    assert metrics.r_precision(ranked) == pytest.approx(expected[Rprec], abs=1e-12)
    assert metrics.ndcg(ranked) == pytest.approx(expected[nDCG], abs=1e-12)
    for k in CUTS:
        # trec_eval divides AP@k by all relevant; ours by min(k, relevant).
        ours = metrics.average_precision_at(ranked, k) * min(k, relevant) / relevant
        assert ours == pytest.approx(expected[AP @ k], abs=1e-12)
        assert metrics.recall_at(ranked, k) == pytest.approx(expected[R @ k], abs=1e-12)
        assert metrics.ndcg(ranked, k) == pytest.approx(expected[nDCG @ k], abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(cases(top_gain=100))
def test_graded_ndcg_equals_trec_eval(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, gains = case
    ranked = gains[metrics.ranking(scores)] / 100
    expected = trec(scores, gains, [nDCG, *(nDCG @ k for k in CUTS)])
    assert metrics.ndcg(ranked) == pytest.approx(expected[nDCG], abs=1e-12)
    for k in CUTS:
        value = metrics.ndcg(ranked, k, metrics.ideal_order(ranked))
        assert value == pytest.approx(expected[nDCG @ k], abs=1e-12)


def test_ties_are_ranked_by_position() -> None:
    assert metrics.ranking(np.array([0.5, 0.9, 0.5, -0.0, 0.0])).tolist() == [1, 0, 2, 3, 4]


def test_average_precision_at_divides_by_the_smaller_of_k_and_relevant() -> None:
    ranked = np.array([True, True, False, True, True, True])
    assert metrics.average_precision_at(ranked, 2) == 1.0
    assert metrics.average_precision_at(ranked, 4) == pytest.approx((1 + 1 + 3 / 4) / 4)


def test_a_query_without_relevant_documents_has_no_value() -> None:
    nothing = np.zeros(4, bool)
    values = [
        metrics.average_precision(nothing),
        metrics.average_precision_at(nothing, 2),
        metrics.ndcg(nothing),
        metrics.r_precision(nothing),
        metrics.recall_at(nothing, 2),
        metrics.random_average_precision(4, 0),
        metrics.random_ndcg(metrics.ideal_order(nothing)),
        metrics.random_r_precision(4, 0),
        metrics.random_recall(4, 0, 2),
    ]
    assert all(math.isnan(value) for value in values)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(LandmarkError, match="NaN"):
        metrics.ranking(np.array([0.1, np.nan]))


@pytest.mark.parametrize(("documents", "relevant"), [(1, 1), (6, 1), (6, 3), (7, 7), (8, 4)])
def test_random_expectations_equal_the_mean_over_all_orders(documents: int, relevant: int) -> None:
    orders = []
    for places in itertools.combinations(range(documents), relevant):
        ranked = np.zeros(documents, bool)
        ranked[list(places)] = True
        orders.append(ranked)

    def mean(function: object, *args: int) -> float:
        return float(np.mean([function(ranked, *args) for ranked in orders]))  # type: ignore[operator]

    assert metrics.random_average_precision(documents, relevant) == pytest.approx(
        mean(metrics.average_precision)
    )
    assert metrics.random_r_precision(documents, relevant) == pytest.approx(
        mean(metrics.r_precision)
    )
    for k in (1, 2, 5, 20):
        assert metrics.random_average_precision(documents, relevant, k) == pytest.approx(
            mean(metrics.average_precision_at, k)
        )
        assert metrics.random_recall(documents, relevant, k) == pytest.approx(
            mean(metrics.recall_at, k)
        )
        assert metrics.random_ndcg(metrics.ideal_order(orders[0]), k) == pytest.approx(
            mean(metrics.ndcg, k)
        )


def test_random_graded_ndcg_equals_the_mean_over_all_orders() -> None:
    gains = np.array([1.0, 0.5, 0.25, 0.0, 0.0, 0.5])
    for k in (None, 1, 3):
        values = [metrics.ndcg(gains[list(order)], k) for order in itertools.permutations(range(6))]
        assert metrics.random_ndcg(metrics.ideal_order(gains), k) == pytest.approx(
            float(np.mean(values))
        )


def test_random_average_precision_equals_simulation() -> None:
    generator = np.random.default_rng(7)
    ranked = np.arange(300) < 40
    values = [metrics.average_precision(generator.permutation(ranked)) for _ in range(3000)]
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values) - metrics.random_average_precision(300, 40)) < 4 * error


def test_harmonic_numbers_equal_the_sum_on_both_sides_of_the_series() -> None:
    for n in (1, 2, 63, 64, 65, 1000, 100_000):
        assert metrics.harmonic(n) == pytest.approx(
            math.fsum(1 / i for i in range(1, n + 1)), 1e-14
        )
