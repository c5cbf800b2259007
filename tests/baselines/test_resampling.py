"""Replicates of galleries whose blocks are drawn anew, and the intervals they give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from baselines.groups import Case
from baselines.queries import Query
from baselines.references import RANDOM
from baselines.resampling import interval, resampling
from landmark.taxonomy import ALL_MASK, bit
from tests.baselines import plain_metrics as plain
from tests.baselines.galleries import QUERIES, Made, expected_gallery, galleries, made, ranked


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
