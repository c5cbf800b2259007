"""What only a CUDA device can show; `make test-gpu`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.checkpoints import run_files
from baselines.logbook import read_metrics
from baselines.training import TrainOptions, train
from landmark.progress import Silent
from tests.baselines.learnable import WordEncoder, make_learnable

pytestmark = pytest.mark.gpu

OPTIONS = TrainOptions(model="test_convnext", epochs=2, batch=8, device="cuda")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_learnable(tmp_path_factory.mktemp("gpu"), {"train": (24, 16), "val": (8, 8)})


def losses(root: Path, name: str, options: TrainOptions) -> list[float]:
    train(root, replace(options, run=name), Silent(), text_encoder=WordEncoder())
    rows = read_metrics(run_files(root, name).metrics)
    return [row["loss"] for row in rows if row["kind"] == "step"]


@pytest.mark.parametrize("precision", ["auto", "float16"])
@pytest.mark.parametrize("recipe", ["clip", "concepts"])
def test_mixed_precision_follows_float32(root: Path, recipe: str, precision: str) -> None:
    own = replace(OPTIONS, recipe=recipe, settings={"precision": precision})
    full = replace(OPTIONS, recipe=recipe, settings={"precision": "float32"})
    mixed = losses(root, f"{recipe}-{precision}", own)
    exact = losses(root, f"{recipe}-32-{precision}", full)
    np.testing.assert_allclose(mixed, exact, rtol=0.05)


def test_a_device_follows_the_cpu(root: Path) -> None:
    settings = {"precision": "float32"}
    ours = losses(root, "cuda", replace(OPTIONS, settings=settings))
    cpu = losses(root, "cpu", replace(OPTIONS, device="cpu", settings=settings))
    np.testing.assert_allclose(ours, cpu, rtol=0.01)


def test_parts_of_a_step_take_less_memory(root: Path) -> None:
    peaks = []
    for parts in (1, 4):
        torch.cuda.reset_peak_memory_stats()
        settings = {"precision": "float32", "accumulate": parts, "size": 120}
        losses(root, f"parts-{parts}", replace(OPTIONS, settings=settings))
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < peaks[0]
