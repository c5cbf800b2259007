"""Every recipe, tower and option through a tiny training, and kills in the middle of it."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from baselines.checkpoints import load_run, read_config, run_files
from baselines.features import cached_features
from baselines.loader import open_split
from baselines.location import LocationConfig, LocationEncoder
from baselines.logbook import read_metrics
from baselines.recipes import RECIPES
from baselines.text import SentenceEncoder, open_text_encoder
from baselines.training import TrainOptions, TrainSummary, train
from landmark.errors import InputError
from landmark.progress import Silent
from tests.baselines.learnable import WordEncoder, make_learnable
from tests.baselines.test_published_checkpoints import tiny_bert

pytestmark = pytest.mark.integration

TEXT = WordEncoder()
BASE = TrainOptions(model="test_resnet", epochs=2, batch=8, lr=4e-3, threads=1, device="cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_learnable(tmp_path_factory.mktemp("recipes"), {"train": (16, 12), "val": (8, 8)})


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    return open_text_encoder(str(tiny_bert(tmp_path_factory.mktemp("bert"))), "cls")


def run(root: Path, name: str, text: Any = TEXT, **fields: Any) -> TrainSummary:
    return train(root, replace(BASE, run=name, **fields), Silent(), text_encoder=text)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "published"])
def test_every_recipe_learns_and_is_loaded_again(root: Path, recipe: str) -> None:
    summary = run(root, recipe, recipe=recipe)
    rows = [row for row in read_metrics(run_files(root, recipe).metrics) if row["kind"] == "epoch"]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert summary.val_map is not None
    loaded = load_run(root, recipe, text_encoder=TEXT)
    with open_split(root, "s1", "val") as split:
        vectors, logits = loaded.model.describe_images("s1", split.read(np.arange(3)))
    assert (vectors is None) == (loaded.kind == "classes")
    assert (logits is None) == (loaded.kind == "embedding")


def test_the_published_recipe_trains_the_text_tower_too(
    root: Path, bert: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = itertools.count(1)  # each epoch is better than the one before: the last is kept
    monkeypatch.setattr("baselines.session.validate", lambda *_: {"s1": next(scores) / 10})
    settings = {"size": 30, "classifier": 10}
    summary = run(root, "published", bert, recipe="published", settings=settings, epochs=2)
    assert summary.recipe == "published"
    weights = load_file(run_files(root, "published").model)
    base = bert.tower().state_dict()
    moved = [n for n, t in base.items() if not torch.equal(weights[f"tower.{n}"], t)]
    # The first epoch leaves the loaded tower alone; the second moves it.
    assert moved
    assert weights["projections.s1.weight"].shape[1] == 10
    loaded = load_run(root, "published", text_encoder=bert)
    texts = loaded.model.encode_texts(["water", "trees"])
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    first = run(root, "published-1", bert, recipe="published", settings=settings, epochs=1)
    assert first.best_epoch == 1
    frozen = load_file(run_files(root, "published-1").model)
    assert all(torch.equal(frozen[f"tower.{n}"], t) for n, t in base.items())


@pytest.mark.parametrize("model", ["closp-rn", "closp-vs", "closp-mix"])
def test_the_published_backbones_train(model: str, tmp_path: Path) -> None:
    make_learnable(tmp_path, {"train": (2, 2)})
    summary = run(tmp_path, "full", model=model, epochs=1, batch=2)
    assert (summary.model, summary.steps, summary.best_epoch) == (model, 1, 1)


def test_the_largest_published_backbone_trains(tmp_path: Path) -> None:
    # A network of full size: a minute and 12 GB.
    make_learnable(tmp_path, {"train": (0, 2)})  # one sensor: two towers would take twice as much
    summary = run(tmp_path, "full", model="closp-vl", epochs=1, batch=2)
    assert (summary.model, summary.steps, summary.best_epoch) == ("closp-vl", 1, 1)
    weights = load_file(run_files(tmp_path, "full").model)
    assert sum(t.numel() for t in weights.values()) > 300e6
    shutil.rmtree(tmp_path / "runs")  # more than a gigabyte


def test_a_mixed_model_takes_its_weights_from_files(root: Path, tmp_path: Path) -> None:
    location = LocationEncoder(LocationConfig(degree=3, hidden=8, width=6))
    nnet = {f"model.location.nnet.{n}": t.clone() for n, t in location.state_dict().items()}
    torch.save({"state_dict": nnet, "hyper_parameters": {"legendre_polys": 3}}, tmp_path / "l.ckpt")
    source = timm.create_model("test_resnet", in_chans=2, num_classes=0)
    save_file(source.state_dict(), tmp_path / "s1.safetensors")
    weights = f"s1={tmp_path / 's1.safetensors'},location={tmp_path / 'l.ckpt'}"
    fields: dict[str, Any] = {
        "model": "s1=test_resnet,s2=test_convnext",
        "weights": weights,
        "settings": {"location_weight": 1.0, "frozen_epochs": 1},
        "epochs": 1,
    }
    run(root, "mixed", **fields)
    config = read_config(run_files(root, "mixed"))
    assert config.weights["s1"].name == "s1.safetensors"
    assert config.model.location is not None
    assert config.model.location.degree == 3
    assert config.model.inputs["s1"].mean == (-12.59, -20.26)
    assert config.model.inputs["s2"].mean != (0.0,) * 4
    kept = load_file(run_files(root, "mixed").model)
    assert torch.equal(kept["backbones.s1.conv1.0.weight"], source.state_dict()["conv1.0.weight"])
    assert torch.equal(kept["location.layers.0.weight"], location.layers[0].weight)
    with pytest.raises(InputError, match=r"run 'mixed' began from s1 s1\.safetensors"):
        run(root, "again", like="mixed")
    with pytest.raises(InputError, match="'s3' is no tower; use s1, s2, location"):
        run(root, "x", weights="s3=a.pth")
    with pytest.raises(InputError, match="hold no whole CLOSP model; name the tower"):
        run(root, "x", weights=str(tmp_path / "s1.safetensors"))
    with pytest.raises(InputError, match="there are none for test_resnet"):
        run(root, "x", weights="ssl4eo")


def test_zero_epochs_need_weights(root: Path) -> None:
    with pytest.raises(InputError, match="0 epochs leave an untrained model; give --weights"):
        run(root, "none", epochs=0)


def test_frozen_features_are_computed_once_and_are_those_of_the_backbone(root: Path) -> None:
    fields = {"settings": {"freeze_images": True, "augment": "flips"}}
    run(root, "frozen", **fields)
    folder = root / "cache" / "features"
    files = sorted(path.name for path in folder.glob("*.npy"))
    assert len(files) == 2
    loaded = load_run(root, "frozen", text_encoder=TEXT)
    loaded.model.complete()
    with open_split(root, "s2", "train") as split:
        found = cached_features(
            root, loaded.model, {"s2": split}, loaded.config.recipe, loaded.config.data, Silent()
        )["s2"]
        images = torch.from_numpy(split.read(np.arange(len(split))))
    assert found.shape[:2] == (4, len(images))
    with torch.inference_mode():
        scaled = loaded.model.prepare("s2", images)
        flips = (scaled, scaled.flip(-1, -2), scaled.flip(-1), scaled.flip(-2))
        for view, flipped in enumerate(flips):
            expected = loaded.model.features("s2", flipped)
            torch.testing.assert_close(torch.from_numpy(found[view].copy()), expected)
    # The weights did not move, so a second run finds the same files.
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    run(root, "frozen-2", **fields)
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*.npy")}


@pytest.mark.parametrize("recipe", ["concepts", "siglip"])
def test_killed_at_any_step_and_resumed_the_log_is_that_of_an_undisturbed_run(
    root: Path, recipe: str, tmp_path: Path
) -> None:
    """Killed hard: nothing is written when it dies, only what checkpoints left before."""
    settings = {"deterministic": True, "max_norm": 1.0, "accumulate": 2}
    fields = {"recipe": recipe, "settings": settings, "checkpoint_seconds": 0.0}
    run(root, f"whole-{recipe}", **fields)
    whole = run_files(root, f"whole-{recipe}")

    class Killed(BaseException):
        pass

    class Dying(Silent):
        """Dies after some steps; the first call tells what earlier sittings did."""

        def __init__(self, after: int) -> None:
            self.calls = -1 - after

        def advance(self, units: int = 1, holes: int = 0) -> None:
            self.calls += 1
            if self.calls == 0:
                raise Killed

    shutil.copytree(root / "shards", tmp_path / "shards")
    options = replace(BASE, run="killed", resume=True, **fields)
    for after in (1, 2, 1, 2):  # the step it dies in is lost, the one before it was kept
        with pytest.raises(Killed):
            train(tmp_path, options, Dying(after), text_encoder=TEXT)
    train(tmp_path, options, Silent(), text_encoder=TEXT)
    killed = run_files(tmp_path, "killed")
    assert killed.metrics.read_bytes() == whole.metrics.read_bytes()
    assert killed.model.read_bytes() == whole.model.read_bytes()


def test_patience_ends_a_run_early(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.4, 0.3, 0.9])
    monkeypatch.setattr("baselines.session.validate", lambda *_: {"s1": next(scores)})
    summary = run(root, "patient", epochs=4, settings={"patience": 2})
    assert (summary.best_epoch, summary.val_map, summary.steps) == (1, 0.5, 3 * 2)


def test_a_run_like_another_equals_it(root: Path) -> None:
    run(root, "first", seed=3, epochs=1, settings={"augment": "none", "schedule": "constant"})
    again = replace(TrainOptions(like="first", threads=1, device="cpu"), run="second")
    train(root, again, Silent(), text_encoder=TEXT)
    files = [run_files(root, name) for name in ("first", "second")]
    assert files[0].model.read_bytes() == files[1].model.read_bytes()
    assert files[0].metrics.read_bytes() == files[1].metrics.read_bytes()
    assert read_config(files[0]) == read_config(files[1])
