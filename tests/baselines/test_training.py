from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import baselines.session
from baselines import closp
from baselines.checkpoints import (
    list_runs,
    load_run,
    read_config,
    read_tensors,
    run_files,
    write_config,
    write_tensors,
)
from baselines.loader import open_split
from baselines.logbook import read_metrics
from baselines.training import TrainOptions, TrainSummary, train
from landmark.errors import InputError, InterruptedRunError, LandmarkError
from landmark.progress import Silent
from tests.baselines.learnable import WordEncoder, make_learnable

pytestmark = pytest.mark.integration

TEXT = WordEncoder()
TINY = TrainOptions(recipe="clip", model="test_efficientnet", epochs=3, batch=8, lr=4e-3, workers=2)


def run(root: Path, options: TrainOptions, progress: Any = None) -> TrainSummary:
    return train(root, options, progress or Silent(), text_encoder=TEXT)


class Stop(Silent):
    """Sends this process a signal after a number of steps."""

    def __init__(self, after: int, number: int) -> None:
        self.left = after
        self.number = number

    def advance(self, units: int = 1, holes: int = 0) -> None:
        if units:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"train": (24, 16), "val": (16, 12)}
    return make_learnable(tmp_path_factory.mktemp("training"), counts)


@pytest.fixture(scope="module")
def done(root: Path) -> TrainSummary:
    return run(root, TINY)


@pytest.fixture(scope="module")
def classes(root: Path) -> TrainSummary:
    return run(root, replace(TINY, recipe="multilabel"))


def test_a_run_folder_holds_what_the_design_says(root: Path, done: TrainSummary) -> None:
    files = {path.name for path in (root / "runs" / "clip").iterdir()}
    expected = {"config.yaml", "metrics.jsonl", "model.safetensors", "curves.png", "timing.json"}
    assert files == expected
    assert (root / "runs/clip/curves.png").read_bytes().startswith(b"\x89PNG")
    # Every tenth patch has no caption.
    assert done.patches == {"s1": 22, "s2": 15}
    assert done.steps == 3 * 3
    assert json.loads(json.dumps(done.to_dict())) == done.to_dict()


def test_metrics_have_a_row_per_step_and_epoch(root: Path, done: TrainSummary) -> None:
    rows = read_metrics(root / "runs/clip/metrics.jsonl")
    steps = [row for row in rows if row["kind"] == "step"]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    assert [row["step"] for row in steps] == list(range(1, 10))
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    assert set(epochs[0]["val"]) == {"s1", "s2"}
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert epochs[-1]["temperature"] != pytest.approx(0.07, abs=1e-7)
    best = max(row["val_map"] for row in epochs)
    assert done.val_map == pytest.approx(best, abs=1e-6)
    assert done.best_epoch == max(r["epoch"] for r in epochs if r["val_map"] == best)


def test_the_config_comes_back_equal_and_names_no_place(root: Path, done: TrainSummary) -> None:
    files = run_files(root, "clip")
    config = read_config(files)
    text = files.config.read_text()
    assert str(root) not in text
    assert yaml.safe_load(text)["recipe"]["epochs"] == 3
    copied = run_files(root, "copied")
    write_config(copied, config)
    assert read_config(copied) == config
    shutil.rmtree(copied.folder)


def test_what_was_learned_is_loaded_from_a_moved_dataset(
    root: Path, done: TrainSummary, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path / "moved")
    loaded = load_run(tmp_path / "moved", "clip", text_encoder=TEXT)
    assert loaded.kind == "embedding"
    with open_split(root, "s2", "val") as split:
        images = split.read(np.arange(len(split)))
        vectors = loaded.model.encode_images("s2", images)
    assert vectors.shape == (12, 32 if loaded.config.model.dim == 32 else 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    texts = loaded.model.encode_texts(["water", "trees. crops"])
    assert texts.shape == (2, vectors.shape[1])
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    # Batches do not see each other.
    alone = loaded.model.encode_images("s2", images[:1])
    np.testing.assert_allclose(alone, vectors[:1], atol=1e-5)


def test_a_class_run_gives_logits(root: Path, classes: TrainSummary) -> None:
    loaded = load_run(root, "multilabel")
    assert (loaded.kind, loaded.text_encoder) == ("classes", None)
    with open_split(root, "s1", "val") as split:
        logits = loaded.model.class_logits("s1", split.read(np.arange(4)))
    assert logits.shape == (4, 12)
    with pytest.raises(LandmarkError, match="no vectors"):
        loaded.model.encode_images("s1", np.zeros((1, 2, 120, 120), np.float32))
    with pytest.raises(LandmarkError, match="no text encoder"):
        loaded.model.encode_texts(["water"])
    assert set(list_runs(root)) >= {"multilabel"}


def test_labels_are_learned_well_above_chance(classes: TrainSummary) -> None:
    assert classes.val_map is not None
    assert classes.val_map > 0.6


def test_wrong_bands_and_sensors_are_one_line(root: Path, done: TrainSummary) -> None:
    model = load_run(root, "clip", text_encoder=TEXT).model
    with pytest.raises(InputError, match=r"trained on 4 Sentinel-2 bands .* patches have 12"):
        model.encode_images("s2", np.zeros((1, 12, 120, 120), np.uint16))
    with pytest.raises(InputError, match="not trained on sensor 's3', only on s1, s2"):
        model.encode_images("s3", np.zeros((1, 12, 120, 120), np.uint16))


@pytest.mark.parametrize("after", [2, 5, 8])
def test_interrupted_and_resumed_equals_undisturbed(
    root: Path, done: TrainSummary, tmp_path: Path, after: int
) -> None:
    number = signal.SIGTERM if after % 2 else signal.SIGINT
    shutil.copytree(root / "shards", tmp_path / "shards")
    with pytest.raises(InterruptedRunError, match="--run clip --resume") as caught:
        run(tmp_path, TINY, Stop(after, number))
    assert caught.value.exit_code == 128 + number
    files = run_files(tmp_path, "clip")
    assert files.checkpoint.is_file()
    assert not files.model.exists()
    with pytest.raises(InputError, match="begun and not finished; go on with --resume"):
        run(tmp_path, TINY)
    summary = run(tmp_path, replace(TINY, resume=True))
    assert summary.resumed
    assert summary.val_map == done.val_map
    whole = run_files(root, "clip")
    assert files.model.read_bytes() == whole.model.read_bytes()
    assert files.metrics.read_bytes() == whole.metrics.read_bytes()
    assert not files.checkpoint.exists()


def test_killed_before_its_first_checkpoint_it_starts_again(
    root: Path, done: TrainSummary, tmp_path: Path
) -> None:
    shutil.copytree(root / "shards", tmp_path / "shards")
    write_config(run_files(tmp_path, "clip"), read_config(run_files(root, "clip")))
    assert not run(tmp_path, replace(TINY, resume=True)).resumed
    whole = run_files(root, "clip").model.read_bytes()
    assert run_files(tmp_path, "clip").model.read_bytes() == whole


def test_killed_before_publishing_it_only_publishes(
    root: Path, done: TrainSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(root / "shards", tmp_path / "shards")

    def die(self: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(baselines.session.Session, "_publish", die)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, TINY)
    assert run(tmp_path, replace(TINY, resume=True)).resumed
    whole = run_files(root, "clip").model.read_bytes()
    assert run_files(tmp_path, "clip").model.read_bytes() == whole


def test_a_complete_run_is_not_overwritten(root: Path, done: TrainSummary) -> None:
    with pytest.raises(InputError, match="'clip' is there already; choose another name"):
        run(root, TINY)
    again = run(root, replace(TINY, resume=True))
    assert again.complete_before
    assert (again.val_map, again.best_epoch) == (done.val_map, done.best_epoch)


def test_a_run_is_resumed_by_the_recipe_it_recorded(root: Path, done: TrainSummary) -> None:
    again = run(root, TrainOptions(recipe="clip", resume=True))
    assert (again.complete_before, again.epochs) == (True, 3)


def test_a_run_begun_otherwise_is_not_continued(root: Path, done: TrainSummary) -> None:
    with pytest.raises(InputError, match=r"other settings \(recipe.seed: recipe.seed was 0, is 1"):
        run(root, replace(TINY, resume=True, seed=1))


def test_seeds_differ_and_equal_seeds_do_not(
    root: Path, done: TrainSummary, tmp_path: Path
) -> None:
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(root, replace(TINY, run=name, seed=seed, epochs=1))
        weights.append(run_files(root, name).model.read_bytes())
        shutil.rmtree(run_files(root, name).folder)
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_training_leaves_torch_as_it_was(root: Path) -> None:
    torch.manual_seed(3)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    run(root, replace(TINY, run="state", epochs=1))
    shutil.rmtree(run_files(root, "state").folder)
    assert torch.equal(before, torch.random.get_rng_state())
    assert threads == torch.get_num_threads()


def test_nothing_to_learn_from_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `landmark harmonize` first"):
        run(tmp_path, TINY)
    make_learnable(tmp_path, {"corpus": (4, 4)})
    with pytest.raises(InputError, match="split train holds fewer than two patches with a caption"):
        run(tmp_path, TINY)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "clap"}, "unknown recipe 'clap'; did you mean 'clip'"),
        ({"model": "resnet5"}, "unknown model 'resnet5'.*near names: resnet50"),
        ({"run": "../x"}, "run name '../x': allowed are"),
        ({"device": "quantum"}, "device 'quantum' is not one torch knows"),
    ],
)
def test_wrong_options_are_one_line_and_make_nothing(
    root: Path, change: dict[str, Any], message: str
) -> None:
    before = sorted((root / "runs").iterdir()) if (root / "runs").exists() else []
    with pytest.raises(InputError, match=message):
        run(root, replace(TINY, **{"run": "wrong", **change}))
    assert not (root / "runs/wrong/model.safetensors").exists()
    assert before == (sorted((root / "runs").iterdir()) if (root / "runs").exists() else [])


def test_a_missing_run_names_those_there_are(root: Path, done: TrainSummary) -> None:
    with pytest.raises(InputError, match=r"run 'clop' does not exist.*complete runs: .*clip"):
        load_run(root, "clop")


def test_damaged_weights_are_one_line(root: Path, done: TrainSummary, tmp_path: Path) -> None:
    shutil.copytree(root / "runs/clip", tmp_path / "runs/clip")
    model = run_files(tmp_path, "clip").model
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(LandmarkError, match=r"runs/clip/model.safetensors does not fit its config"):
        load_run(tmp_path, "clip", text_encoder=TEXT)


def test_the_image_side_is_built_at_the_first_image(
    root: Path, done: TrainSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_run(root, "clip", text_encoder=TEXT)
    with monkeypatch.context() as patch:
        patch.setattr(closp, "build_backbone", None)  # not asked for by a text
        vectors = loaded.model.encode_texts(["water"])
        assert not any(name.startswith("backbones") for name in loaded.model.state_dict())
    images = np.full((1, 4, 120, 120), 500, np.uint16)
    first = loaded.model.encode_images("s2", images)
    stored, _ = read_tensors(run_files(root, "clip").model)
    assert set(loaded.model.state_dict()) == set(stored)
    np.testing.assert_array_equal(loaded.model.encode_texts(["water"]), vectors)
    np.testing.assert_array_equal(loaded.model.encode_images("s2", images), first)


def test_weights_of_another_image_side_are_one_line(
    root: Path, done: TrainSummary, tmp_path: Path
) -> None:
    shutil.copytree(root / "runs/clip", tmp_path / "runs/clip")
    files = run_files(tmp_path, "clip")
    tensors, notes = read_tensors(files.model)
    write_tensors(files.model, {n: t for n, t in tensors.items() if "backbones.s2" not in n}, notes)
    model = load_run(tmp_path, "clip", text_encoder=TEXT).model
    with pytest.raises(LandmarkError, match=r"runs/clip/model.safetensors does not fit its config"):
        model.encode_images("s2", np.full((1, 4, 120, 120), 500, np.uint16))


def test_without_val_the_last_epoch_is_kept(tmp_path: Path) -> None:
    make_learnable(tmp_path, {"train": (8, 0)})
    summary = run(tmp_path, replace(TINY, epochs=2))
    assert (summary.val_map, summary.best_epoch) == (None, 2)
    assert summary.patches == {"s1": 8}
    assert run(tmp_path, replace(TINY, epochs=2, resume=True)).best_epoch == 2


def test_a_loss_that_is_not_finite_ends_the_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "baselines.objectives.contrastive.Clip.loss",
        lambda self, model, *_: model.scale() * float("nan"),
    )
    with pytest.raises(LandmarkError, match="no longer finite in epoch 1, step 1"):
        run(root, replace(TINY, run="nan"))
    shutil.rmtree(run_files(root, "nan").folder)
