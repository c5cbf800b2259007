"""Runs on disk: config.yaml, model.safetensors, and the checkpoint a run is resumed from.

Everything is safetensors and YAML; nothing is ever unpickled.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from baselines.closp import Closp, Kind, ModelConfig
from baselines.recipes import Recipe
from baselines.text import TextEncoder, reopen_text_encoder
from baselines.weights import WeightsRecord
from landmark.commits import atomic_path, write_atomic
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError

CONFIG_VERSION = 2

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class RunConfig(BaseModel):
    """What `config.yaml` holds: all that decides a run, resolved.

    Attributes:
        version: Of this form.
        recipe_name: Which recipe was asked for.
        recipe: Its fields after the options of the command.
        model: How to build the model.
        data: xxh3 over the commit marks of the train and val shards.
        patches: Usable training patches per sensor.
        weights: Tower (`s1`, `s2`, `location`; `model` for all) -> the file it started from.
        versions: Libraries the run started with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = CONFIG_VERSION
    recipe_name: str
    recipe: Recipe
    model: ModelConfig
    data: str
    patches: dict[str, int]
    weights: dict[str, WeightsRecord] = {}
    versions: dict[str, str]


@dataclass(frozen=True)
class RunFiles:
    """The files of one run folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """All that decides the run (YAML)."""
        return self.folder / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object per line, written as it goes: losses of steps, scores of epochs."""
        return self.folder / "metrics.jsonl"

    @property
    def model(self) -> Path:
        """Weights of the best epoch; exists only when the run is complete."""
        return self.folder / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        """What an unfinished run is resumed from; removed when it is complete."""
        return self.folder / "checkpoint.safetensors"

    @property
    def timing(self) -> Path:
        """How long training took (JSON); apart, so that equal runs have equal metrics."""
        return self.folder / "timing.json"

    @property
    def events(self) -> Path:
        """TensorBoard's files, where they were asked for."""
        return self.folder / "tensorboard"

    @property
    def curves(self) -> Path:
        """Losses and validation scores (PNG)."""
        return self.folder / "curves.png"


@dataclass(frozen=True)
class LoadedRun:
    """A complete run, ready to encode.

    Attributes:
        name: Folder name under runs/.
        config: All that decided it.
        model: In eval mode.
    """

    name: str
    config: RunConfig
    model: Closp

    @property
    def kind(self) -> Kind:
        """`embedding`: rank by cosine; `classes`, `concepts`: by class probabilities."""
        return self.config.model.kind

    @property
    def text_encoder(self) -> TextEncoder | None:
        """The text tower; None for `classes`."""
        return self.model.text

    @property
    def bands(self) -> dict[str, tuple[str, ...]]:
        """Sensor -> the bands the model expects, in order."""
        return {sensor: item.bands for sensor, item in self.config.model.inputs.items()}


def run_files(root: Path, run: str) -> RunFiles:
    """Return the files of a run of a dataset.

    Raises:
        InputError: The name cannot be a folder's.
    """
    if not _NAME.fullmatch(run):
        raise InputError(
            f"run name {run!r}: allowed are letters, digits, '_', '.' and '-', no leading dot"
        )
    return RunFiles(Dataset(root).runs / run)


def list_runs(root: Path) -> list[str]:
    """Return the names of the complete runs of a dataset, sorted."""
    runs = Dataset(root).runs
    if not runs.is_dir():
        return []
    folders = (path for path in runs.iterdir() if path.is_dir())
    return sorted(path.name for path in folders if RunFiles(path).model.is_file())


def load_run(
    root: Path,
    run: str,
    *,
    device: str = "cpu",
    text_encoder: TextEncoder | None = None,
) -> LoadedRun:
    """Load a complete run.

    Args:
        root: Dataset directory.
        run: Folder name under runs/.
        device: Where the image side runs.
        text_encoder: Used instead of opening the one the run names (tests).

    Raises:
        InputError: There is no such run, it is not complete, or its text tower is not here.
        LandmarkError: A file of the run is damaged.
    """
    files = run_files(root, run)
    if not files.model.is_file():
        known = ", ".join(list_runs(root))
        hint = f"; complete runs: {known}" if known else ""
        state = "is not complete" if files.config.is_file() else "does not exist"
        raise InputError(f"{root}: run {run!r} {state}; run `landmark train-baseline` first{hint}")
    config = read_config(files)
    text = text_encoder
    if text is None and config.model.text is not None:
        text = reopen_text_encoder(config.model.text)
    weights = _Weights(files.model, str(files.model.relative_to(root)))
    model = Closp(config.model, text, weights.load_into)
    weights.load_into(model, model.state_dict())
    return LoadedRun(run, config, model.to(device).eval())


@dataclass(frozen=True)
class _Weights:
    """The weights file of a run.

    Attributes:
        path: The file.
        name: As it is called in errors.
    """

    path: Path
    name: str

    def load_into(self, model: Closp, names: Iterable[str] | None = None) -> None:
        """Load all of it, or just some tensors, into a model that has no others.

        Raises:
            LandmarkError: The file is damaged or of another model.
        """
        try:
            with safe_open(self.path, framework="pt") as stream:
                wanted = stream.keys() if names is None else names
                model.load_state_dict({name: stream.get_tensor(name) for name in wanted})
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise LandmarkError(
                f"{self.name} does not fit its config ({reason}); train again"
            ) from None


def write_config(files: RunFiles, config: RunConfig) -> None:
    """Write config.yaml."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, width=100)
    write_atomic(files.config, text)


def read_config(files: RunFiles) -> RunConfig:
    """Read config.yaml.

    Raises:
        LandmarkError: It is missing or damaged.
    """
    origin = f"runs/{files.folder.name}/{files.config.name}"
    try:
        return RunConfig.model_validate(yaml.safe_load(files.config.read_text()))
    except FileNotFoundError:
        raise LandmarkError(f"{origin} is missing; train again") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise LandmarkError(f"{origin}: {field}: {first['msg']}") from None
    except yaml.YAMLError:
        raise LandmarkError(f"{origin} is not YAML; train again") from None


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], notes: dict[str, str]) -> None:
    """Write tensors and string notes as one safetensors file, whole or not at all."""
    own = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        mode = stat.S_IMODE(temporary.stat().st_mode)
        save_file(own, temporary, metadata=notes)
        # safetensors makes a file of its own that only its writer may read; a run is shared.
        temporary.chmod(mode)


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote.

    Raises:
        LandmarkError: The file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            notes: dict[str, Any] = stream.metadata() or {}
            return {name: stream.get_tensor(name) for name in stream.keys()}, notes  # noqa: SIM118
    except (SafetensorError, OSError):
        raise LandmarkError(f"{path.name} of run {path.parent.name} is damaged") from None
