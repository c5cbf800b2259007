from __future__ import annotations

import itertools

import numpy as np
import pytest

from baselines.likeness import LikeQuestion, agreement
from baselines.phrases import Ignored
from baselines.translation import Reading, Request
from baselines.understanding import lines_of


def test_agreement_is_the_probability_of_equal_label_sets() -> None:
    random = np.random.default_rng(0)
    p, q = random.uniform(0.05, 0.95, (2, 4))
    expected = 0.0
    for bits in itertools.product([0, 1], repeat=4):
        chosen = np.array(bits, bool)
        expected += np.where(chosen, p, 1 - p).prod() * np.where(chosen, q, 1 - q).prod()
    assert np.exp(agreement(p[None], q)[0]) == pytest.approx(expected)


def test_vectors_are_compared_by_cosine() -> None:
    own = np.array([0.6, 0.8], np.float32)
    scores = LikeQuestion(own, "embedding").scores(np.array([[0.6, 0.8], [0.8, -0.6]]))
    assert scores == pytest.approx([1, 0], abs=1e-6)


def test_a_search_says_what_it_understood_and_what_it_ignored() -> None:
    readings = (
        Reading("Water", ("Water",), False, "name", 1.0),
        Reading("cornfields", ("Crops",), False, "meaning", 0.64),
        Reading("chess", (), False, "free", 0.2),
        Reading("forest", ("Trees",), True, "synonym", 1.0),
    )
    ignored = (Ignored("next to", "is not understood"), Ignored("near", "is not understood"))
    request = Request(np.eye(12)[:2], np.eye(12)[[1]], (), 0.2, readings, ignored)
    assert lines_of(request, "embedding") == (
        'looking for Water, Crops ("cornfields": by meaning)',
        'without Trees ("forest": synonym)',
        'near no class: "chess" (asked as free text, which counts for less)',
        'ignored "next to", "near": is not understood',
    )
    assert "left out" in lines_of(request, "classes")[2]
