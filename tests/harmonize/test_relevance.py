from __future__ import annotations

import os
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from baselines import metrics
from harmonize.queries import Gallery, make_queries
from harmonize.relevance import (
    Documents,
    binary_grades,
    count_lines,
    graded_grades,
    remove_qrels,
    write_qrels,
)
from landmark.manifest import Queries
from landmark.taxonomy import ALL_MASK, names_of

RNG = np.random.default_rng(4)
LABELS = (RNG.random((120, 12)) < 0.3) @ (1 << np.arange(12))
KNOWN = LABELS | ((RNG.random((120, 12)) < 0.8) @ (1 << np.arange(12)))
IDS = [f"p{i:03d}" for i in range(120)]
DOCUMENTS = Documents(IDS, Gallery(LABELS, KNOWN))
QUERIES = make_queries(
    DOCUMENTS.gallery, set(), Queries(max_combinations=12, negations=True), seed=0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qrels") / "qrels"
    write_qrels(folder, QUERIES, DOCUMENTS)
    return folder


def test_files_say_what_sets_of_classes_say(folder: Path) -> None:
    expected: dict[str, list[str]] = {"binary.tsv": [], "graded.tsv": []}
    for query in QUERIES:
        for name, label, known in zip(IDS, LABELS.tolist(), KNOWN.tolist(), strict=True):
            has, knows = set(names_of(label)), set(names_of(known & ALL_MASK))
            want, lack = set(query.classes), set(query.absent)
            refused = bool(has & lack) or not lack <= knows
            grade = 0 if refused else round(100 * len(has & want) / len(has | want))
            if want <= has and not refused:
                expected["binary.tsv"].append(f"{query.id}\t0\t{name}\t1")
            if grade:
                expected["graded.tsv"].append(f"{query.id}\t0\t{name}\t{grade}")
    for name, lines in expected.items():
        assert (folder / name).read_text().splitlines() == lines


def test_lines_are_counted_without_writing(folder: Path) -> None:
    lines = sum(len((folder / n).read_text().splitlines()) for n in ("binary.tsv", "graded.tsv"))
    assert count_lines(QUERIES, DOCUMENTS.gallery) == lines


def test_ir_measures_reads_them(folder: Path) -> None:
    qrels = list(ir_measures.read_trec_qrels(str(folder / "binary.tsv")))
    assert {q.query_id for q in qrels} == {query.id for query in QUERIES}
    # A ranking by relevance itself is perfect.
    run = [ir_measures.ScoredDoc(q.query_id, q.doc_id, float(q.relevance)) for q in qrels]
    assert ir_measures.calc_aggregate([ir_measures.AP], qrels, run)[ir_measures.AP] == 1.0
    graded = list(ir_measures.read_trec_qrels(str(folder / "graded.tsv")))
    assert {q.relevance for q in graded} <= set(range(1, 101))


def test_same_lines_are_not_written_again(folder: Path) -> None:
    os.utime(folder / "graded.tsv", ns=(1, 1))
    write_qrels(folder, QUERIES, DOCUMENTS)
    assert (folder / "graded.tsv").stat().st_mtime_ns == 1
    write_qrels(folder, QUERIES[:1], DOCUMENTS)
    assert (folder / "graded.tsv").stat().st_mtime_ns != 1
    write_qrels(folder, QUERIES, DOCUMENTS)


def test_removed_where_not_wanted(tmp_path: Path) -> None:
    write_qrels(tmp_path / "qrels", QUERIES, DOCUMENTS)
    remove_qrels(tmp_path / "qrels")
    assert not (tmp_path / "qrels").exists()


def test_metrics_by_masks_equal_ir_measures_on_the_written_files(folder: Path) -> None:
    """nDCG, AP and recall from masks are those a TREC tool finds from the files."""
    scores = np.random.default_rng(1).permutation(len(IDS)).astype(np.float32)
    order = metrics.ranking(scores)
    measures = [ir_measures.AP, ir_measures.nDCG, ir_measures.nDCG @ 10, ir_measures.R @ 20]
    run = [
        ir_measures.ScoredDoc(query.id, name, float(score))
        for query in QUERIES
        for name, score in zip(IDS, scores, strict=True)
    ]
    compared = 0
    for name, grades in (("binary.tsv", binary_grades), ("graded.tsv", graded_grades)):
        qrels = list(ir_measures.read_trec_qrels(str(folder / name)))
        found = {
            (value.query_id, value.measure): value.value
            for value in ir_measures.iter_calc(measures, qrels, run)
        }
        for query in QUERIES:
            gains = grades(query, DOCUMENTS.gallery)[order]
            if not gains.any():
                continue
            ours = {
                ir_measures.nDCG: metrics.ndcg(gains.astype(float)),
                ir_measures.nDCG @ 10: metrics.ndcg(gains.astype(float), 10),
                ir_measures.AP: metrics.average_precision(gains > 0),
                ir_measures.R @ 20: metrics.recall_at(gains > 0, 20),
            }
            for measure, value in ours.items():
                assert value == pytest.approx(found[query.id, measure], abs=1e-12)
                compared += 1
    assert compared >= 8 * len(QUERIES)
