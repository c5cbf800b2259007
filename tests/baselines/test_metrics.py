"""Ranking and its average precision; closed forms equal enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from baselines import metrics
from baselines.groups import Judgements
from baselines.measures import Measure, norms, of_random
from landmark.errors import LandmarkError
from tests.baselines import plain_metrics as plain


def random_ndcg(gains: np.ndarray, k: int | None, relevance: str) -> float:
    """The closed form as rows get it, with every document a group of its own."""
    count = gains.size
    own = Judgements(np.arange(count, dtype=np.int32), np.ones(count, int), gains > 0, gains, ())
    sums = np.concatenate([[0.0], np.cumsum(metrics.discounts(count))])
    found = norms(own, own.counts, () if k is None else (k,), sums)
    return float(of_random(found, (Measure(relevance, "ndcg", k),), sums)[0])


def test_ties_are_ranked_by_position() -> None:
    assert metrics.ranking(np.array([0.5, 0.9, 0.5, -0.0, 0.0])).tolist() == [1, 0, 2, 3, 4]


def test_average_precision_equals_its_definition() -> None:
    ranked = np.random.default_rng(1).random(50) < 0.3
    assert metrics.average_precision(ranked) == pytest.approx(plain.average_precision(ranked))


def test_a_query_without_relevant_documents_has_no_value() -> None:
    nothing = np.zeros(4, bool)
    values = [
        metrics.average_precision(nothing),
        metrics.random_average_precision(4, 0),
        metrics.random_r_precision(4, 0),
        metrics.random_recall(4, 0, 2),
        random_ndcg(nothing.astype(float), 2, "binary"),
        random_ndcg(nothing.astype(float), None, "graded"),
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

    def mean(function: object, *args: int | None) -> float:
        return float(np.mean([function(ranked, *args) for ranked in orders]))  # type: ignore[operator]

    found = metrics.random_average_precision(documents, relevant)
    assert found == pytest.approx(mean(plain.average_precision))
    assert metrics.random_r_precision(documents, relevant) == pytest.approx(mean(plain.r_precision))
    for k in (1, 2, 5, 20):
        found = metrics.random_average_precision(documents, relevant, k)
        assert found == pytest.approx(mean(plain.average_precision, k))
        found = metrics.random_recall(documents, relevant, k)
        assert found == pytest.approx(mean(plain.recall, k))
        found = random_ndcg(orders[0].astype(float), k, "binary")
        assert found == pytest.approx(mean(plain.ndcg, k))


def test_random_graded_ndcg_equals_the_mean_over_all_orders() -> None:
    gains = np.array([1.0, 0.5, 0.25, 0.0, 0.0, 0.5])
    for k in (None, 1, 3):
        values = [plain.ndcg(gains[list(order)], k) for order in itertools.permutations(range(6))]
        assert random_ndcg(gains, k, "graded") == pytest.approx(float(np.mean(values)))


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
