"""`train-baseline`: from the shards of a dataset to a complete run folder."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.checkpoints import RunConfig, RunFiles, read_config, run_files, write_config
from baselines.closp import Closp, ModelConfig
from baselines.distributed import Processes, join
from baselines.loader import Split, fingerprint, open_split
from baselines.objectives import build_objective, objective_class
from baselines.recipes import Recipe, resolve
from baselines.sampling import draws
from baselines.scaling import SensorInput, Statistics
from baselines.session import Outcome, Session, summarise_complete
from baselines.text import TextEncoder, open_text_encoder
from baselines.threads import computing
from landmark.errors import InputError
from landmark.progress import Progress

SENSORS = ("s1", "s2")
#: Training patches looked at for the mean and spread of each band.
_STATISTICS_PATCHES = 256


@dataclass(frozen=True)
class TrainOptions:
    """What the command can say; None: as the recipe has it.

    Attributes:
        recipe: Name of a recipe.
        model: timm backbone.
        run: Folder name under runs/; None: the recipe's name.
        resume: Go on with an interrupted run (or start it, if it is not there).
        epochs: Passes over the larger sensor's patches.
        batch: Patches per sensor and step.
        seed: Of weights, order and augmentation.
        lr: Peak learning rate.
        workers: Threads that decode patches; None: as many as help.
        threads: Threads torch computes with on a CPU; None: half of the cores.
        device: `cpu`, `cuda`, ...; None: CUDA where there is one.
        text: Text encoder: hub name or local folder.
    """

    recipe: str = "clip"
    model: str | None = None
    run: str | None = None
    resume: bool = False
    epochs: int | None = None
    batch: int | None = None
    seed: int | None = None
    lr: float | None = None
    workers: int | None = None
    threads: int | None = None
    device: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class TrainSummary:
    """What came out.

    Attributes:
        run: Folder name under runs/.
        recipe: Name of the recipe.
        model: timm backbone.
        patches: Training patches per sensor.
        epochs: Of the whole run.
        steps: Of the whole run.
        best_epoch: The epoch (from 1) whose weights were kept.
        val_map: Its mean AP over single classes of split val, mean over sensors; None without val.
        seconds: Time in training, over all sittings.
        resumed: Whether this sitting began in the middle.
        complete_before: Whether there was nothing to do.
    """

    run: str
    recipe: str
    model: str
    patches: dict[str, int]
    epochs: int
    steps: int
    best_epoch: int
    val_map: float | None
    seconds: float
    resumed: bool
    complete_before: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Data:
    train: dict[str, Split]
    val: dict[str, Split]
    usable: dict[str, NDArray[np.intp]]


def train(
    root: Path,
    options: TrainOptions,
    progress: Progress,
    *,
    text_encoder: TextEncoder | None = None,
) -> TrainSummary:
    """Train a baseline on a dataset; under torchrun, all processes together.

    Args:
        root: Dataset directory with shards/.
        options: What the command was given.
        progress: Told of steps and epochs.
        text_encoder: Used instead of opening the recipe's (tests).

    Raises:
        InputError: No shards, nothing to learn from, an unknown recipe or model, or a run of that
            name is there and `resume` was not asked for, or was trained otherwise.
        InterruptedRunError: A signal came; the run can be resumed.
        LandmarkError: A file is damaged, or the loss is no longer finite.
    """
    recipe = resolve(
        options.recipe,
        model=options.model,
        epochs=options.epochs,
        batch=options.batch,
        seed=options.seed,
        lr=options.lr,
    )
    files = run_files(root, options.run or options.recipe)
    _check_vacant(files, options.resume)
    data = _open(root, recipe)
    processes = join(options.device)
    try:
        with computing(options.threads), torch.random.fork_rng():
            return _train(root, options, progress, recipe, files, data, text_encoder, processes)
    finally:
        for split in (*data.train.values(), *data.val.values()):
            split.close()
        processes.leave()


def _train(
    root: Path,
    options: TrainOptions,
    progress: Progress,
    recipe: Recipe,
    files: RunFiles,
    data: _Data,
    text: TextEncoder | None,
    processes: Processes,
) -> TrainSummary:
    if recipe.objective != "clip":
        text = None
    elif text is None:
        text = open_text_encoder(options.text or recipe.text, recipe.pooling)
    if text is not None:
        recipe = resolve(options.recipe, **{**recipe.model_dump(), "text": text.config.name})
    config = _resolve_config(root, options.recipe, recipe, data, text)
    _check_equal(files, config)
    if files.model.is_file():
        return _summary(files, config, summarise_complete(files), complete_before=True)
    torch.manual_seed(recipe.seed)
    model = Closp(config.model, text).to(processes.device)
    session = Session(
        model=model,
        objective=build_objective(recipe, data.train, text, processes.device),
        recipe=recipe,
        files=files,
        train=data.train,
        val=data.val,
        usable=data.usable,
        processes=processes,
        workers=options.workers,
        progress=progress,
        hint=f"landmark train-baseline {root} --recipe {options.recipe} "
        f"--run {files.folder.name} --resume",
    )
    # All processes look at the folder before the first one writes to it.
    processes.wait()
    if processes.first:
        write_config(files, config)
    return _summary(files, config, session.run(), complete_before=False)


def _check_vacant(files: RunFiles, resume: bool) -> None:
    if resume or not files.config.is_file():
        return
    name = files.folder.name
    if files.model.is_file():
        raise InputError(f"run {name!r} is there already; choose another name with --run NAME")
    raise InputError(
        f"run {name!r} was begun and not finished; go on with --resume, or choose another name "
        "with --run NAME"
    )


def _check_equal(files: RunFiles, config: RunConfig) -> None:
    """Refuse to go on with a run that another config began."""
    if not files.config.is_file():
        return
    before, now = (_flat(c.model_dump(mode="json")) for c in (read_config(files), config))
    names = (name for name in sorted({*before, *now}) if not name.startswith("versions."))
    changed = [name for name in names if before.get(name) != now.get(name)]
    if changed:
        first = changed[0]
        raise InputError(
            f"run {files.folder.name!r} was begun with other settings ({', '.join(changed[:5])}: "
            f"{first} was {before.get(first)!r}, is {now.get(first)!r}); give the same, or choose "
            "another name with --run NAME"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flat(item, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _open(root: Path, recipe: Recipe) -> _Data:
    objective = objective_class(recipe)
    train, val, usable = {}, {}, {}
    for sensor in SENSORS:
        split = open_split(root, sensor, "train")
        if split is None:
            continue
        rows = np.flatnonzero(objective.usable(split))
        if not rows.size:
            split.close()
            continue
        train[sensor], usable[sensor] = split, rows
        held = open_split(root, sensor, "val")
        if held is not None:
            val[sensor] = held
    if max((len(rows) for rows in usable.values()), default=0) < 2:
        what = "a caption" if recipe.objective == "clip" else "known classes"
        raise InputError(
            f"{root}: split train holds fewer than two patches with {what}; widen the manifest's "
            "area, or its splits.train, and run `landmark harmonize` again"
        )
    return _Data(train, val, usable)


def _resolve_config(
    root: Path, name: str, recipe: Recipe, data: _Data, text: TextEncoder | None
) -> RunConfig:
    inputs = {
        sensor: _statistics(split, data.usable[sensor], recipe.seed)
        for sensor, split in data.train.items()
    }
    model = ModelConfig(
        kind=objective_class(recipe).kind,
        backbone=recipe.model,
        size=recipe.size,
        dim=recipe.dim,
        temperature=recipe.temperature,
        text_projection=text is not None
        and (recipe.text_projection or text.config.width != recipe.dim),
        inputs=inputs,
        text=text.config if text is not None else None,
    )
    libraries = ("landmark", "numpy", "safetensors", "timm", "torch", "transformers")
    return RunConfig(
        recipe_name=name,
        recipe=recipe,
        model=model,
        data=fingerprint(root, ("train", "val")),
        patches={sensor: len(rows) for sensor, rows in data.usable.items()},
        versions={library: importlib.metadata.version(library) for library in libraries},
    )


def _statistics(split: Split, usable: NDArray[np.intp], seed: int) -> SensorInput:
    """Measure mean and spread of each band on a sample of training patches."""
    count = min(len(usable), _STATISTICS_PATCHES)
    chosen = draws(seed, f"statistics/{split.sensor}").choice(usable, count, replace=False)
    statistics = Statistics(split.layout)
    for row in np.sort(chosen):
        statistics.add(split.image(int(row)))
    return statistics.result()


def _summary(
    files: RunFiles, config: RunConfig, outcome: Outcome, *, complete_before: bool
) -> TrainSummary:
    return TrainSummary(
        run=files.folder.name,
        recipe=config.recipe_name,
        model=config.recipe.model,
        patches=dict(config.patches),
        epochs=config.recipe.epochs,
        steps=outcome.steps,
        best_epoch=outcome.best_epoch,
        val_map=outcome.val_map,
        seconds=round(outcome.seconds, 3),
        resumed=outcome.resumed,
        complete_before=complete_before,
    )
