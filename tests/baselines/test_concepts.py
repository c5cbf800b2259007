from __future__ import annotations

import math

import numpy as np
import pytest

from baselines.concepts import ConceptQuery, concept_scores
from baselines.translation import Request
from landmark.taxonomy import CLASSES


def request(wanted: list[int], absent: list[int] = []) -> Request:  # noqa: B006
    eye = np.eye(12)
    return Request(eye[wanted].reshape(-1, 12), eye[absent].reshape(-1, 12), (), 1.0)


def test_scores_are_those_of_the_formula() -> None:
    random = np.random.default_rng(0)
    p = random.uniform(0.05, 0.95, (5, 12))
    soft = random.dirichlet(np.ones(12), 2)
    asked = Request(soft, np.eye(12)[[3]], (), 1.0)
    for beta in (0.0, 0.4, 1.0):
        expected = []
        for row in p:
            q = [float(w @ row) for w in soft]
            rest = sum((1 - min(1, soft[:, k].sum())) * row[k] for k in range(12))
            overlap = math.log(sum(q) / (len(q) + rest))
            value = (1 - beta) * sum(map(math.log, q)) + beta * overlap
            expected.append(value + math.log(1 - row[3]))
        np.testing.assert_allclose(concept_scores(p, asked, beta), expected, rtol=1e-9)


def test_beta_is_the_dial_between_containment_and_overlap() -> None:
    bare, full = np.full(12, 0.01), np.full(12, 0.01)
    bare[0] = 0.9
    full[:6] = 0.91
    p = np.stack([bare, full])
    contained, overlap = (concept_scores(p, request([0]), beta) for beta in (0.0, 1.0))
    assert contained[1] > contained[0]
    assert overlap[0] > overlap[1]


def test_negated_phrases_alone_rank_by_absence() -> None:
    p = np.array([[0.9] * 12, [0.1] * 12])
    assert concept_scores(p, request([], [1])).tolist() == pytest.approx(
        [math.log(0.1), math.log(0.9)]
    )


def test_free_text_asks_the_embedding_too() -> None:
    described = np.concatenate([np.full((2, 12), 0.5), np.eye(2)], axis=1)
    vector = np.array([0.0, 1.0], np.float32)
    known = ConceptQuery(request([0]), vector, 10.0).scores(described)
    assert known[0] == known[1]
    far = Request(np.full((1, 12), 1 / 12), np.zeros((0, 12)), (CLASSES[0],), 0.05)
    free = ConceptQuery(far, vector, 10.0).scores(described)
    assert free[1] - free[0] == pytest.approx(0.3 * 10)
