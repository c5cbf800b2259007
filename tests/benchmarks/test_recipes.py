"""The recipe study: intervals, pairing, label sets, and that a stopped study goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.queries import Query
from benchmarks import recipes_answering, recipes_cells, recipes_corpus
from benchmarks.recipes import Part, Plan, run
from benchmarks.recipes_answering import label_set_beliefs
from benchmarks.recipes_cells import Cells, OutOfTimeError
from benchmarks.recipes_corpus import SENSORS, SPLITS, Corpus, Patches
from benchmarks.recipes_measuring import (
    Judged,
    average_precisions,
    compare_paired,
    gains,
    measure,
)
from benchmarks.recipes_report import write_report
from benchmarks.recipes_rows import verdict
from benchmarks.recipes_training import train
from landmark.grid import PIXELS
from landmark.taxonomy import ALL_MASK, mask_of
from tests.baselines.learnable import WordEncoder
from tests.baselines.plain_metrics import average_precision, ndcg
from tests.baselines.tiny_dataset import make_dataset, random_patches

GALLERIES = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
        st.permutations(range(n)),
    )
)


@given(GALLERIES)
def test_a_resampled_gallery_scores_as_one_whose_patches_are_repeated(drawn) -> None:
    answers, copies, order = (np.array(part) for part in drawn)
    own = average_precisions(order, answers, copies[None].astype(np.int16))[0]
    repeated = np.repeat(answers[order], copies[order])
    assert own == pytest.approx(average_precision(repeated), nan_ok=True)
    grades = answers / (1.0 + np.arange(answers.size))
    for depth in (1, 3, 100):
        found = gains(order, grades, copies[None].astype(np.int16), depth)[0]
        wanted = ndcg(np.repeat(grades[order], copies[order]), depth)
        assert found == pytest.approx(wanted, nan_ok=True)


def test_crops_lie_in_the_order_asked_for(tmp_path: Path) -> None:
    patches = {split: random_patches(9, split, seed) for seed, split in enumerate(SPLITS)}
    dataset = make_dataset(tmp_path, patches)
    own = [patch for part in patches.values() for patch in part if patch.sensor == "s2"][::-1]
    images = recipes_corpus._crops(dataset.root, "s2", [patch.patch_id for patch in own], PIXELS)
    # A patch says its labels in the first pixels: 1 or 1001, where all others are 500.
    carried = images[:, 0, 0, :12] > images[:, 0, 5, 5, None]
    np.testing.assert_array_equal(
        carried, [[patch.label_mask >> bit & 1 for bit in range(12)] for patch in own]
    )


def test_a_constant_lead_has_an_interval_of_no_width() -> None:
    peer = np.random.default_rng(0).random((3, 201))
    found = compare_paired(peer + 0.1, peer)
    assert found.difference == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert found.relative == pytest.approx(0.1 / peer[:, 0].mean())


def test_intervals_hold_what_seeds_and_galleries_leave_open() -> None:
    random = np.random.default_rng(1)
    peer = random.random((3, 401))
    apart = np.array([-0.2, 0.1, 0.4])[:, None] + random.normal(0, 0.01, (3, 401))
    found = compare_paired(peer + apart, peer)
    # Three seeds drawn with replacement: one in 27 draws is the worst seed thrice.
    assert found.low == pytest.approx(-0.1, abs=0.12)
    assert found.high == pytest.approx(0.3, abs=0.12)
    assert found.low < 0 < found.high
    assert verdict("single", "published", found)[1] is False
    swapped = compare_paired(peer, peer + apart)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot pair"):
        compare_paired(np.zeros((3, 5)), np.zeros((2, 5)))


def test_label_sets_without_correction_are_independent_classes() -> None:
    random = np.random.default_rng(2)
    probabilities = random.uniform(0.05, 0.95, (4, 12))
    masks = random.integers(0, 2**12, 50).astype(np.uint16)
    beliefs = label_set_beliefs(probabilities, masks, strength=0)
    sets = (np.arange(2**12)[:, None] >> np.arange(12)) & 1
    wanted = np.prod(np.where(sets == 1, probabilities[:, None], 1 - probabilities[:, None]), -1)
    np.testing.assert_allclose(beliefs, wanted, atol=1e-6)
    np.testing.assert_allclose(beliefs @ sets, probabilities, atol=1e-5)


def test_label_sets_raise_what_always_comes_together() -> None:
    together = np.array([0b11] * 50 + [0] * 50, np.uint16)
    probabilities = np.full((1, 12), 0.01)
    probabilities[0, :2] = 0.9, 0.4
    beliefs = label_set_beliefs(probabilities, together, strength=1)[0]
    both = beliefs[(np.arange(2**12) & 3) == 3].sum()
    assert both > 0.75 > 0.9 * 0.4


def tiny_corpus(name: str) -> Corpus:
    random = np.random.default_rng(7)
    count = 48
    masks = random.integers(1, 8, count).astype(np.uint16)
    split = np.array(["train", "val", "corpus"])[np.arange(count) % 3]
    sensors = {}
    for sensor in SENSORS:
        bits = ((masks[:, None] >> np.arange(12)) & 1).astype(np.float32)
        images = np.broadcast_to(bits[:, :3, None, None], (count, 3, 32, 32))
        sensors[sensor] = Patches(
            patch_id=np.array([f"{row:03d}-{sensor}" for row in range(count)]),
            split=split if name == "sandbox" else np.array([""] * count),
            label_mask=masks,
            known_mask=np.full(count, ALL_MASK, np.uint16),
            fractions=np.where(bits > 0, 0.3, 0).astype(np.float32),
            caption=np.array([f"caption {mask}" for mask in masks]),
            scene=np.array([f"scene {row % 10}" for row in range(count)]),
            block=np.array([f"block {row % 8}" for row in range(count)]),
            partner=np.arange(count),
            unseen=np.full(count, ALL_MASK, np.uint16),
            images=(images + random.normal(0, 0.3, images.shape)).astype(np.float16),
            features=np.concatenate([bits, random.normal(0, 1, (count, 4))], 1).astype(np.float32),
        )
    queries = (
        Query("a", "water", "single", ("Water",)),
        Query("b", "water. trees", "combination", ("Water", "Trees")),
        Query("c", "a lake", "paraphrase", ("Water",)),
    )
    return Corpus(name, sensors, queries)


PLAN = Plan(
    (
        Part("sandbox", "features", (1e-2,), (0, 1), 1, 8, ("agree-0.5", "share-targets")),
        Part("real", "features", (1e-2,), (0,), 1, 8, ("share-weights",)),
        Part("real", "net", (1e-2,), (0,), 1, 8),
    ),
    resamples=20,
    options={"published": ("plain",), "clip": ("mean-balanced",)}
    | {"multilabel": ("hidden",), "concepts": ("plain",)},
)


def cells_in(folder: Path, until: float | None = None) -> Cells:
    texts = {"mean": WordEncoder(), "cls": WordEncoder()}
    opened = {name: (lambda name=name: tiny_corpus(name)) for name in ("sandbox", "real")}
    return Cells(folder, opened, texts, until)


@pytest.mark.integration
def test_a_stopped_study_goes_on_and_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes_answering, "STRENGTHS", (0.5,))
    monkeypatch.setattr(recipes_answering, "BETAS", (0.0, 0.67))
    trained: list[str] = []
    real_train = recipes_cells.train

    def counted(cell, *rest):
        trained.append(cell.name)
        if len(trained) == 5:
            raise KeyboardInterrupt
        return real_train(cell, *rest)

    monkeypatch.setattr(recipes_cells, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        run(PLAN, cells_in(tmp_path / "stopped"))
    with pytest.raises(OutOfTimeError):
        run(PLAN, cells_in(tmp_path / "stopped", until=-1))
    assert run(replace(PLAN, partial=True), cells_in(tmp_path / "stopped")) == []
    found = run(PLAN, cells_in(tmp_path / "stopped"))
    # The cell that was cut off is trained again, no other.
    assert sorted(set(trained)) == sorted(trained[:4] + trained[5:])
    count = len(trained)
    again = run(PLAN, cells_in(tmp_path / "stopped"))
    assert len(trained) == count
    whole = run(PLAN, cells_in(tmp_path / "whole"))
    for one, two, three in zip(found, again, whole, strict=True):
        for name, row in one.rows.items():
            for case, values in row.scores.items():
                np.testing.assert_array_equal(values, two.rows[name].scores[case])
                np.testing.assert_allclose(values, three.rows[name].scores[case], atol=1e-6)

    for file in (tmp_path / "whole").glob("sandbox-features-clip-*-seed1-*.json"):
        file.unlink()
    for file in (tmp_path / "stopped").glob("sandbox-features-concepts-*-seed1-*.json"):
        file.unlink()
    fewer = run(replace(PLAN, partial=True), cells_in(tmp_path / "stopped"))
    assert fewer[0].rows["concepts"].scores["single"].shape == (1, 21)
    part = run(replace(PLAN, partial=True), cells_in(tmp_path / "whole"))
    assert found[0].rows.keys() - part[0].rows.keys() == {"clip"}
    assert found[1].rows.keys() == part[1].rows.keys()

    write_report(found, tmp_path, tmp_path / "figure.png")
    rows = json.loads((tmp_path / "recipes.json").read_text())
    kept = {"case": "real-net/single", "subject": "concepts", "peer": "published-tuned"}
    [row] = [row for row in rows if all(row[key] == value for key, value in kept.items())]
    ours, peer = (found[2].rows[name].scores["single"][0, 0] for name in ("concepts", "published"))
    assert (row["metric"], row["runs"], row["target"]) == ("map", 1, ">= +10%, interval above 0")
    assert row["difference"] == pytest.approx(ours - peer, abs=1e-5)
    assert row["ratio_median"] == pytest.approx(ours / peer, abs=1e-4)
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"


def test_seeds_see_other_scenes_and_split_groups_whole() -> None:
    corpus = tiny_corpus("sandbox")
    first, second = (corpus.rows("train", seed)["s1"] for seed in (0, 1))
    assert not np.array_equal(first, second)
    scenes = corpus.sensors["s1"].scene
    assert len(set(scenes[first])) == 8
    parted = tiny_corpus("real")
    blocks = parted.sensors["s2"].block
    held = [set(blocks[parted.rows(split, 3)["s2"]]) for split in ("train", "val", "corpus")]
    assert set().union(*held) == set(blocks)
    assert sum(map(len, held)) == len(set(blocks))


def test_crisis_patches_of_known_events_leave_the_gallery_of_unseen_ones() -> None:
    flood = mask_of(["Flooded Area"])
    judged = Judged(
        label_mask=np.array([flood, flood, 1], np.uint16),
        unseen=np.array([0, flood, 0], np.uint16),
        block=np.array(["a", "a", "b"]),
        order=np.arange(3),
    )
    query = Query("q", "flooded area", "single", ("Flooded Area",))
    scores = np.array([[0.9, 0.1, 0.5]])
    found = measure(judged, [query], scores, judged.resampled(0))
    assert found["unseen"][0] == pytest.approx(1 / 2)
    assert found["single"][0] == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.integration
def test_cells_are_judged_anew_but_not_trained_where_queries_are_understood_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = PLAN.parts[0].cell("multilabel", "plain", 1e-2, 0)
    before = cells_in(tmp_path).ensure(cell)
    monkeypatch.setattr(recipes_cells, "train", lambda *_: pytest.fail("trained again"))
    assert cells_in(tmp_path).ensure(cell) == before
    changed = cells_in(tmp_path)
    lake = changed.asked("sandbox").requests
    lake[2] = replace(lake[2], wanted=np.eye(12)[[1]], readings=())
    after = changed.ensure(cell)
    assert after.cpu_s == before.cpu_s
    assert after.val["translated"]["paraphrase"] != before.val["translated"]["paraphrase"]
    assert after.val["translated"]["single"] == before.val["translated"]["single"]


@pytest.mark.integration
def test_end_to_end_concepts_learns_the_classes_as_multilabel_does() -> None:
    # As wide as the space of a recipe without texts.
    part, texts = PLAN.parts[2], {"mean": WordEncoder(384)}
    found = [
        train(part.cell(recipe, "plain", 1e-2, 0), tiny_corpus("real"), texts).outputs
        for recipe in ("multilabel", "concepts")
    ]
    for name in ("corpus/s1/probabilities", "corpus/s2/probabilities"):
        np.testing.assert_array_equal(found[0][name], found[1][name])
