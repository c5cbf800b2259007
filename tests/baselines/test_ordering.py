"""Mixing, balance and reading processes, from a recipe's fields to what a run draws and trains."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from baselines.checkpoints import read_config, run_files
from baselines.ordering import build_order, drawable
from baselines.reading_processes import ReadingProcesses, _Worker
from baselines.recipes import resolve
from baselines.training import TrainOptions, train
from landmark.errors import InputError, InterruptedRunError
from landmark.progress import Silent
from tests.baselines.learnable import WordEncoder, make_learnable

TINY = TrainOptions(recipe="clip", model="test_efficientnet", epochs=2, batch=6, workers=1)


class Half:
    """Stands for a split."""

    def __init__(self, ids: list[str], partners: list[str | None], masks: list[int]) -> None:
        self.patch_id, self.pair_id = pa.array(ids), pa.array(partners, pa.string())
        self.label_mask = np.array(masks, np.uint16)


TRAIN = {
    "s1": Half(["a", "b", "c"], [None] * 3, [1, 1, 2]),
    "s2": Half(["w", "x", "y", "z"], ["c", None, "a", "c"], [1, 1, 1, 1]),
}
USABLE = {"s1": np.array([0, 1, 2]), "s2": np.array([0, 1, 2])}


def drawn(order, sensor: str) -> list[int]:
    steps = [order.batch(0, step) for step in range(order.steps)]
    return [int(row) for step in steps for row in step.get(sensor, ())]


def test_paired_draws_rows_of_whole_pairs_that_can_be_learned_from() -> None:
    recipe = resolve("clip", mixing="paired", batch=2)
    rows = drawable(recipe, TRAIN, USABLE)
    # z cannot be learned from, x has no partner.
    assert {s: own.tolist() for s, own in rows.items()} == {"s1": [2, 0], "s2": [0, 2]}
    order = build_order(recipe, TRAIN, rows, {})
    assert drawn(order, "s1") == drawn(order, "s2")
    with pytest.raises(InputError, match="no pair of both sensors"):
        drawable(recipe, TRAIN, {"s1": np.array([1]), "s2": np.array([0])})


def test_pairs_are_balanced_as_pairs() -> None:
    recipe = resolve("clip", mixing="paired", balance=1, batch=2)
    order = build_order(recipe, TRAIN, drawable(recipe, TRAIN, USABLE), {})
    assert drawn(order, "s1") == drawn(order, "s2")


def test_balance_shows_rare_classes_more_often() -> None:
    masks = [1] * 90 + [2] * 10
    train_ = {"s1": Half([str(i) for i in range(100)], [None] * 100, masks)}
    rows = {"s1": np.arange(100)}
    seen = {}
    for power in (0, 0.5, 1):
        order = build_order(resolve("clip", balance=power), train_, rows, {})
        seen[power] = sum(row >= 90 for row in drawn(order, "s1"))
    assert seen[0] == 10
    assert seen[0] < seen[0.5] < seen[1]
    assert 45 <= seen[1] <= 55


def test_proportional_shows_every_patch_once_and_needs_one_for_each_process() -> None:
    rows = {"s1": np.arange(9), "s2": np.arange(4)}
    recipe = resolve("clip", mixing="proportional", batch=3)
    order = build_order(recipe, {}, rows, {})
    assert Counter(drawn(order, "s2")) == Counter(range(4))
    with pytest.raises(InputError, match="without s2 patches in a step"):
        build_order(recipe, {}, rows, {}, processes=2)


@pytest.mark.parametrize("fields", [{"balance": 0.5}, {"mixing": "proportional"}])
def test_partners_that_are_drawn_together_are_not_drawn_otherwise(fields: dict) -> None:
    with pytest.raises(InputError, match="pair_weight draws partners together"):
        resolve("clip", pair_weight=1, **fields)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"mixing": "proportional"}, 4),
        ({"mixing": "paired", "pair_weight": 0.5}, 1),
        ({"balance": 0.5}, 4),
        ({"mixing": "proportional", "balance": 1.0, "hard_negatives": 2}, 4),
    ],
)
def test_a_run_trains_by_its_mixing_and_keeps_it(
    tmp_path: Path, settings: dict, steps: int
) -> None:
    # Fewer patches of s2 than steps: some steps hold none.
    make_learnable(tmp_path, {"train": (23, 3), "val": (6, 6)})
    summary = train(
        tmp_path, replace(TINY, settings=settings), Silent(), text_encoder=WordEncoder()
    )
    assert summary.steps == TINY.epochs * steps
    recipe = read_config(run_files(tmp_path, "clip")).recipe
    assert {name: getattr(recipe, name) for name in settings} == settings


@pytest.mark.integration
def test_reading_processes_train_the_same_run(tmp_path: Path) -> None:
    weights = []
    for name, count in (("threads", 0), ("processes", 1)):
        root = make_learnable(tmp_path / name, {"train": (13, 8), "val": (4, 4)})
        options = replace(TINY, reading_processes=count, settings={"deterministic": True})
        train(root, options, Silent(), text_encoder=WordEncoder())
        files = run_files(root, "clip")
        weights.append((files.model.read_bytes(), files.metrics.read_bytes()))
    assert weights[0] == weights[1]


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_leaves_a_checkpoint_while_processes_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """As a terminal does it: this process and its readers, just started, get the signal."""
    make_learnable(tmp_path, {"train": (13, 8), "val": (4, 4)})
    answer, sent = ReadingProcesses._answer, []

    def signal_all_first(processes: ReadingProcesses, worker: _Worker) -> None:
        if not sent:
            sent.append(worker.process.pid)
            for pid in (worker.process.pid, os.getpid()):
                os.kill(pid, number)
        answer(processes, worker)

    monkeypatch.setattr(ReadingProcesses, "_answer", signal_all_first)
    options = replace(TINY, reading_processes=1)
    with pytest.raises(InterruptedRunError, match="--resume") as caught:
        train(tmp_path, options, Silent(), text_encoder=WordEncoder())
    assert caught.value.exit_code == 128 + number
    assert run_files(tmp_path, "clip").checkpoint.is_file()
