from __future__ import annotations

import os
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from ir_measures import AP, R, Rprec, nDCG

from baselines import documents as evaluated
from baselines.queries import Query
from baselines.rankers import VectorRanker
from baselines.scoring import score
from harmonize.queries import Gallery, make_queries
from harmonize.relevance import (
    Documents,
    count_lines,
    remove_qrels,
    write_qrels,
)
from landmark.manifest import Queries
from landmark.progress import Silent
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


def test_evaluation_by_masks_equals_ir_measures_on_the_written_files(folder: Path) -> None:
    """The values of `evaluate` are those a TREC tool finds from the files alone."""
    count = len(IDS)
    scores = np.random.default_rng(1).permutation(count).astype(np.float32)
    table = {"patch_id": IDS, "sensor": ["s2"] * count}
    masks = {"label_mask": LABELS.astype(np.uint16), "known_mask": KNOWN.astype(np.uint16)}
    queries = [Query(q.id, q.text, q.kind, tuple(q.classes), tuple(q.absent)) for q in QUERIES]
    ranker = VectorRanker(
        "r", None, scores[:, None], {q.id: np.ones(1, np.float32) for q in QUERIES}
    )
    outcomes = score(evaluated.Documents(pa.table(table | masks)), queries, [ranker], {}, Silent())
    measures = [AP, Rprec, nDCG, nDCG @ 10, nDCG @ 100, R @ 10, R @ 100]
    run = [
        ir_measures.ScoredDoc(query.id, name, float(score))
        for query in QUERIES
        for name, score in zip(IDS, scores, strict=True)
    ]
    found: dict[tuple[str, str, object], float] = {}
    for relevance in ("binary", "graded"):
        qrels = list(ir_measures.read_trec_qrels(str(folder / f"{relevance}.tsv")))
        for value in ir_measures.iter_calc(measures, qrels, run):
            found[relevance, value.query_id, value.measure] = value.value
    compared = 0
    for one in outcomes:
        if one.run != "r" or one.case.judged or one.case.events != "all":
            continue
        for measure, value in zip(one.measures, one.values, strict=True):
            plain = {"map": AP, "ndcg": nDCG, "r_precision": Rprec, "recall": R}.get(measure.metric)
            if plain is None or measure.k not in (None, 10, 100):
                continue
            name = plain if measure.k is None else plain @ measure.k
            # The files hold whole percents of the overlap.
            exact = 1e-12 if measure.relevance == "binary" else 5e-3
            expected = found[measure.relevance, one.query.id, name]
            assert value == pytest.approx(expected, abs=exact)
            compared += 1
    answered = {key[1] for key in found if key[0] == "binary"}
    assert compared == 10 * len(answered)
