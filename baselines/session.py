"""One sitting of a training run: steps, validation, checkpoints, and the finished files.

A run stands at (seed, epoch, step). Everything drawn is a function of these three, and weights,
optimiser state and best weights so far lie in one safetensors file with these numbers in its
header, so a run that was stopped and resumed equals one that was not (bit for bit on one CPU).
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.augmentation import turn, views
from baselines.checkpoints import RunFiles, read_tensors, write_tensors
from baselines.closp import Closp
from baselines.curves import draw_curves
from baselines.distributed import Processes
from baselines.features import feature_batches
from baselines.interrupts import Interrupt, listening
from baselines.loader import Loader, Split, Step, share
from baselines.logbook import Logbook, read_metrics
from baselines.objectives.base import Drawn, Objective
from baselines.optimisation import build_optimiser, optimiser_tensors, rate, restore_optimiser
from baselines.precision import choose_precision
from baselines.reading import Reading
from baselines.recipes import Recipe
from baselines.sampling import Order, Position
from baselines.scaling import unpack
from baselines.stepping import Stepper
from baselines.validation import validate
from landmark.commits import write_atomic
from landmark.errors import InputError, InterruptedRunError, LandmarkError
from landmark.progress import Progress

_MODEL = "model/"
_BEST = "best/"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: see `TrainSummary`."""

    steps: int
    best_epoch: int
    val_map: float | None
    seconds: float
    resumed: bool


@dataclass(frozen=True)
class Sitting:
    """How one sitting is held, beside what decides the run.

    Attributes:
        processes: This process among those of the run.
        workers: Decoding threads; None: as many as help.
        progress: Told of steps and epochs.
        hint: Command that goes on with the run.
        checkpoint_seconds: Between checkpoints inside a long epoch.
        tensorboard: Whether metrics are written for TensorBoard too.
        reading_processes: Processes that read patches instead of threads; 0: none.
    """

    processes: Processes
    workers: int | None
    progress: Progress
    hint: str
    checkpoint_seconds: float = 600.0
    tensorboard: bool = False
    reading_processes: int = 0


@dataclass(frozen=True)
class Data:
    """What a run learns from.

    Attributes:
        train: Sensor -> training patches.
        val: Sensor -> validation patches.
        usable: Sensor -> the training rows the objective can learn from.
        order: Which of them are drawn when.
        features: Sensor -> features of frozen backbones; empty: backbones see images.
    """

    train: Mapping[str, Split]
    val: Mapping[str, Split]
    usable: Mapping[str, NDArray[np.intp]]
    order: Order
    features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass
class _State:
    """What changes while a run goes on, beside weights and optimiser.

    Attributes:
        epoch: From 0; step: within it. The next batch to be taken.
        seconds: Spent in earlier sittings.
        best_epoch: From 1; 0: none yet.
        best_score: Its validation score; None without validation.
        losses: Sum of the losses of this epoch's steps.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_score: float | None = None
    losses: float = 0.0


class Session:
    """A run in the making; `run` takes it to its end.

    Args:
        model: With its initial weights.
        objective: What is minimised.
        recipe: How.
        pretrained: Towers whose weights were loaded: frozen for the recipe's first epochs.
        files: Where the run is written.
        data: What it learns from.
        sitting: How it is held.
    """

    def __init__(
        self,
        *,
        model: Closp,
        objective: Objective,
        recipe: Recipe,
        pretrained: frozenset[str],
        files: RunFiles,
        data: Data,
        sitting: Sitting,
    ) -> None:
        self._model = model
        self._recipe = recipe
        self._pretrained = pretrained
        self._files = files
        self._data = data
        self._sitting = sitting
        self._processes = sitting.processes
        self._progress = sitting.progress
        self._order = data.order
        most = max(len(rows) for rows in data.usable.values())
        if self._processes.count > 1 and min(recipe.batch, most) < 2 * self._processes.count:
            raise InputError(
                f"batch {recipe.batch} gives {self._processes.count} processes less than two "
                "patches each; raise --batch or start fewer processes"
            )
        self._total = recipe.epochs * self._order.steps
        self._optimiser = build_optimiser(model, recipe.lr, recipe.weight_decay)
        precision = choose_precision(recipe.precision, self._processes.device)
        self._stepper = Stepper(
            model, objective, recipe, self._optimiser, self._processes, precision
        )
        self._log = Logbook(files.metrics, files.events if sitting.tensorboard else None)
        self._best: dict[str, Tensor] = {}
        self._state = _State()
        self._loader: Loader | None = None
        self._began = time.monotonic()

    def run(self) -> Outcome:
        """Train to the end and write the files of a complete run.

        Raises:
            InterruptedRunError: A signal came; a checkpoint was written.
            LandmarkError: The loss is no longer finite.
        """
        resumed = self._restore()
        state = self._state
        self._progress.start(f"training {self._files.folder.name}", self._total)
        self._progress.advance(state.epoch * self._order.steps + state.step)
        try:
            with listening() as interrupt:
                while state.epoch < self._recipe.epochs and not self._has_waited_enough():
                    self._finish_epoch(interrupt)
            if self._processes.first:
                self._publish()
        finally:
            if self._loader is not None:
                self._loader.close()
            if self._processes.first:
                self._log.close()
        self._progress.finish()
        steps = state.epoch * self._order.steps
        return Outcome(steps, state.best_epoch, state.best_score, self._seconds(), resumed)

    def _has_waited_enough(self) -> bool:
        state, patience = self._state, self._recipe.patience
        return bool(
            patience and state.best_score is not None and state.epoch - state.best_epoch >= patience
        )

    def _finish_epoch(self, interrupt: Interrupt) -> None:
        state = self._state
        self._stepper.freeze(self._frozen())
        saved = time.monotonic()
        with contextlib.ExitStack() as stack:
            steps = self._steps(stack)
            for step in steps:
                state.losses += self._step(step)
                state.step = step.number + 1
                self._progress.advance()
                if number := self._processes.any(interrupt.signal):
                    self._save()
                    raise InterruptedRunError(
                        f"interrupted in epoch {state.epoch + 1} of {self._recipe.epochs}; "
                        f"go on with `{self._sitting.hint}`",
                        number,
                    )
                if time.monotonic() - saved > self._sitting.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()
        self._judge()
        state.epoch, state.step, state.losses = state.epoch + 1, 0, 0.0
        self._save()

    def _frozen(self) -> frozenset[str]:
        """Return the towers that are not trained in this epoch."""
        frozen = frozenset(self._data.train) if self._recipe.freeze_images else frozenset()
        return frozen | (
            self._pretrained if self._state.epoch < self._recipe.frozen_epochs else frozenset()
        )

    def _steps(self, stack: contextlib.ExitStack) -> Iterator[Step]:
        """Return the steps left of this epoch; what reads them is closed with `stack`."""
        state, data, part = self._state, self._data, self._processes.part
        start = Position(self._recipe.seed, state.epoch, state.step)
        if data.features:
            found = feature_batches(
                data.features, data.usable, self._order, self._recipe, start, part
            )
        else:
            if self._loader is None:
                self._loader = self._open_loader()
            found = self._loader.steps(start)
        return stack.enter_context(contextlib.closing(found))

    def _open_loader(self) -> Loader:
        """Return what reads the steps of all epochs; its processes are started once."""
        # The loss is read at the end of each step, so its arrays are free for the next.
        cuda = self._processes.device.type == "cuda"
        reading = Reading(
            workers=self._sitting.workers,
            processes=self._sitting.reading_processes,
            packed=cuda,
            floats=not cuda,
            reuse=True,
            pinned=cuda,
        )
        data = self._data
        return Loader(data.train, data.usable, self._order, reading, self._processes.part)

    def _step(self, step: Step) -> float:
        epoch = self._state.epoch
        done = epoch * self._order.steps + step.number
        lr = rate(done, self._total, self._recipe)
        drawn = Drawn(step.rows, (epoch, step.number), self._processes.part)
        inputs = {sensor: self._input(sensor, step) for sensor in step.batches}
        value = self._stepper.step(inputs, drawn, done, lr)
        if not math.isfinite(value):
            raise LandmarkError(
                f"the loss is no longer finite in epoch {epoch + 1}, step {step.number + 1}; "
                "train again with a lower learning rate"
            )
        self._tell(
            {
                "kind": "step",
                "epoch": epoch + 1,
                "step": done + 1,
                "loss": round(value, 6),
                "lr": float(f"{lr:.6g}"),
            }
        )
        return value

    def _input(self, sensor: str, step: Step) -> Tensor:
        stored = torch.from_numpy(step.batches[sensor].images)
        stored = stored.to(self._processes.device, non_blocking=True)
        if self._data.features:
            return stored
        if stored.ndim == 2:  # packed: the device spreads coarse bands
            stored = unpack(stored, self._data.train[sensor].layout)
        images = self._model.prepare(sensor, stored)
        kinds = views(self._recipe.augment)
        if len(kinds) == 1:
            return images
        drawn = self._order.symmetries(
            self._state.epoch, step.number, sensor, len(step.rows[sensor])
        )
        return turn(images, kinds[share(drawn, self._processes.part) % len(kinds)])

    def _judge(self) -> None:
        """Validate after an epoch; keep the weights if no epoch was better."""
        state = self._state
        self._processes.share_buffers(self._model)
        val = validate(self._model, self._data.val, self._sitting.workers, self._processes)
        score = round(math.fsum(val.values()) / len(val), 6) if val else None
        if score is None or state.best_score is None or score >= state.best_score:
            state.best_epoch, state.best_score = state.epoch + 1, score
            self._best = self._weights()
        loss = state.losses / self._order.steps
        row: dict[str, Any] = {
            "kind": "epoch",
            "epoch": state.epoch + 1,
            "step": (state.epoch + 1) * self._order.steps,
            "loss": round(loss, 6),
            "val": {sensor: round(value, 6) for sensor, value in val.items()},
            "val_map": score,
        }
        if self._model.log_scale is not None:
            row["temperature"] = round(1.0 / self._model.scale().item(), 6)
        self._tell(row)
        shown = "" if score is None else f", val mAP {score:.3f}"
        self._progress.note(f"epoch {state.epoch + 1}: loss {loss:.3f}{shown}")

    def _tell(self, row: dict[str, Any]) -> None:
        if self._processes.first:
            self._log.add(row)

    def _weights(self) -> dict[str, Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self._model.state_dict().items()}

    def _save(self) -> None:
        if not self._processes.first:
            return
        state = self._state
        tensors = {f"{_MODEL}{k}": v for k, v in self._model.state_dict().items()}
        tensors |= {f"{_BEST}{k}": v for k, v in self._best.items()}
        tensors |= optimiser_tensors(self._model, self._optimiser)
        notes = {
            "epoch": state.epoch,
            "step": state.step,
            "seconds": self._seconds(),
            "best_epoch": state.best_epoch,
            "best_score": state.best_score,
            "losses": state.losses,
            "rows": self._log.rows,
            "scaler": self._stepper.scaler.state_dict(),
        }
        write_tensors(self._files.checkpoint, tensors, {"state": json.dumps(notes)})

    def _restore(self) -> bool:
        found = self._files.checkpoint.is_file()
        rows = 0
        if found:
            tensors, header = read_tensors(self._files.checkpoint)
            notes = json.loads(header["state"])
            rows = notes.pop("rows")
            self._stepper.scaler.load_state_dict(notes.pop("scaler"))
            self._state = _State(**notes)
            self._model.load_state_dict(_under(_MODEL, tensors))
            self._best = _under(_BEST, tensors)
            restore_optimiser(self._model, self._optimiser, tensors)
        # All have read the folder before the first process writes to it.
        self._processes.wait()
        if self._processes.first:
            self._log.start(rows)
        return found

    def _publish(self) -> None:
        """Write what makes a run complete, the weights last, and drop the checkpoint."""
        name = self._files.folder.name
        rows = read_metrics(self._files.metrics)
        write_atomic(self._files.curves, draw_curves(rows, f"run {name}"))
        write_atomic(self._files.timing, json.dumps({"seconds": round(self._seconds(), 3)}) + "\n")
        notes = {"epoch": str(self._state.best_epoch)}
        write_tensors(self._files.model, self._best or self._weights(), notes)
        self._files.checkpoint.unlink(missing_ok=True)

    def _seconds(self) -> float:
        return self._state.seconds + time.monotonic() - self._began


def summarise_complete(files: RunFiles) -> Outcome:
    """Return how a complete run ended, from its files."""
    rows = read_metrics(files.metrics)
    epochs = [row for row in rows if row["kind"] == "epoch"]
    steps = sum(row["kind"] == "step" for row in rows)
    seconds = json.loads(files.timing.read_bytes())["seconds"] if files.timing.is_file() else 0.0
    if not epochs:
        return Outcome(steps, 0, None, seconds, False)
    best = max(epochs, key=lambda row: (row["val_map"] or 0.0, row["epoch"]))
    return Outcome(steps, best["epoch"], best["val_map"], seconds, False)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
