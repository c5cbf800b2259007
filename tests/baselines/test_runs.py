"""Runs as they lie on disk: which one is meant, and untrained real models through the whole way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.checkpoints import RunConfig, run_files, write_config, write_tensors
from baselines.closp import Closp, Kind, ModelConfig
from baselines.encoders import BackboneConfig
from baselines.evaluation import evaluate
from baselines.recipes import RECIPES
from baselines.runs import choose_run
from baselines.scaling import SensorInput
from baselines.search import search
from landmark.dataset import Dataset
from landmark.errors import InputError
from tests.baselines.tiny_dataset import (
    LAYOUTS,
    make_dataset,
    random_patches,
    single_queries,
    write_queries,
)


def write_run(root: Path, name: str, kind: Kind, sensors: tuple[str, ...] = ("s1", "s2")) -> None:
    """Write a complete, untrained run of a real class model."""
    inputs = {
        sensor: SensorInput(
            sensor=sensor,
            bands=LAYOUTS[sensor].bands,
            scale=LAYOUTS[sensor].scale,
            nodata=LAYOUTS[sensor].nodata,
            mean=(0.0,) * len(LAYOUTS[sensor].bands),
            std=(1.0,) * len(LAYOUTS[sensor].bands),
        )
        for sensor in sensors
    }
    model = ModelConfig(
        kind=kind,
        backbones=dict.fromkeys(sensors, BackboneConfig(name="test_resnet", size=30)),
        dim=16,
        temperature=0.07,
        text_projection=False,
        inputs=inputs,
        text=None,
    )
    recipe = "multilabel" if kind == "classes" else "clip"
    files = run_files(root, name)
    files.folder.mkdir(parents=True)
    write_config(
        files,
        RunConfig(
            recipe_name=recipe,
            recipe=RECIPES[recipe],
            model=model,
            data="",
            patches=dict.fromkeys(sensors, 1),
            versions={},
        ),
    )
    torch.manual_seed(0)
    tensors = Closp(model).state_dict() if kind == "classes" else {"none": torch.zeros(1)}
    write_tensors(files.model, tensors, {})


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    splits = {"train": random_patches(4, "t", 1), "corpus": random_patches(6, "c", 2)}
    made = make_dataset(tmp_path / "data", splits)
    write_queries(made, single_queries())
    return made


def test_a_run_named_is_taken_else_clip_else_the_only_one(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="landmark train-baseline"):
        choose_run(dataset.root, None)
    write_run(dataset.root, "b", "embedding")
    assert choose_run(dataset.root, None) == "b"
    write_run(dataset.root, "a", "embedding")
    with pytest.raises(InputError, match="name one with --run: a, b"):
        choose_run(dataset.root, None)
    write_run(dataset.root, "clip", "embedding")
    assert choose_run(dataset.root, None) == "clip"
    assert choose_run(dataset.root, "b") == "b"


def test_a_real_class_run_is_evaluated_and_searched(dataset: Dataset) -> None:
    write_run(dataset.root, "bce", "classes")
    result = evaluate(dataset.root)
    assert result.run == "bce"
    own = {
        run: [(row.to_dict()["class"], row.value) for row in result.rows if row.run == run]
        for run in ("bce", "baseline:multilabel")
    }
    assert own["bce"] == own["baseline:multilabel"]
    assert own["bce"]
    hits = search(dataset.root, "water", sensor="s1", top=3).rows
    scores = [hit.score for hit in hits]
    assert len(hits) == 3
    assert np.isfinite(scores).all()
    assert scores == sorted(scores, reverse=True)


def test_the_multilabel_reference_needs_the_same_sensors(dataset: Dataset) -> None:
    write_run(dataset.root, "s1-only", "classes", sensors=("s1",))
    result = evaluate(dataset.root, "s1-only")
    assert {row.sensor for row in result.rows} == {"s1"}
    from baselines.checkpoints import load_run
    from baselines.evaluation import _multilabel

    loaded = load_run(dataset.root, "s1-only")
    assert _multilabel(dataset.root, loaded) == "s1-only"

    class Both:
        kind = "embedding"
        name = "clip"
        bands = {"s1": ("VV", "VH"), "s2": ("B02",)}  # noqa: RUF012

    assert _multilabel(dataset.root, Both()) is None  # type: ignore[arg-type]
    write_run(dataset.root, "two", "classes")
    assert _multilabel(dataset.root, Both()) == "two"  # type: ignore[arg-type]


def test_weights_are_as_readable_as_the_files_beside_them(dataset: Dataset) -> None:
    write_run(dataset.root, "clip", "embedding")
    files = run_files(dataset.root, "clip")
    assert files.model.stat().st_mode == files.config.stat().st_mode
