"""Rows `RUN:search` of an evaluation: what a search by a run of vectors makes of the queries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines import concept_queries, evaluation
from baselines.evaluation import EvaluationResult, evaluate
from baselines.filters import Filters
from baselines.search import search
from landmark.dataset import Dataset
from landmark.errors import InputError
from tests.baselines.tiny_dataset import FakeRuns, make_dataset, random_patches, write_queries


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, FakeRuns]:
    splits = {"train": random_patches(12, "t", 5), "corpus": random_patches(20, "c", 6)}
    dataset = make_dataset(tmp_path / "data", splits)
    write_queries(dataset, [{"id": "w", "text": "water", "kind": "single", "classes": ["Water"]}])
    monkeypatch.setattr(evaluation, "_multilabel", lambda root, loaded: None)
    return dataset, FakeRuns(dataset.root, {"clip": "embedding"})


def value(result: EvaluationResult, run: str, sensor: str, queries: str = "single") -> float:
    """Return the mean average precision over queries of a kind."""
    (row,) = (
        row
        for row in result.rows
        if (row.run, row.sensor, row.queries, row.metric) == (run, sensor, queries, "map")
        and (row.events, row.judged, row.class_name) == ("all", False, None)
    )
    return row.value


def test_the_search_row_is_the_order_that_search_gives(
    tiny: tuple[Dataset, FakeRuns],
) -> None:
    dataset, runs = tiny
    query = {"id": "n", "text": "water without crops", "kind": "negation"}
    write_queries(dataset, [{**query, "classes": ["Water"], "absent": ["Crops"]}])
    result = evaluate(dataset.root, open_run=runs)
    asked = {"sensor": "s2", "queries": "negation"}
    found = search(dataset.root, query["text"], filters=Filters("s2"), top=100, open_run=runs).rows
    relevant = np.array([{"Water"} <= set(h.labels) and "Crops" not in h.labels for h in found])
    ranks = np.flatnonzero(relevant) + 1
    searched = value(result, "clip:search", **asked)
    assert searched == pytest.approx(np.mean(np.arange(1, len(ranks) + 1) / ranks), abs=1e-6)
    assert value(result, "clip", **asked) < searched
    assert {row.recipe for row in result.rows if row.run == "clip:search"} == {"clip"}


def test_a_text_that_search_refuses_is_asked_as_it_stands(tiny: tuple[Dataset, FakeRuns]) -> None:
    dataset, runs = tiny
    with pytest.raises(InputError, match="names nothing"):
        search(dataset.root, "without", open_run=runs)
    write_queries(dataset, [{"id": "n", "text": "without", "kind": "single", "classes": ["Water"]}])
    result = evaluate(dataset.root, open_run=runs)
    typed, searched = (value(result, run, sensor="s2") for run in ("clip", "clip:search"))
    assert typed == searched


def test_without_the_encoder_of_translations_the_search_row_is_left_out(
    tiny: tuple[Dataset, FakeRuns], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise InputError(f"text model {name} is not here")

    monkeypatch.setattr(concept_queries, "open_text_encoder", missing)
    dataset, runs = tiny
    query = {"id": "n", "text": "ponds", "kind": "single", "classes": ["Water"]}
    write_queries(dataset, [query])
    result = evaluate(dataset.root, open_run=runs)
    assert "clip:search" not in {row.run for row in result.rows}
    assert any(
        note.startswith("clip:search is left out: ") and "is not here" in note
        for note in result.notes
    )


def test_a_run_that_is_given_classes_has_no_search_row(tiny: tuple[Dataset, FakeRuns]) -> None:
    dataset, _ = tiny
    result = evaluate(dataset.root, open_run=FakeRuns(dataset.root, {"clip": "classes"}))
    assert "clip:search" not in {row.run for row in result.rows}
