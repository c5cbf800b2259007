from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, Rprec, nDCG

from baselines import evaluation
from baselines.documents import read_documents
from baselines.embedding import align, embed
from baselines.evaluation import EvaluationResult, EvaluationRow, evaluate, read_evaluation
from baselines.headline import headline
from baselines.metrics import random_average_precision
from baselines.queries import read_queries
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.taxonomy import ALL_MASK, CLASSES, bit
from tests.baselines.tiny_dataset import (
    FakeRuns,
    Patch,
    make_dataset,
    mask,
    random_patches,
    single_queries,
    write_queries,
)

COMBINATION = {
    "id": "pair",
    "text": "flooded area and water",
    "kind": "combination",
    "classes": ["Flooded Area", "Water"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = {"train": random_patches(12, "t", 5), "corpus": random_patches(20, "c", 6)}
    dataset = make_dataset(tmp_path_factory.mktemp("made") / "data", splits)
    write_queries(dataset, [*single_queries(), COMBINATION])
    return dataset.root


@pytest.fixture
def tiny(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, FakeRuns]:
    dataset = Dataset(shutil.copytree(made, tmp_path / "data"))
    # The folders of fake runs hold no real config to look for a multilabel run in.
    monkeypatch.setattr(evaluation, "_multilabel", lambda root, loaded: None)
    return dataset, FakeRuns(dataset.root, {"clip": "embedding"})


def pick(rows: tuple[EvaluationRow, ...], **wanted: Any) -> list[EvaluationRow]:
    full = {"events": "all", "relevance": "binary", "judged": False, "k": None, **wanted}
    return [row for row in rows if all(getattr(row, key) == full[key] for key in full)]


def one(result: EvaluationResult, **wanted: Any) -> EvaluationRow:
    (row,) = pick(result.rows, **wanted)
    return row


@pytest.mark.parametrize("sensor", ["s1", "s2", "both"])
def test_values_equal_trec_eval_over_every_query(
    tiny: tuple[Dataset, FakeRuns], sensor: str
) -> None:
    dataset, runs = tiny
    result = evaluate(dataset.root, open_run=runs)
    documents = read_documents(dataset, "corpus").of_sensor(sensor)
    loaded = runs(dataset.root, "clip")
    sensors = ("s1", "s2") if sensor == "both" else (sensor,)
    vectors = align(embed(dataset.root, loaded, sensors=sensors), documents)
    provider = ir_measures.providers.registry["pytrec_eval"]
    expected: dict[str, list[float]] = {"map": [], "r_precision": [], "ndcg": []}
    for query in read_queries(dataset):
        if query.kind != "single":
            continue
        gains = (documents.label_masks & np.uint16(query.wanted_mask)) != 0
        if not gains.any():
            continue
        scores = vectors @ loaded.model.encode_texts([query.text])[0]
        names = [f"d{len(scores) - i:04d}" for i in range(len(scores))]  # ties: see test_metrics
        found = provider.calc_aggregate(
            [AP, Rprec, nDCG],
            [ir_measures.Qrel("q", n, int(g)) for n, g in zip(names, gains, strict=True)],
            [ir_measures.ScoredDoc("q", n, float(s)) for n, s in zip(names, scores, strict=True)],
        )
        for name, measure in (("map", AP), ("r_precision", Rprec), ("ndcg", nDCG)):
            expected[name].append(found[measure])
    for name, values in expected.items():
        row = one(result, run="clip", sensor=sensor, queries="single", class_name=None, metric=name)
        assert row.value == pytest.approx(np.mean(values), abs=1e-6)
        assert row.low is not None
        assert row.low <= row.value <= row.high


def test_references_stand_beside_the_run_and_a_seeing_model_beats_them(
    tiny: tuple[Dataset, FakeRuns],
) -> None:
    dataset, runs = tiny
    result = evaluate(dataset.root, open_run=runs)
    assert {row.run for row in result.rows} == {
        "clip", "clip:search",
        "baseline:random", "baseline:label_frequency", "baseline:source_shortcut",
    }  # fmt: skip
    assert any("baseline:multilabel is left out" in note for note in result.notes)
    scores = headline(result.rows)
    assert "clip:search" not in {score.run for score in scores}  # nothing to translate in a name
    for score in scores:
        if score.run == "clip":
            assert score.ratio > 2
        elif score.run == "baseline:random":
            assert score.ratio == 1
        else:
            assert score.ratio < 1.6


def test_random_rows_are_the_closed_form(tiny: tuple[Dataset, FakeRuns]) -> None:
    dataset, runs = tiny
    result = evaluate(dataset.root, open_run=runs)
    documents = read_documents(dataset, "corpus").of_sensor("s2")
    relevant = int(np.count_nonzero(documents.label_masks & np.uint16(bit("Crops"))))
    row = one(result, run="baseline:random", sensor="s2", class_name="Crops", metric="map")
    assert row.value == pytest.approx(random_average_precision(len(documents), relevant), abs=1e-6)
    assert (row.low, row.high) == (None, None)


def test_the_file_is_the_rows_and_deterministic(tiny: tuple[Dataset, FakeRuns]) -> None:
    dataset, runs = tiny
    result = evaluate(dataset.root, open_run=runs)
    first = result.path.read_bytes()
    assert result.path == dataset.runs / "clip" / "evaluation.json"
    raw = json.loads(first)
    assert raw == result.to_list()
    assert set(raw[0]) == {
        "run", "recipe", "sensor", "queries", "class", "events", "relevance", "judged",
        "metric", "k", "value", "low", "high",
    }  # fmt: skip
    assert {row["metric"] for row in raw} == {"map", "map_at", "ndcg", "r_precision", "recall"}
    assert read_evaluation(dataset.root, "clip") == result.rows
    evaluate(dataset.root, open_run=runs)
    assert result.path.read_bytes() == first
    result.path.write_text("[{]")
    with pytest.raises(LandmarkError, match="evaluate"):
        read_evaluation(dataset.root, "clip")


def test_unknown_counts_as_not_relevant_and_judged_leaves_it_out(
    tiny: tuple[Dataset, FakeRuns], tmp_path: Path
) -> None:
    no_water = ALL_MASK & ~bit("Water")
    corpus = [
        Patch("a", "s2", mask("Trees"), known_mask=no_water, marker=mask("Water")),  # ranks first
        Patch("b", "s2", mask("Water")),
        Patch("c", "s2", mask("Trees")),
    ]
    dataset = make_dataset(tmp_path / "other", {"train": corpus, "corpus": corpus})
    write_queries(dataset, single_queries()[:1])
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    result = evaluate(dataset.root, open_run=runs)
    same = {"run": "clip", "sensor": "s2", "class_name": "Water", "metric": "map"}
    assert one(result, **same).value == pytest.approx(0.5)
    assert one(result, **same, judged=True).value == 1.0
    prevalence = {**same, "run": "baseline:random", "metric": "r_precision"}
    assert one(result, **prevalence).value == pytest.approx(1 / 3)
    assert one(result, **prevalence, judged=True).value == pytest.approx(1 / 2)


def test_crisis_classes_are_split_by_whether_train_knows_the_event(
    tiny: tuple[Dataset, FakeRuns], tmp_path: Path
) -> None:
    flood = mask("Flooded Area")
    seen, unseen = (("flood", "old", "during"),), (("flood", "new", "after"),)
    corpus = [
        # The model misses a; an event still to come does not count as its own.
        Patch("a", "s2", flood, events=(*unseen, ("flood", "old", "before")), marker=0),
        Patch("b", "s2", flood, events=seen),
        Patch("c", "s2", mask("Trees"), events=(("flood", "new", "before"),)),
        Patch("d", "s2", mask("Trees")),
        Patch("e", "s2", flood),  # carried, but of no named event
    ]
    train = [Patch("t", "s2", flood, events=seen)]
    dataset = make_dataset(tmp_path / "other", {"train": train, "corpus": corpus})
    write_queries(dataset, [q for q in single_queries() if q["classes"] != ["Water"]])
    result = evaluate(dataset.root, open_run=FakeRuns(dataset.root, {"clip": "embedding"}))
    same = {"run": "clip", "sensor": "s2", "class_name": "Flooded Area", "metric": "map"}
    assert one(result, **same, events="seen").value == 1.0  # b, c, d: b first
    assert one(result, **same, events="unseen").value == 1.0  # a, c, d tie at 0: a first by name
    chance = {**same, "run": "baseline:random", "metric": "r_precision"}
    assert one(result, **chance).value == pytest.approx(3 / 5)
    assert one(result, **chance, events="seen").value == pytest.approx(1 / 3)
    assert one(result, **chance, events="unseen").value == pytest.approx(1 / 3)
    assert not pick(result.rows, run="clip", class_name="Trees", metric="map", events="seen")


def test_graded_ndcg_uses_the_jaccard_of_label_sets(
    tiny: tuple[Dataset, FakeRuns], tmp_path: Path
) -> None:
    corpus = [
        Patch("a", "s2", mask("Water", "Trees", "Crops", "Built"), marker=mask("Water")),  # 1/4
        Patch("b", "s2", mask("Water"), marker=mask("Water", "Trees")),  # 1, ranked second
        Patch("c", "s2", mask("Trees")),  # 0
    ]
    dataset = make_dataset(tmp_path / "other", {"train": corpus, "corpus": corpus})
    write_queries(dataset, single_queries()[:1])
    result = evaluate(dataset.root, open_run=FakeRuns(dataset.root, {"clip": "embedding"}))
    row = one(
        result, run="clip", sensor="s2", class_name="Water", metric="ndcg", relevance="graded"
    )
    second = 1 / np.log2(3)
    assert row.value == pytest.approx((0.25 + second) / (1 + 0.25 * second), abs=1e-6)


def test_negated_queries_need_the_class_to_be_known_absent(
    tiny: tuple[Dataset, FakeRuns], tmp_path: Path
) -> None:
    water = mask("Water")
    corpus = [
        Patch("a", "s2", water),
        Patch("b", "s2", water | mask("Crops")),
        Patch("c", "s2", water, known_mask=water),  # crops unknown
        Patch("d", "s2", mask("Trees")),
    ]
    dataset = make_dataset(tmp_path / "other", {"train": corpus, "corpus": corpus})
    query = {"id": "n", "text": "water without crops", "kind": "negation"}
    write_queries(dataset, [{**query, "classes": ["Water"], "absent": ["Crops"]}])
    result = evaluate(dataset.root, open_run=FakeRuns(dataset.root, {"clip": "classes"}))
    chance = {"run": "baseline:random", "sensor": "s2", "queries": "negation"}
    assert one(result, **chance, metric="r_precision").value == pytest.approx(1 / 4)
    assert one(result, **chance, metric="r_precision", judged=True).value == pytest.approx(1 / 3)
    # Classes: log p(Water) + log(1 - p(Crops)) puts a before c only by name.
    row = one(result, run="clip", sensor="s2", queries="negation", metric="map")
    assert row.value == 1.0


def test_a_multilabel_run_is_the_fourth_reference(
    tiny: tuple[Dataset, FakeRuns], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = tiny
    runs = FakeRuns(dataset.root, {"clip": "embedding", "bce": "classes"})
    monkeypatch.setattr(evaluation, "_multilabel", lambda root, loaded: "bce")
    result = evaluate(dataset.root, open_run=runs)
    row = one(
        result,
        run="baseline:multilabel", sensor="s2", queries="single", class_name=None, metric="map",
    )  # fmt: skip
    assert row.value == 1.0  # the fake reads the labels
    assert row.recipe == "multilabel"
    assert "baseline:multilabel is run 'bce'" in result.notes


def test_the_multilabel_reference_is_scored_like_a_run_of_its_own(
    tiny: tuple[Dataset, FakeRuns], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = tiny
    runs = FakeRuns(dataset.root, {"clip": "embedding", "bce": "classes"})
    monkeypatch.setattr(evaluation, "_multilabel", lambda root, loaded: "bce")
    evaluate(dataset.root, "clip", open_run=runs)
    by_the_way = (dataset.runs / "bce" / "evaluation.json").read_bytes()
    evaluate(dataset.root, "bce", open_run=runs)
    assert (dataset.runs / "bce" / "evaluation.json").read_bytes() == by_the_way


def test_an_event_of_split_val_was_seen_too(tmp_path: Path, tiny: tuple[Dataset, FakeRuns]) -> None:
    flood = mask("Flooded Area")
    splits = {
        "train": [Patch("t", "s2", flood)],
        "val": [Patch("v", "s2", flood, events=(("flood", "chosen-on", "during"),))],
        "corpus": [
            Patch("a", "s2", flood, events=(("flood", "chosen-on", "during"),)),
            Patch("b", "s2", mask("Trees")),
        ],
    }
    dataset = make_dataset(tmp_path / "other", splits)
    write_queries(dataset, single_queries())
    result = evaluate(dataset.root, open_run=FakeRuns(dataset.root, {"clip": "embedding"}))
    same = {"run": "clip", "sensor": "s2", "class_name": "Flooded Area", "metric": "map"}
    assert one(result, **same, events="seen").value == 1.0
    assert not pick(result.rows, **same, events="unseen")


def test_an_event_of_val_patches_no_run_looked_at_was_not_seen(
    tmp_path: Path, tiny: tuple[Dataset, FakeRuns]
) -> None:
    """A run of one sensor, while the other sensor's patch of val lists the event."""
    flood = mask("Flooded Area")
    events = (("flood", "elsewhere", "during"),)
    other_sensor = Patch("v1", "s1", flood, events=events)
    own_sensor = Patch("v2", "s2", flood)
    for number, val in enumerate([[other_sensor, own_sensor], [other_sensor]]):
        splits = {
            "train": [Patch("t", "s2", flood)],
            "val": val,
            "corpus": [Patch("a", "s2", flood, events=events), Patch("b", "s2", mask("Trees"))],
        }
        dataset = make_dataset(tmp_path / str(number), splits)
        write_queries(dataset, single_queries())
        runs = FakeRuns(dataset.root, {"clip": "embedding"})
        runs.runs["clip"].bands = {"s2": runs.runs["clip"].bands["s2"]}
        result = evaluate(dataset.root, open_run=runs)
        same = {"run": "clip", "sensor": "s2", "class_name": "Flooded Area", "metric": "map"}
        assert one(result, **same, events="unseen").value == 1.0
        assert not pick(result.rows, **same, events="seen")


def test_sources_are_scored_apart_in_a_file_of_their_own(
    tmp_path: Path, tiny: tuple[Dataset, FakeRuns]
) -> None:
    water, trees = mask("Water"), mask("Trees")
    corpus = [
        Patch("a", "s2", trees, marker=water, facts={"collection": "hard"}),  # ranks first
        Patch("b", "s2", water, marker=water, facts={"collection": "hard"}),
        Patch("c", "s2", water, facts={"collection": "easy"}),
        Patch("d", "s2", trees, facts={"collection": "easy"}),
    ]
    dataset = make_dataset(tmp_path / "other", {"train": corpus, "corpus": corpus})
    write_queries(dataset, single_queries()[:1])
    result = evaluate(dataset.root, open_run=FakeRuns(dataset.root, {"clip": "embedding"}))
    assert all("source" not in row for row in result.to_list())
    raw = json.loads((dataset.runs / "clip" / "evaluation_by_source.json").read_bytes())
    assert raw == [row.to_dict() for row in result.by_source]
    found = {
        row["source"]: row["value"]
        for row in raw
        if (row["run"], row["metric"], row["class"]) == ("clip", "map", "Water")
    }
    assert found == {"p/hard": 0.5, "p/easy": 1.0}


def test_patches_of_several_blocks_give_single_classes_an_interval(
    tmp_path: Path, tiny: tuple[Dataset, FakeRuns]
) -> None:
    corpus = [
        Patch(f"{i:02d}", "s2", mask("Water", "Trees") if i % 3 else mask("Trees"),
              marker=mask("Water") if i % 2 else 0, facts={"lon": 9.0 + i // 4, "lat": 45.0})
        for i in range(48)
    ]  # fmt: skip
    dataset = make_dataset(tmp_path / "other", {"train": corpus, "corpus": corpus})
    write_queries(dataset, single_queries()[:2])
    result = evaluate(dataset.root, open_run=FakeRuns(dataset.root, {"clip": "embedding"}))
    same = {"run": "clip", "sensor": "s2", "metric": "map"}
    water = one(result, **same, class_name="Water")
    assert water.low is not None
    assert water.high is not None
    assert 0 < water.low < water.value < water.high < 1
    # Every patch shows trees: no draw can change that.
    trees = one(result, **same, class_name="Trees")
    assert (trees.low, trees.value, trees.high) == (1.0, 1.0, 1.0)
    assert not any("blocks of ground" in note for note in result.notes)


def test_few_blocks_are_said(tiny: tuple[Dataset, FakeRuns]) -> None:
    dataset, runs = tiny
    result = evaluate(dataset.root, open_run=runs)
    assert any("in 1 blocks of ground" in note for note in result.notes)
    row = one(result, run="clip", sensor="s2", class_name="Crops", metric="map")
    assert (row.low, row.high) == (None, None)


def test_queries_without_relevant_patches_are_left_out_and_named(
    tiny: tuple[Dataset, FakeRuns],
) -> None:
    dataset, runs = tiny
    result = evaluate(dataset.root, open_run=runs)
    assert not pick(result.rows, class_name="Earthquake Damage", metric="map")
    assert any("earthquake damage" in note for note in result.notes)


def test_wrong_input_is_one_clear_line(tiny: tuple[Dataset, FakeRuns], tmp_path: Path) -> None:
    dataset, runs = tiny
    with pytest.raises(InputError, match="landmark harmonize"):
        evaluate(tmp_path, open_run=runs)
    with pytest.raises(InputError, match="no such dataset directory"):
        evaluate(tmp_path / "nowhere", open_run=runs)
    write_queries(dataset, [single_queries()[CLASSES.index("Earthquake Damage")]])
    with pytest.raises(InputError, match="no query has a relevant patch"):
        evaluate(dataset.root, open_run=runs)
    FakeRuns(dataset.root, {"b": "embedding"})
    (dataset.runs / "clip" / "model.safetensors").rename(dataset.runs / "a.safetensors")
    (dataset.runs / "a").mkdir()
    (dataset.runs / "a.safetensors").rename(dataset.runs / "a" / "model.safetensors")
    with pytest.raises(InputError, match="several runs; name one with --run: a, b"):
        evaluate(dataset.root, open_run=runs)


def test_a_gallery_of_sensors_the_run_never_saw_is_one_clear_line(tmp_path: Path) -> None:
    patches = [p for p in random_patches(20, "c", 6) if p.sensor == "s1"]
    dataset = make_dataset(tmp_path / "data", {"train": patches, "corpus": patches})
    write_queries(dataset, single_queries())
    runs = FakeRuns(dataset.root, {"clip": "embedding"})
    del runs.runs["clip"].bands["s1"]
    with pytest.raises(InputError, match="was trained on s2, and split corpus holds no patch of"):
        evaluate(dataset.root, open_run=runs)
