"""Losses against slow float64 oracles written from their definitions, and what is masked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.objectives.losses import (
    Targets,
    agreement_loss,
    decoupled_loss,
    multilabel_loss,
    sigmoid_loss,
    softmax_loss,
)


def unit(rows: int, columns: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)))


# -- slow oracles: float64, one pair at a time, every caption copy on its own -------------------


def copies(targets: Targets) -> list[int]:
    """Texts with equal captions written out again."""
    return [j for j, w in enumerate(targets.weights.tolist()) for _ in range(int(w))]


def softmax_oracle(images: Any, texts: Any, targets: Targets, scale: Any, bias: Any) -> Any:
    t, d, order = targets.positives.double(), targets.decided, copies(targets)
    rows, columns = [], []
    for i in range(len(t)):
        total = sum(t[i, j] for j in order)
        if total == 0:
            continue
        below = sum(torch.exp(scale * images[i] @ texts[j]) for j in order if d[i, j])
        terms = [
            t[i, j] / total * torch.log(torch.exp(scale * images[i] @ texts[j]) / below)
            for j in order
            if t[i, j] > 0
        ]
        rows.append(-sum(terms))
    for j in order:
        total = t[:, j].sum()
        if total == 0:
            continue
        below = sum(torch.exp(scale * images[i] @ texts[j]) for i in range(len(t)) if d[i, j])
        terms = [
            t[i, j] / total * torch.log(torch.exp(scale * images[i] @ texts[j]) / below)
            for i in range(len(t))
            if t[i, j] > 0
        ]
        columns.append(-sum(terms))
    return (sum(rows) / len(rows) + sum(columns) / len(columns)) / 2


def decoupled_oracle(images: Any, texts: Any, targets: Targets, scale: Any, bias: Any) -> Any:
    t, d, order = targets.positives.double(), targets.decided, copies(targets)
    rows, columns = [], []
    for i in range(len(t)):
        good = [scale * images[i] @ texts[j] for j in order if t[i, j] > 0]
        bad = [scale * images[i] @ texts[j] for j in order if d[i, j] and t[i, j] == 0]
        if good:
            rows.append(
                torch.log(sum(torch.exp(s) for s in bad)) - sum(good) / len(good) if bad else 0.0
            )
    for j in order:
        good = [scale * images[i] @ texts[j] for i in range(len(t)) if t[i, j] > 0]
        bad = [scale * images[i] @ texts[j] for i in range(len(t)) if d[i, j] and t[i, j] == 0]
        if good:
            columns.append(
                torch.log(sum(torch.exp(s) for s in bad)) - sum(good) / len(good) if bad else 0.0
            )
    return (sum(rows) / len(rows) + sum(columns) / len(columns)) / 2


def sigmoid_oracle(images: Any, texts: Any, targets: Targets, scale: Any, bias: Any) -> Any:
    total = 0.0
    for i in range(len(targets.positives)):
        for j in copies(targets):
            if targets.decided[i, j]:
                sign = 1.0 if targets.positives[i, j] > 0 else -1.0
                logit = sign * (scale * images[i] @ texts[j] + bias)
                total = total + torch.log(1 + torch.exp(-logit))
    return total / len(targets.positives)


LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": (lambda i, t, g, s, b: softmax_loss(i, t, g, s), softmax_oracle),
    "decoupled": (lambda i, t, g, s, b: decoupled_loss(i, t, g, s), decoupled_oracle),
    "sigmoid": (sigmoid_loss, sigmoid_oracle),
}


def drawn_targets(seed: int, soft: bool) -> Targets:
    random = np.random.default_rng(seed)
    positives = (random.random((6, 5)) < 0.4).astype(np.float32)
    if soft:
        positives *= random.random((6, 5)).astype(np.float32)
    positives[1] = 0  # an image without a positive
    positives[:, 2] = 0  # a text without one
    positives[0, 0] = 1
    decided = (random.random((6, 5)) < 0.8) | (positives > 0)
    weights = random.integers(1, 4, 5).astype(np.float32)
    return Targets(*map(torch.from_numpy, (positives, decided, weights)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_those_of_the_definition(name: str, seed: int) -> None:
    ours, oracle = LOSSES[name]
    targets = drawn_targets(seed, soft=name == "softmax")
    values, gradients = [], []
    for function, dtype in ((ours, torch.float32), (oracle, torch.float64)):
        inputs = [unit(6, 8, seed), unit(5, 8, seed + 9), torch.tensor(3.0), torch.tensor(-1.0)]
        inputs = [tensor.to(dtype).requires_grad_() for tensor in inputs]
        value = function(inputs[0], inputs[1], targets, inputs[2], inputs[3])
        used = inputs if name == "sigmoid" else inputs[:3]
        values.append(value.item())
        gradients.append(torch.autograd.grad(value, used))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_undecided_pairs_have_no_gradient(name: str) -> None:
    targets = drawn_targets(5, soft=False)
    undecided = [(i, j) for i in range(6) for j in range(5) if not targets.decided[i, j]]
    assert undecided
    similarity = (3 * unit(6, 8, 1) @ unit(5, 8, 2).T).requires_grad_()
    # Similarities as leaves: images = similarities, texts = unit axes.
    value = LOSSES[name][0](
        similarity, torch.eye(5), targets, torch.tensor(1.0), torch.tensor(-1.0)
    )
    (gradient,) = torch.autograd.grad(value, similarity)
    for place in undecided:
        assert gradient[place] == 0
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).any()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("processes", [2, 3])
def test_shares_of_processes_average_to_the_whole(
    name: str, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets, images, texts = drawn_targets(7, soft=False), unit(6, 8, 3), unit(5, 8, 4)
    scale, bias = torch.tensor(3.0), torch.tensor(-1.0)
    whole = LOSSES[name][0](images, texts, targets, scale, bias)
    monkeypatch.setattr("baselines.objectives.losses.gather_rows", lambda own, sizes: images)
    shares = []
    for rank in range(processes):
        part = Targets(targets.positives, targets.decided, targets.weights, (rank, processes))
        shares.append(LOSSES[name][0](images[part.own], texts, part, scale, bias))
    assert torch.stack(shares).mean().item() == pytest.approx(whole.item(), rel=1e-5)


def test_diagonal_targets_and_shared_captions_are_one_loss() -> None:
    """The paper's loss takes every caption as its own class; equal ones have equal vectors."""
    captions = np.array([0, 1, 0, 2, 1, 0])
    images, texts = unit(6, 8, 0).double(), unit(3, 8, 1).double()
    images.requires_grad_()
    logits = 5.0 * images @ texts[captions].T
    labels = torch.arange(6)
    literal = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    counts = torch.tensor([3.0, 2.0, 1.0]).double()
    positives = torch.from_numpy(captions[:, None] == np.arange(3)).double()
    targets = Targets(positives, torch.ones(6, 3, dtype=torch.bool), counts)
    ours = softmax_loss(images, texts, targets, torch.tensor(5.0).double())
    assert ours.item() == pytest.approx(literal.item(), rel=1e-12)
    first, second = (torch.autograd.grad(v, images)[0] for v in (literal, ours))
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


def test_unknown_bits_have_no_gradient_and_do_not_change_the_loss() -> None:
    logits = torch.randn(4, 12, requires_grad=True)
    present = (torch.rand(4, 12) < 0.5).float()
    known = (torch.rand(4, 12) < 0.6).float()
    loss = multilabel_loss(logits, present, known)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[known == 0] == 0).all()
    assert (gradient[known == 1] != 0).all()
    wild = torch.where(known == 0, torch.tensor(float("inf")), logits.detach())
    assert multilabel_loss(wild, present, known).item() == pytest.approx(loss.item())


def test_the_multilabel_loss_is_the_mean_over_known_bits() -> None:
    logits, present = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    assert multilabel_loss(logits, present, torch.ones(1, 2)).item() == pytest.approx(expected)
    assert multilabel_loss(logits, present, torch.zeros(1, 2)).item() == 0


def test_agreement_is_the_mean_of_one_minus_cosine_over_pairs() -> None:
    first, second = unit(4, 8, 5), unit(3, 8, 6)
    pairs = torch.tensor([[0, 2], [3, 1]])
    expected = 1 - (first[0] @ second[2] + first[3] @ second[1]) / 2
    got = agreement_loss(first, second, [[4], [3]], pairs, (0, 1))
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)
    nothing = agreement_loss(first, second, [[4], [3]], pairs[:0], (0, 1))
    assert nothing.item() == 0
