"""One optimiser step: forward, loss over the whole step, backward, update.

With `accumulate` a step is computed in parts and every patch is still compared with all others
(GradCache, 2101.06983): the parts are first encoded without a graph, the loss gives the gradient of
each vector, and the parts are encoded again to hand these gradients on. Peak memory is that of one
part; the backbones run forward twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from baselines.closp import Closp, Output
from baselines.distributed import Processes
from baselines.objectives.base import Drawn, Objective
from baselines.optimisation import set_rate
from baselines.precision import Precision
from baselines.recipes import Recipe

Inputs = Mapping[str, Tensor]


class Stepper:
    """Takes a model through its steps.

    Args:
        model: What is trained.
        objective: What for.
        recipe: How.
        optimiser: Over all parameters of the model.
        processes: This process among those of the run.
        precision: Arithmetic of the backbones.
    """

    def __init__(
        self,
        model: Closp,
        objective: Objective,
        recipe: Recipe,
        optimiser: torch.optim.Optimizer,
        processes: Processes,
        precision: Precision,
    ) -> None:
        self._model = model
        self._objective = objective
        self._recipe = recipe
        self._optimiser = optimiser
        self._processes = processes
        self._precision = precision
        self._parallel: nn.Module | None = None
        self.scaler = precision.scaler()

    def freeze(self, towers: frozenset[str]) -> None:
        """Train all but some towers from the next step on."""
        if self._parallel is None or towers != self._model.frozen:
            self._model.freeze(towers)
            # Which parameters are exchanged is settled when a model is wrapped.
            self._parallel = parallel(self._model, self._processes)

    def step(self, inputs: Inputs, drawn: Drawn, number: int, lr: float) -> float:
        """Take one step and return its loss, the mean over all processes.

        Args:
            inputs: Sensor -> network input (or cached features) of this process's share.
            drawn: The step.
            number: Of the step, from 0, over the whole run.
            lr: Learning rate.
        """
        set_rate(self._optimiser, lr)
        assert self._parallel is not None
        self._parallel.train()
        self._optimiser.zero_grad(set_to_none=True)
        if self._recipe.accumulate == 1:
            self._seed(number, 0)
            loss = self._loss(self._encode(self._parallel, inputs), drawn)
            self.scaler.scale(loss).backward()
        else:
            loss = self._in_parts(inputs, drawn, number)
        if self._recipe.max_norm:
            self.scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.max_norm)
        self.scaler.step(self._optimiser)
        self.scaler.update()
        return self._processes.mean(loss)

    def _in_parts(self, inputs: Inputs, drawn: Drawn, number: int) -> Tensor:
        parts = _split(inputs, self._recipe.accumulate)
        # Running statistics of BatchNorm count every patch once: in the second pass.
        buffers = {name: b.clone() for name, b in self._model.named_buffers()}
        with torch.no_grad():
            first = []
            for place, part in enumerate(parts):
                self._seed(number, place)
                first.append(self._encode(self._model, part))
            for name, buffer in self._model.named_buffers():
                buffer.copy_(buffers[name])
        whole = {sensor: _joined([out[sensor] for out in first]) for sensor in inputs}
        loss = self._loss(whole, drawn)
        leaves = _tensors(whole)
        found = torch.autograd.grad(self.scaler.scale(loss), leaves, retain_graph=True)
        gradients = dict(zip(map(id, leaves), found, strict=True))
        starts = dict.fromkeys(inputs, 0)
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            self._seed(number, place)
            assert self._parallel is not None
            with contextlib.nullcontext() if last else _unsynchronised(self._parallel):
                outputs = self._encode(self._parallel, part)
                total = torch.zeros((), device=loss.device)
                for sensor, output in outputs.items():
                    size = len(part[sensor])
                    own = slice(starts[sensor], starts[sensor] + size)
                    for tensor, leaf in _matched(output, whole[sensor]):
                        total = total + (tensor.float() * gradients[id(leaf)][own]).sum()
                    starts[sensor] += size
                if last:
                    # The text side, the temperature and places hang on the loss alone.
                    total = total + self.scaler.scale(loss)
                total.backward()
        return loss

    def _encode(self, module: nn.Module, inputs: Inputs) -> dict[str, Output]:
        with self._precision.autocast():
            outputs: dict[str, Output] = module(inputs)
        return outputs

    def _loss(self, outputs: Mapping[str, Output], drawn: Drawn) -> Tensor:
        return self._objective.loss(self._model, outputs, drawn)

    def _seed(self, number: int, part: int) -> None:
        """Tie what dropout draws to the step (and process, and part), so that a run can resume."""
        place = number * self._processes.count + self._processes.rank
        torch.manual_seed((self._recipe.seed << 32) + place * self._recipe.accumulate + part)


def parallel(model: Closp, processes: Processes) -> nn.Module:
    """Return the model, averaging gradients over the processes where there are several."""
    if processes.count == 1 or not any(p.requires_grad for p in model.parameters()):
        return model
    if processes.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return DistributedDataParallel(model, device_ids=[processes.device.index])
    return DistributedDataParallel(model)


def _unsynchronised(module: nn.Module) -> contextlib.AbstractContextManager[Any]:
    return (
        module.no_sync()
        if isinstance(module, DistributedDataParallel)
        else contextlib.nullcontext()
    )


def _split(inputs: Inputs, count: int) -> list[dict[str, Tensor]]:
    """Return the parts of a process's share; none is empty, sizes differ by at most one."""
    count = max(1, min(count, *(len(tensor) for tensor in inputs.values())))
    parts = {sensor: tensor.tensor_split(count) for sensor, tensor in inputs.items()}
    return [{sensor: parts[sensor][place] for sensor in inputs} for place in range(count)]


def _joined(outputs: list[Output]) -> Output:
    """Return the outputs of all parts as leaves that take a gradient."""

    def join(tensors: list[Tensor | None]) -> Tensor | None:
        there = [tensor.float() for tensor in tensors if tensor is not None]
        return torch.cat(there).requires_grad_() if there else None

    return Output(join([out.vectors for out in outputs]), join([out.logits for out in outputs]))


def _tensors(outputs: Mapping[str, Output]) -> list[Tensor]:
    found = [t for out in outputs.values() for t in (out.vectors, out.logits)]
    return [tensor for tensor in found if tensor is not None]


def _matched(output: Output, leaf: Output) -> list[tuple[Tensor, Tensor]]:
    pairs = ((output.vectors, leaf.vectors), (output.logits, leaf.logits))
    return [(a, b) for a, b in pairs if a is not None and b is not None]
