"""The optimiser, its rate as a function of the step, and its state as named tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from baselines.recipes import Recipe

_PREFIX = "optimizer/"
#: Start and end of a one-cycle run lie this far below the peak and the start (published recipe).
_ONE_CYCLE_DIVISOR = 1e6


def build_optimiser(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW; norms, biases and the temperature are not decayed."""
    parameters = list(model.parameters())
    decayed = [p for p in parameters if p.ndim >= 2]
    plain = [p for p in parameters if p.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=lr,
        fused=True,
    )


def rate(step: int, steps: int, recipe: Recipe) -> float:
    """Return the learning rate of a step, by the recipe's schedule.

    Args:
        step: From 0, over the whole run.
        steps: Of the whole run.
        recipe: Peak rate, share of the steps spent rising, and the curve.
    """
    if recipe.schedule == "onecycle":
        return _one_cycle(step, steps, recipe.lr, recipe.warmup)
    rising = round(steps * recipe.warmup)
    if step < rising:
        return recipe.lr * (step + 1) / rising
    if recipe.schedule == "constant":
        return recipe.lr
    return recipe.lr * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2


def _one_cycle(step: int, steps: int, peak: float, warmup: float) -> float:
    """Return the rate of torch's OneCycleLR with both divisors of the published recipe."""
    start, end = peak / _ONE_CYCLE_DIVISOR, peak / _ONE_CYCLE_DIVISOR**2
    top = warmup * steps - 1
    if step <= top:
        return _between(start, peak, step / top if top > 0 else 1.0)
    return _between(peak, end, (step - top) / max(1e-9, steps - 1 - top))


def _between(first: float, last: float, share: float) -> float:
    """Return a point on half a cosine from first to last."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of all groups."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def optimiser_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as tensors named by parameter."""
    return {
        f"{_PREFIX}{name}/{key}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


@torch.no_grad()
def restore_optimiser(
    model: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put back the state `optimiser_tensors` gave."""
    for name, parameter in model.named_parameters():
        prefix = f"{_PREFIX}{name}/"
        for full, tensor in tensors.items():
            if full.startswith(prefix):
                key = full.removeprefix(prefix)
                if tensor.ndim:
                    # The fused step walks memory: moments need the parameter's own strides.
                    tensor = torch.empty_like(parameter).copy_(tensor)
                else:
                    tensor = tensor.to(parameter.device)
                optimiser.state[parameter][key] = tensor
