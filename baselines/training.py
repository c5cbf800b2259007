"""`train-baseline`: from the shards of a dataset to a complete run folder."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.beginning import Beginning, begin, open_sources
from baselines.checkpoints import RunConfig, RunFiles, read_config, run_files, write_config
from baselines.distributed import Processes, join
from baselines.features import cached_features
from baselines.loader import Split, fingerprint, open_split
from baselines.objectives.base import Material, Places
from baselines.objectives.building import build_objective, objective_class
from baselines.ordering import build_order, drawable
from baselines.partners import read_places
from baselines.precision import choose_precision, determinism
from baselines.recipes import CLASSIFIERS, Recipe, change, resolve
from baselines.session import Data, Outcome, Session, Sitting, summarise_complete
from baselines.text import TextEncoder, open_text_encoder
from baselines.threads import computing
from landmark.errors import InputError
from landmark.progress import Progress

SENSORS = ("s1", "s2")
_SPLITS = ("train", "val")


@dataclass(frozen=True)
class TrainOptions:
    """What the command can say; None: as the recipe has it.

    Attributes:
        recipe: Name of a recipe.
        model: timm backbone, or `s1=NAME,s2=NAME`, or a published pair.
        run: Folder name under runs/; None: the recipe's name.
        resume: Go on with an interrupted run, by the recipe it recorded (or start it, if it is not
            there).
        like: A run of this dataset whose recipe and initial weights are taken instead.
        weights: What the run begins from; see `baselines.beginning.open_sources`.
        epochs: Passes over the larger sensor's patches.
        batch: Patches per sensor and step.
        seed: Of weights, order and augmentation.
        lr: Peak learning rate.
        settings: Any other field of the recipe.
        workers: Threads that decode patches; None: as many as help.
        reading_processes: Processes that read patches instead of these threads; 0: none.
        threads: Threads torch computes with on a CPU; None: half of the cores.
        device: `cpu`, `cuda`, ...; None: CUDA where there is one.
        text: Text encoder: hub name or local folder.
        checkpoint_seconds: Between checkpoints inside a long epoch.
        tensorboard: Write metrics for TensorBoard too.
    """

    recipe: str = "clip"
    model: str | None = None
    run: str | None = None
    resume: bool = False
    like: str | None = None
    weights: str | None = None
    epochs: int | None = None
    batch: int | None = None
    seed: int | None = None
    lr: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    workers: int | None = None
    reading_processes: int = 0
    threads: int | None = None
    device: str | None = None
    text: str | None = None
    checkpoint_seconds: float = 600.0
    tensorboard: bool = False


@dataclass(frozen=True)
class TrainSummary:
    """What came out.

    Attributes:
        run: Folder name under runs/.
        recipe: Name of the recipe.
        model: timm backbone.
        patches: Training patches per sensor.
        epochs: Of the whole run.
        steps: Taken (fewer than planned where the run stopped early).
        best_epoch: The epoch (from 1) whose weights were kept; 0: the initial ones.
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
class _Opened:
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
        InputError: No shards, nothing to learn from, an unknown recipe, model or setting, weights
            that do not fit, or a run of that name is there and `resume` was not asked for, or was
            trained otherwise.
        InterruptedRunError: A signal came; the run can be resumed.
        LandmarkError: A file is damaged, or the loss is no longer finite.
    """
    options, recipe = _recipe(root, options)
    if not recipe.epochs and options.weights is None:
        raise InputError("0 epochs leave an untrained model; give --weights, or epochs from 1")
    files = run_files(root, options.run or options.recipe)
    _check_vacant(files, options.resume)
    opened = _open(root, recipe)
    try:
        processes = join(options.device)
        choose_precision(recipe.precision, processes.device)
        threads = options.threads or (1 if recipe.deterministic else None)
        with computing(threads), determinism(recipe), torch.random.fork_rng():
            return _train(root, options, progress, recipe, files, opened, text_encoder, processes)
    finally:
        for split in (*opened.train.values(), *opened.val.values()):
            split.close()


def _recipe(root: Path, options: TrainOptions) -> tuple[TrainOptions, Recipe]:
    """Return the recipe with all changes, and the options with what an earlier run decided."""
    given: dict[str, Any] = {
        "model": options.model,
        "epochs": options.epochs,
        "batch": options.batch,
        "seed": options.seed,
        "lr": options.lr,
        **options.settings,
    }
    if options.like is None:
        files = run_files(root, options.run or options.recipe)
        if options.resume and files.config.is_file():
            config = read_config(files)
            if config.recipe_name == options.recipe:
                # What was said when the run began need not be said again.
                return options, change(config.recipe, f"run {files.folder.name}", **given)
        return options, resolve(options.recipe, **given)
    config = read_config(run_files(root, options.like))
    if config.weights and options.weights is None:
        names = ", ".join(f"{tower} {record.name}" for tower, record in config.weights.items())
        raise InputError(f"run {options.like!r} began from {names}; give the same with --weights")
    recipe = change(config.recipe, f"run {options.like}", **given)
    return _named(options, config.recipe_name), recipe


def _named(options: TrainOptions, recipe: str) -> TrainOptions:
    return TrainOptions(**{**_shallow(options), "recipe": recipe})


def _shallow(options: TrainOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}


def _train(
    root: Path,
    options: TrainOptions,
    progress: Progress,
    recipe: Recipe,
    files: RunFiles,
    opened: _Opened,
    text: TextEncoder | None,
    processes: Processes,
) -> TrainSummary:
    if recipe.objective == "multilabel":
        text = None
    elif text is None:
        text = open_text_encoder(options.text or recipe.text, recipe.pooling)
    if text is not None:
        recipe = change(recipe, "recipe", text=text.config.name)
    sources = open_sources(options.weights, recipe)
    began = begin(recipe, opened.train, opened.usable, text, sources)
    config = _config(root, options.recipe, recipe, opened, began)
    _check_equal(files, config)
    if files.model.is_file():
        return _summary(files, config, summarise_complete(files), complete_before=True)
    model = began.model.to(processes.device)
    places = _places(root, recipe, opened.train)
    # All processes look at the folder before the first one writes to it.
    processes.wait()
    if processes.first:
        write_config(files, config)
    features: dict[str, NDArray[np.float32]] = {}
    if recipe.freeze_images:
        model.freeze(opened.train)
        if processes.first:
            features = cached_features(root, model, opened.train, recipe, config.data, progress)
        processes.wait()
        if not processes.first:
            features = cached_features(root, model, opened.train, recipe, config.data, progress)
    session = Session(
        model=model,
        objective=build_objective(Material(recipe, opened.train, text, processes.device, places)),
        recipe=recipe,
        pretrained=began.pretrained,
        files=files,
        data=Data(
            opened.train,
            opened.val,
            opened.usable,
            build_order(recipe, opened.train, opened.usable, places, processes.count),
            features,
        ),
        sitting=Sitting(
            processes=processes,
            workers=options.workers,
            reading_processes=options.reading_processes,
            progress=progress,
            hint=f"landmark train-baseline {root} --recipe {options.recipe} "
            f"--run {files.folder.name} --resume",
            checkpoint_seconds=options.checkpoint_seconds,
            tensorboard=options.tensorboard,
        ),
    )
    return _summary(files, config, session.run(), complete_before=False)


def _places(root: Path, recipe: Recipe, train: Mapping[str, Split]) -> dict[str, Places]:
    return read_places(root, train) if recipe.location_weight or recipe.pair_weight else {}


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


def _open(root: Path, recipe: Recipe) -> _Opened:
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
        what = "known classes" if recipe.objective in CLASSIFIERS else "a caption"
        raise InputError(
            f"{root}: split train holds fewer than two patches with {what}; widen the manifest's "
            "area, or its splits.train, and run `landmark harmonize` again"
        )
    return _Opened(train, val, drawable(recipe, train, usable))


def _config(root: Path, name: str, recipe: Recipe, opened: _Opened, began: Beginning) -> RunConfig:
    libraries = ("landmark", "numpy", "safetensors", "timm", "torch", "transformers")
    return RunConfig(
        recipe_name=name,
        recipe=recipe,
        model=began.model.config,
        data=fingerprint(root, _SPLITS),
        patches={sensor: len(rows) for sensor, rows in opened.usable.items()},
        weights=began.records,
        versions={library: importlib.metadata.version(library) for library in libraries},
    )


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
