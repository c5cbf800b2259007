from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from baselines.documents import Documents, read_documents
from baselines.queries import Query
from baselines.rankers import ProbabilityRanker, VectorRanker, log_probability
from baselines.references import FACT_COLUMNS, label_frequency, source_shortcut
from landmark.taxonomy import CLASSES
from tests.baselines.tiny_dataset import Patch, make_dataset, mask

WATER, CROPS = CLASSES.index("Water"), CLASSES.index("Crops")
MAY, AUGUST = (dt.datetime(2023, month, 3, tzinfo=dt.UTC) for month in (5, 8))


def documents_of(root: Path, train: list[Patch], corpus: list[Patch]) -> tuple[Documents, ...]:
    dataset = make_dataset(root, {"train": train, "corpus": corpus})
    return tuple(read_documents(dataset, split, FACT_COLUMNS) for split in ("train", "corpus"))


def test_label_frequency_is_the_share_of_known_train_patches_per_sensor(tmp_path: Path) -> None:
    water, crops = mask("Water"), mask("Crops")
    train = [
        *(Patch(f"a{i}", "s1", water) for i in range(30)),
        *(Patch(f"b{i}", "s1", crops) for i in range(10)),
        *(Patch(f"c{i}", "s1", crops, known_mask=crops) for i in range(40)),  # water unknown
        *(Patch(f"d{i}", "s2", crops) for i in range(20)),
    ]
    corpus = [Patch("x", "s1", water), Patch("y", "s2", water), Patch("z", "s1", crops)]
    known, ranked = documents_of(tmp_path, train, corpus)
    frequency = label_frequency(known, ranked)
    prior = (30 + 0.5) / (60 + 1)  # over both sensors
    assert frequency[:, WATER] == pytest.approx(
        [(30 + prior) / 41, (0 + prior) / 21, (30 + prior) / 41]
    )
    # Nothing but the sensor counts: x and z tie whatever they show.
    assert (frequency[0] == frequency[2]).all()


def test_source_shortcut_groups_train_by_facts_and_falls_back_to_the_sensor(
    tmp_path: Path,
) -> None:
    water, crops = mask("Water"), mask("Crops")
    train = [
        *(Patch(f"a{i}", "s2", water, facts={"datetime": MAY}) for i in range(20)),
        *(Patch(f"b{i}", "s2", crops, facts={"datetime": AUGUST}) for i in range(20)),
    ]
    corpus = [
        Patch("may", "s2", crops, facts={"datetime": MAY}),
        Patch("new", "s2", crops, facts={"datetime": MAY, "collection": "never seen"}),
        Patch("august", "s2", water, facts={"datetime": AUGUST}),
    ]
    known, ranked = documents_of(tmp_path, train, corpus)
    names = ranked.table["patch_id"].to_pylist()
    scores = dict(zip(names, source_shortcut(known, ranked)[:, WATER], strict=True))
    # The shortcut follows the month, not what the patch shows.
    assert scores["may"] > 0.95
    assert scores["august"] < 0.05
    frequency = dict(zip(names, label_frequency(known, ranked)[:, WATER], strict=True))
    assert scores["new"] == pytest.approx(frequency["new"])


def test_log_probability_is_a_product_over_wanted_and_lacked_classes() -> None:
    probabilities = np.full((3, 12), 0.5)
    probabilities[:, WATER] = [0.9, 0.2, 1.0]
    probabilities[:, CROPS] = [0.5, 0.25, 0.0]
    both = log_probability(probabilities, ["Water", "Crops"])
    assert np.exp(both[:2]) == pytest.approx([0.45, 0.05])
    only = log_probability(probabilities, ["Water"], absent=["Crops"])
    assert np.exp(only[:2]) == pytest.approx([0.45, 0.15])
    assert np.isfinite(both).all()
    assert np.isfinite(only).all()


def test_rankers_score_by_class_product_and_by_cosine() -> None:
    query = Query("q", "water", "single", ("Water",))
    probabilities = np.full((2, 12), 0.5, np.float32)
    probabilities[1, WATER] = 0.8
    assert np.exp(ProbabilityRanker("r", None, probabilities).scores(query)) == pytest.approx(
        [0.5, 0.8]
    )
    vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
    ranker = VectorRanker("r", "clip", vectors, {"q": np.array([0, 1], np.float32)})
    assert ranker.scores(query) == pytest.approx([0, 0.8])
