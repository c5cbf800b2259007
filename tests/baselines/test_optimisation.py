from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from baselines.optimisation import build_optimiser, optimiser_tensors, rate, restore_optimiser
from baselines.recipes import RECIPES, change

PLAIN = change(RECIPES["clip"], "", lr=1.0)


def test_the_rate_rises_then_falls_to_zero() -> None:
    rates = [rate(step, 100, PLAIN) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_no_warmup_begins_at_the_peak() -> None:
    assert rate(0, 1, change(PLAIN, "", lr=0.5, warmup=0.0)) == 0.5


def test_a_constant_rate_stays_at_its_peak() -> None:
    recipe = change(PLAIN, "", schedule="constant")
    assert {rate(step, 100, recipe) for step in range(10, 100)} == {1.0}


@pytest.mark.parametrize("steps", [25, 100])
def test_one_cycle_is_that_of_torch(steps: int) -> None:
    recipe = change(PLAIN, "", schedule="onecycle", lr=1e-3)
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 1e-3, total_steps=steps, pct_start=0.1, div_factor=1e6, final_div_factor=1e6
    )
    for step in range(steps):
        assert rate(step, steps, recipe) == pytest.approx(schedule.get_last_lr()[0], rel=1e-6)
        optimiser.step()
        if step < steps - 1:
            schedule.step()


def test_norms_and_biases_are_not_decayed() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    decayed, plain = build_optimiser(model, 1e-3, 0.1).param_groups
    assert [p.ndim for p in decayed["params"]] == [4]
    assert [p.ndim for p in plain["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


def test_the_state_comes_back_even_for_channels_last_weights() -> None:
    def step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimiser.zero_grad()
        model(x).square().sum().backward()
        optimiser.step()

    torch.manual_seed(0)
    model = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    twin = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    optimiser, other = build_optimiser(model, 1e-2, 0.1), build_optimiser(twin, 1e-2, 0.1)
    step(model, optimiser, 1)
    saved = {k: v.contiguous().clone() for k, v in optimiser_tensors(model, optimiser).items()}
    twin.load_state_dict({k: v.contiguous() for k, v in model.state_dict().items()})
    restore_optimiser(twin, other, saved)
    step(model, optimiser, 2)
    step(twin, other, 2)
    assert torch.equal(model.weight, twin.weight)
    assert torch.equal(model.bias, twin.bias)
