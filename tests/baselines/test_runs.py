"""Runs as they lie on disk: which one is meant, and untrained real models through the whole way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.checkpoints import (
    LoadedRun,
    RunConfig,
    load_run,
    run_files,
    write_config,
    write_tensors,
)
from baselines.closp import Closp, Kind, ModelConfig
from baselines.concept_queries import concept_queries
from baselines.encoders import BackboneConfig
from baselines.evaluation import evaluate
from baselines.filters import Filters
from baselines.recipes import RECIPES
from baselines.runs import choose_run
from baselines.scaling import SensorInput
from baselines.search import search
from landmark.dataset import Dataset
from landmark.errors import InputError
from landmark.shards import ShardReader
from tests.baselines.learnable import WordEncoder
from tests.baselines.tiny_dataset import (
    LAYOUTS,
    make_dataset,
    random_patches,
    single_queries,
    write_queries,
)

TEXT = WordEncoder(16)


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
        text=TEXT.config if kind == "concepts" else None,
    )
    recipe = {"classes": "multilabel", "concepts": "concepts", "embedding": "clip"}[kind]
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
    built = kind != "embedding"
    tensors = Closp(model, TEXT).state_dict() if built else {"none": torch.zeros(1)}
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
    hits = search(dataset.root, "water", filters=Filters("s1"), top=3).rows
    scores = [hit.score for hit in hits]
    assert len(hits) == 3
    assert np.isfinite(scores).all()
    assert scores == sorted(scores, reverse=True)


def test_a_real_concept_run_is_evaluated_and_searched_by_words(dataset: Dataset) -> None:
    write_run(dataset.root, "concepts", "concepts")

    def opened(root: Path, name: str) -> LoadedRun:
        return load_run(root, name, text_encoder=TEXT)

    rows = evaluate(dataset.root, "concepts", open_run=opened).rows
    assert {row.run for row in rows} >= {"concepts", "baseline:random"}
    found = search(dataset.root, "a scene of water without trees", top=3, open_run=opened)
    assert found.understood == ("Water", "not Trees")
    assert len(found.rows) == 3
    loaded = opened(dataset.root, "concepts")
    (asked,) = concept_queries(loaded, ["water"])
    with ShardReader(dataset.root / found.rows[0].shard) as reader:
        pixels = reader.image(found.rows[0].row)[None]
    vectors, logits = loaded.model.describe_images(found.rows[0].sensor, pixels)
    described = np.concatenate([1 / (1 + np.exp(-logits)), vectors], axis=1)
    best = search(dataset.root, "water", top=12, open_run=opened).rows
    score = next(hit.score for hit in best if hit.patch_id == found.rows[0].patch_id)
    assert score == pytest.approx(float(asked.scores(described)[0]), abs=1e-4)
    with pytest.raises(InputError, match="names nothing to look for"):
        search(dataset.root, "and", open_run=opened)


def test_the_multilabel_reference_needs_the_same_sensors(dataset: Dataset) -> None:
    write_run(dataset.root, "s1-only", "classes", sensors=("s1",))
    result = evaluate(dataset.root, "s1-only")
    assert {row.sensor for row in result.rows} == {"s1"}
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
