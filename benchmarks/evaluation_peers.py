"""The same scores by other libraries, from the same vectors and label masks.

Each peer gets the strongest form it offers: ranx its dictionaries, ir-measures an evaluator of
pytrec_eval, torchmetrics its functions on whole lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
import ranx
import torch
from ir_measures import AP, R, Rprec, nDCG
from numpy.typing import NDArray
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_normalized_dcg,
    retrieval_r_precision,
    retrieval_recall,
)

from baselines.queries import Query
from landmark.relevance import jaccard, relevant

CUTS = (10, 100, 1000)
Evaluators = dict[str, ir_measures.Evaluator]
#: Values by the names our rows use: (relevance, metric, k).
Key = tuple[str, str, int | None]
Values = dict[str, dict[Key, float]]


@dataclass(frozen=True)
class Material:
    """What is evaluated.

    Attributes:
        vectors: (n, d) float32 unit vectors.
        texts: Query id -> (d,) float32 unit vector.
        labels: (n,) uint16 label masks.
        ids: Patch ids, ascending.
        queries: The queries.
    """

    vectors: NDArray[np.float32]
    texts: dict[str, NDArray[np.float32]]
    labels: NDArray[np.uint16]
    ids: list[str]
    queries: tuple[Query, ...]

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return (q, n) cosines, in one matrix product."""
        return np.stack([self.texts[query.id] for query in queries]) @ self.vectors.T

    def gains(self, query: Query) -> dict[str, NDArray[np.int64]]:
        """Return relevance -> (n,) gains, graded ones in whole percents as TREC files hold them."""
        masks = query.wanted_mask, query.absent_mask
        graded = np.rint(100 * jaccard(self.labels, *masks)).astype(np.int64)
        return {"binary": relevant(self.labels, *masks).astype(np.int64), "graded": graded}

    def qrels(self, query: Query, relevance: str) -> dict[str, int]:
        """Return patch_id -> gain of the patches with any."""
        gains = self.gains(query)[relevance]
        rows = np.flatnonzero(gains)
        ids = self.ids
        return dict(zip((ids[row] for row in rows.tolist()), gains[rows].tolist(), strict=True))

    def run(self, scores: NDArray[np.float32], top: int | None) -> dict[str, float]:
        """Return patch_id -> score, of all patches or of the best."""
        if top is None or top >= scores.size:
            return dict(zip(self.ids, scores.tolist(), strict=True))
        best = np.argpartition(-scores, top)[:top]
        ids = self.ids
        return dict(zip((ids[row] for row in best.tolist()), scores[best].tolist(), strict=True))


def of_ranx(material: Material, queries: Sequence[Query], top: int | None = None) -> Values:
    """Return what ranx finds, qrels and runs built on the way."""
    return ranx_with(ranx_qrels(material, queries), material, queries, top)


def ranx_qrels(material: Material, queries: Sequence[Query]) -> dict[str, ranx.Qrels]:
    return {
        relevance: ranx.Qrels({q.id: material.qrels(q, relevance) for q in queries})
        for relevance in ("binary", "graded")
    }


def ranx_with(
    qrels: dict[str, ranx.Qrels], material: Material, queries: Sequence[Query], top: int | None
) -> Values:
    table = material.scores(queries)
    lines = {q.id: material.run(own, top) for q, own in zip(queries, table, strict=True)}
    run = ranx.Run(lines)
    names: dict[str, Key] = {f"ndcg@{k}": ("binary", "ndcg", k) for k in CUTS}
    names |= {f"recall@{k}": ("binary", "recall", k) for k in CUTS}
    if top is None:
        names |= {"map": ("binary", "map", None), "ndcg": ("binary", "ndcg", None)}
        names |= {"r-precision": ("binary", "r_precision", None)}
    graded: dict[str, Key] = {f"ndcg@{k}": ("graded", "ndcg", k) for k in CUTS}
    values: Values = {query.id: {} for query in queries}
    for relevance, own in (("binary", names), ("graded", graded)):
        ranx.evaluate(qrels[relevance], run, list(own), make_comparable=False)
        for name, key in own.items():
            for query, value in run.scores[name].items():
                values[query][key] = float(value)
    return values


def of_ir_measures(material: Material, queries: Sequence[Query], top: int | None = None) -> Values:
    """Return what ir-measures finds through pytrec_eval, qrels built on the way."""
    return ir_measures_with(trec_evaluators(material, queries), material, queries, top)


def trec_evaluators(material: Material, queries: Sequence[Query]) -> Evaluators:
    provider = ir_measures.providers.registry["pytrec_eval"]
    whole = [AP, Rprec, nDCG, *(m @ k for m in (nDCG, R) for k in CUTS)]
    asked = {"binary": whole, "graded": [nDCG @ k for k in CUTS]}
    return {
        relevance: provider.evaluator(
            measures, {q.id: material.qrels(q, relevance) for q in queries}
        )
        for relevance, measures in asked.items()
    }


def ir_measures_with(
    evaluators: Evaluators,
    material: Material,
    queries: Sequence[Query],
    top: int | None,
) -> Values:
    table = material.scores(queries)
    run = {q.id: material.run(own, top) for q, own in zip(queries, table, strict=True)}
    plain = {"AP": "map", "Rprec": "r_precision", "nDCG": "ndcg", "R": "recall"}
    values: Values = {query.id: {} for query in queries}
    for relevance, evaluator in evaluators.items():
        for found in evaluator.iter_calc(run):
            name, _, k = str(found.measure).partition("@")
            key = (relevance, plain[name], int(k) if k else None)
            if top is None or key[2] is not None:
                values[found.query_id][key] = float(found.value)
    return values


def of_torchmetrics(material: Material, queries: Sequence[Query]) -> Values:
    """Return what torchmetrics finds on whole lists."""
    values: Values = {}
    for query, own in zip(queries, material.scores(queries), strict=True):
        # It takes documents of score 0 or less for not retrieved; cosines are above -2.
        scores = torch.from_numpy(own + 2)
        gains = material.gains(query)
        truth, grades = torch.from_numpy(gains["binary"] > 0), torch.from_numpy(gains["graded"])
        found: dict[Key, torch.Tensor] = {
            ("binary", "map", None): retrieval_average_precision(scores, truth),
            ("binary", "r_precision", None): retrieval_r_precision(scores, truth),
            ("binary", "ndcg", None): retrieval_normalized_dcg(scores, truth),
        }
        for k in CUTS:
            found["binary", "ndcg", k] = retrieval_normalized_dcg(scores, truth, top_k=k)
            found["binary", "recall", k] = retrieval_recall(scores, truth, top_k=k)
            found["graded", "ndcg", k] = retrieval_normalized_dcg(scores, grades, top_k=k)
        values[query.id] = {key: float(value) for key, value in found.items()}
    return values
