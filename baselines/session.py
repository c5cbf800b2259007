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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from baselines.augmentation import turn
from baselines.checkpoints import RunFiles, read_tensors, write_tensors
from baselines.closp import Closp
from baselines.curves import draw_curves, read_metrics
from baselines.distributed import Processes
from baselines.interrupts import Interrupt, listening
from baselines.loader import Loader, Split, Step, share
from baselines.objectives import Objective
from baselines.optimisation import (
    build_optimiser,
    optimiser_tensors,
    rate,
    restore_optimiser,
    set_rate,
)
from baselines.reading import Reading
from baselines.recipes import Recipe
from baselines.sampling import Order, Position
from baselines.scaling import unpack
from baselines.validation import validate
from landmark.commits import write_atomic
from landmark.errors import InputError, InterruptedRunError, LandmarkError
from landmark.progress import Progress

#: Seconds between checkpoints inside a long epoch.
_CHECKPOINT_SECONDS = 600.0
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
    rows: list[dict[str, Any]] = field(default_factory=list)


class Session:
    """A run in the making; `run` takes it to its end."""

    def __init__(
        self,
        *,
        model: Closp,
        objective: Objective,
        recipe: Recipe,
        files: RunFiles,
        train: Mapping[str, Split],
        val: Mapping[str, Split],
        usable: Mapping[str, NDArray[np.intp]],
        processes: Processes,
        workers: int | None,
        progress: Progress,
        hint: str,
    ) -> None:
        self._model = model
        self._objective = objective
        self._recipe = recipe
        self._files = files
        self._train = train
        self._val = val
        self._usable = usable
        self._processes = processes
        self._workers = workers
        self._progress = progress
        self._hint = hint
        counts = {sensor: len(rows) for sensor, rows in usable.items()}
        if processes.count > 1 and min(recipe.batch, max(counts.values())) < 2 * processes.count:
            raise InputError(
                f"batch {recipe.batch} gives {processes.count} processes less than two patches "
                "each; raise --batch or start fewer processes"
            )
        self._order = Order(counts, recipe.batch, recipe.seed)
        self._total = recipe.epochs * self._order.steps
        self._optimiser = build_optimiser(model, recipe.lr, recipe.weight_decay)
        self._parallel: nn.Module = _parallel(model, processes)
        self._best: dict[str, Tensor] = {}
        self._state = _State()
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
        with listening() as interrupt:
            while state.epoch < self._recipe.epochs:
                self._finish_epoch(interrupt)
        if self._processes.first:
            self._publish()
        self._progress.finish()
        return Outcome(self._total, state.best_epoch, state.best_score, self._seconds(), resumed)

    def _finish_epoch(self, interrupt: Interrupt) -> None:
        state = self._state
        start = Position(self._recipe.seed, state.epoch, state.step)
        saved = time.monotonic()
        with (
            self._loader() as loader,
            contextlib.closing(loader.steps(start)) as steps,
        ):
            for step in steps:
                state.losses += self._step(step)
                state.step = step.number + 1
                self._progress.advance()
                if number := self._processes.any(interrupt.signal):
                    self._save()
                    raise InterruptedRunError(
                        f"interrupted in epoch {state.epoch + 1} of {self._recipe.epochs}; "
                        f"go on with `{self._hint}`",
                        number,
                    )
                if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.monotonic()
        self._judge()
        state.epoch, state.step, state.losses = state.epoch + 1, 0, 0.0
        self._save()

    def _loader(self) -> Loader:
        # The loss is read at the end of each step, so its arrays are free when the next is taken.
        cuda = self._processes.device.type == "cuda"
        reading = Reading(
            workers=self._workers, packed=cuda, floats=not cuda, reuse=True, pinned=cuda
        )
        return Loader(self._train, self._usable, self._order, reading, self._processes.part)

    def _step(self, step: Step) -> float:
        epoch = self._state.epoch
        done = epoch * self._order.steps + step.number
        lr = rate(done, self._total, self._recipe.lr, self._recipe.warmup)
        set_rate(self._optimiser, lr)
        # Backbones with dropout draw from torch's generator: tie it to the step.
        torch.manual_seed(
            (self._recipe.seed << 32) + done * self._processes.count + self._processes.rank
        )
        self._parallel.train()
        inputs = {sensor: self._input(sensor, step) for sensor in step.batches}
        with _autocast(self._processes.device):
            outputs = self._parallel(inputs)
        loss = self._objective.loss(
            self._model, outputs, step.rows, (epoch, step.number), self._processes.part
        )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        value = self._processes.mean(loss)
        if not math.isfinite(value):
            raise LandmarkError(
                f"the loss is no longer finite in epoch {epoch + 1}, step {step.number + 1}; "
                "train again with a lower learning rate"
            )
        self._state.rows.append(
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
        if stored.ndim == 2:  # packed: the device spreads coarse bands
            stored = unpack(stored, self._train[sensor].layout)
        images = self._model.prepare(sensor, stored)
        if not self._recipe.augment:
            return images
        kinds = self._order.symmetries(
            self._state.epoch, step.number, sensor, len(step.rows[sensor])
        )
        return turn(images, share(kinds, self._processes.part))

    def _judge(self) -> None:
        """Validate after an epoch; keep the weights if no epoch was better."""
        state = self._state
        val = validate(self._model, self._val, self._workers) if self._processes.first else {}
        score = round(math.fsum(val.values()) / len(val), 6) if val else None
        if score is None or state.best_score is None or score >= state.best_score:
            state.best_epoch, state.best_score = state.epoch + 1, score
            self._best = {k: v.detach().cpu().clone() for k, v in self._model.state_dict().items()}
        loss = state.losses / self._order.steps
        row: dict[str, Any] = {
            "kind": "epoch",
            "epoch": state.epoch + 1,
            "loss": round(loss, 6),
            "val": {sensor: round(value, 6) for sensor, value in val.items()},
            "val_map": score,
            "seconds": round(self._seconds(), 3),
        }
        if self._model.log_scale is not None:
            row["temperature"] = round(1.0 / self._model.scale().item(), 6)
        state.rows.append(row)
        shown = "" if score is None else f", val mAP {score:.3f}"
        self._progress.note(f"epoch {state.epoch + 1}: loss {loss:.3f}{shown}")

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
            "rows": len(state.rows),
        }
        self._write_metrics()
        write_tensors(self._files.checkpoint, tensors, {"state": json.dumps(notes)})

    def _restore(self) -> bool:
        if not self._files.checkpoint.is_file():
            return False
        tensors, header = read_tensors(self._files.checkpoint)
        notes = json.loads(header["state"])
        rows = read_metrics(self._files.metrics)[: notes.pop("rows")]
        self._state = _State(**notes, rows=rows)
        self._model.load_state_dict(_under(_MODEL, tensors))
        self._best = _under(_BEST, tensors)
        restore_optimiser(self._model, self._optimiser, tensors)
        return True

    def _publish(self) -> None:
        """Write what makes a run complete, the weights last, and drop the checkpoint."""
        self._write_metrics()
        name = self._files.folder.name
        write_atomic(self._files.curves, draw_curves(self._state.rows, f"run {name}"))
        notes = {"epoch": str(self._state.best_epoch)}
        write_tensors(self._files.model, self._best, notes)
        self._files.checkpoint.unlink(missing_ok=True)

    def _write_metrics(self) -> None:
        text = "".join(json.dumps(row) + "\n" for row in self._state.rows)
        write_atomic(self._files.metrics, text)

    def _seconds(self) -> float:
        return self._state.seconds + time.monotonic() - self._began


def summarise_complete(files: RunFiles) -> Outcome:
    """Return how a complete run ended, from its metrics."""
    rows = read_metrics(files.metrics)
    epochs = [row for row in rows if row["kind"] == "epoch"]
    best = max(epochs, key=lambda row: (row["val_map"] or 0.0, row["epoch"]))
    steps = sum(row["kind"] == "step" for row in rows)
    return Outcome(steps, best["epoch"], best["val_map"], epochs[-1]["seconds"], False)


def _parallel(model: Closp, processes: Processes) -> nn.Module:
    if processes.count == 1:
        return model
    if processes.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return DistributedDataParallel(model, device_ids=[processes.device.index])
    return DistributedDataParallel(model)


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision where the device can: bfloat16 on CUDA only (on this CPU kind 10x slower)."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
