"""The report's sections, and the gallery page."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines import evaluation
from baselines.evaluation import evaluate
from baselines.gallery import gallery_page
from baselines.queries import Query
from baselines.reporting import class_chart, class_rows, example_queries, sections
from baselines.search import search
from landmark.dataset import Dataset
from landmark.pages import Card, Cards, Figure, Page, Paragraph, Section, Table, render
from tests.baselines.tiny_dataset import (
    FakeRuns,
    make_dataset,
    random_patches,
    single_queries,
    write_queries,
)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, FakeRuns]:
    splits = {"train": random_patches(6, "t", 5), "corpus": random_patches(8, "c", 6)}
    dataset = make_dataset(tmp_path / "data", splits)
    write_queries(dataset, single_queries())
    monkeypatch.setattr(evaluation, "_multilabel", lambda root, loaded: None)
    return dataset, FakeRuns(dataset.root, {"clip": "embedding"})


def texts(section: Section) -> str:
    return " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_missing_parts_say_what_makes_them(tiny: tuple[Dataset, FakeRuns], tmp_path: Path) -> None:
    (section,) = sections(tmp_path / "nothing")
    assert "landmark train-baseline" in texts(section)
    dataset, runs = tiny
    (section,) = sections(dataset.root, open_run=runs)
    for words in ("No training curves", "landmark evaluate", "landmark search"):
        assert words in texts(section)


def test_a_run_shows_curves_scores_and_hits(tiny: tuple[Dataset, FakeRuns]) -> None:
    dataset, runs = tiny
    evaluate(dataset.root, open_run=runs)
    curves = b"\x89PNG stand-in"
    (dataset.runs / "clip" / "curves.png").write_bytes(curves)
    (section,) = sections(dataset.root, open_run=runs)
    figures = [block for block in section.blocks if isinstance(block, Figure)]
    assert figures[0].png == curves
    assert [figure.alt for figure in figures][1:] == [
        "average precision of run clip per class, Sentinel-1",
        "average precision of run clip per class, Sentinel-2",
    ]
    table, kinds = [block for block in section.blocks if isinstance(block, Table)]
    assert kinds.columns[:5] == ("queries", "run", "mAP", "low", "high")
    shown = {row[0] for row in kinds.rows}
    assert {"single"} <= shown <= {"single", "single, seen events", "single, unseen events"}
    clip = next(row for row in kinds.rows if row[:2] == ("single", "clip"))
    assert clip[3] <= clip[2] <= clip[4]
    assert "given a query's classes, not its words" in kinds.caption
    assert "as `:search` what search makes of it" in kinds.caption
    assert [row[0] for row in table.rows] == [
        "clip", "baseline:random", "baseline:label_frequency", "baseline:source_shortcut",
    ]  # fmt: skip
    hits = [block for block in section.blocks if isinstance(block, Cards)]
    assert [len(cards.cards) for cards in hits] == [5, 5]
    page = render(Page("t", "s", (section,)))
    assert "http" not in page.replace("http-equiv", "")


def test_the_chart_shows_bars_and_marks_and_is_deterministic(
    tiny: tuple[Dataset, FakeRuns],
) -> None:
    dataset, runs = tiny
    rows = [r for r in class_rows(evaluate(dataset.root, open_run=runs).rows) if r.sensor == "s2"]
    png = class_chart(rows, "clip")
    pixels = picture(png).reshape(-1, 3)
    bar, mark = (0x3B, 0x6E, 0xA5), (0xD1, 0x49, 0x5B)
    assert (pixels == bar).all(axis=1).sum() > 1000
    assert (pixels == mark).all(axis=1).sum() > 50
    assert class_chart(rows, "clip") == png


def test_the_gallery_page_shows_every_hit(tiny: tuple[Dataset, FakeRuns]) -> None:
    dataset, runs = tiny
    result = search(dataset.root, 'water <b>"&"', top=6, open_run=runs)
    page = gallery_page(dataset.root, result)
    (cards,) = [b for b in page.sections[0].blocks if isinstance(b, Cards)]
    assert len(cards.cards) == 6
    for card, hit in zip(cards.cards, result.rows, strict=True):
        assert isinstance(card, Card)
        assert picture(card.png).shape == (240, 240, 3)
        assert hit.patch_id in card.lines
        assert all(label in card.title for label in hit.labels)
        assert ("true colour" in card.alt) == (hit.sensor == "s2")
        assert "45.0000° N 9.0000° E" in card.lines
    html = render(page)
    assert "<b>" not in html
    assert html.count("data:image/png") == 6


def test_examples_are_a_combination_and_a_crisis_class() -> None:
    queries = [
        Query("a", "water", "single", ("Water",)),
        Query("b", "burned area", "single", ("Burned Area",)),
        Query("c", "water. trees", "combination", ("Water", "Trees")),
        Query("d", "flooded area. crops", "combination", ("Crops", "Flooded Area")),
    ]
    assert [query.id for query in example_queries(queries)] == ["d", "b"]
    assert [query.id for query in example_queries(queries[:2])] == ["b", "a"]
