from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.objectives import Clip, Multilabel, contrastive_loss, multilabel_loss, subset_text
from tests.baselines.learnable import WordEncoder


def unit(rows: int, columns: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)))


class Rows:
    """As much of a split as an objective looks at."""

    def __init__(self, masks: list[int], known: list[int], captions: list[str]) -> None:
        self.label_mask = np.array(masks, np.uint16)
        self.known_mask = np.array(known, np.uint16)
        self.captions = sorted(set(captions))
        self.caption_id = np.array([self.captions.index(caption) for caption in captions])


class Sides:
    """As much of a model as an objective looks at."""

    def __init__(self) -> None:
        self.log_scale = torch.nn.Parameter(torch.tensor(2.0))

    def project_texts(self, vectors: torch.Tensor) -> torch.Tensor:
        return F.normalize(vectors)

    def scale(self) -> torch.Tensor:
        return self.log_scale.exp()


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
    nothing = multilabel_loss(logits, present, torch.zeros(1, 2))
    assert nothing.item() == 0


def test_with_captions_alone_the_loss_is_the_usual_one_with_shared_targets() -> None:
    captions = np.array([0, 1, 0, 2, 1, 0])
    images, texts, scale = unit(6, 8, 0), unit(3, 8, 1), torch.tensor(5.0)
    similarity = (scale * images @ texts[captions].T).double().numpy()
    total = 0.0
    for i in range(6):
        same = [j for j in range(6) if captions[j] == captions[i]]
        row = similarity[i] - np.log(np.exp(similarity[i]).sum())
        column = similarity[:, i] - np.log(np.exp(similarity[:, i]).sum())
        total += -(row[same].mean() + column[same].mean()) / 2
    _, counts = np.unique(captions, return_counts=True)
    positives = torch.from_numpy(captions[:, None] == np.arange(3))
    loss = contrastive_loss(
        images,
        texts,
        positives,
        torch.ones_like(positives),
        torch.from_numpy(counts.astype(np.float32)),
        scale,
    )
    assert loss.item() == pytest.approx(total / 6, rel=1e-5)


def test_undecided_pairs_are_neither_positive_nor_negative() -> None:
    images = unit(3, 8, 2).requires_grad_()
    texts = unit(2, 8, 3)
    positives = torch.tensor([[True, False], [False, True], [True, False]])
    decided = torch.ones_like(positives)
    decided[0, 1] = False
    weights, scale = torch.ones(2), torch.tensor(4.0)
    loss = contrastive_loss(images, texts, positives, decided, weights, scale)
    (gradient,) = torch.autograd.grad(loss, images)
    # Image 0 is told of text 0 alone, which it is a positive of.
    assert torch.linalg.matrix_rank(torch.stack([gradient[0], texts[0]])) == 1
    assert torch.isfinite(gradient).all()


def test_the_temperature_learns() -> None:
    rows = Rows([1, 2, 16], [0xFFF] * 3, ["water", "trees", "crops"])
    model = Sides()
    clip = Clip({"s2": rows}, WordEncoder(8), torch.device("cpu"))
    loss = clip.loss(model, {"s2": unit(3, 8, 4)}, {"s2": np.arange(3)}, (0, 0), (0, 1))
    loss.backward()
    assert model.log_scale.grad is not None
    assert model.log_scale.grad.item() != 0


def test_patches_without_caption_or_known_class_are_left_out() -> None:
    rows = Rows([0, 2, 0], [0, 2, 8], ["", "trees", ""])
    assert Clip.usable(rows).tolist() == [False, True, False]
    assert Multilabel.usable(rows).tolist() == [False, True, True]


def test_subcaptions_are_positives_of_all_patches_that_carry_them() -> None:
    rows = Rows(
        [0b1, 0b11, 0b10011, 0b10],
        [0xFFF, 0xFFF, 0xFFF, 0b10],
        ["water", "water. trees", "water. trees. crops", "trees"],
    )
    clip = Clip({"s1": rows}, WordEncoder(8), torch.device("cpu"), subcaptions=200, seed=1)
    drawn = np.arange(4)
    texts, positives, decided, weights = clip._by_containment("s1", drawn, (0, 0))
    masks = sorted({0b1, 0b10, 0b11, 0b10000, 0b10001, 0b10010, 0b10011})
    assert len(texts) == len(masks) == len(weights)
    for column, mask in enumerate(masks):
        assert positives[:, column].tolist() == [(m & mask) == mask for m in rows.label_mask]
    # Patch 3 knows Trees alone: what asks for more is undecided there.
    assert decided[3].tolist() == [mask == 0b10 for mask in masks]
    assert decided[:3].all()
    again = clip._by_containment("s1", drawn, (0, 0))
    assert np.array_equal(texts, again[0])


def test_the_text_of_a_subset_is_the_short_caption() -> None:
    assert subset_text(0b10011) == "water. trees. crops"


def test_multilabel_reads_the_masks_of_the_drawn_rows() -> None:
    rows = Rows([1, 2], [3, 2], ["water", "trees"])
    objective = Multilabel({"s1": rows}, torch.device("cpu"))
    logits = torch.randn(2, 12, requires_grad=True)
    objective.loss(None, {"s1": logits}, {"s1": np.array([1, 0])}, (0, 0), (0, 1)).backward()
    touched = (logits.grad != 0).int()
    assert touched[:, :3].tolist() == [[0, 1, 0], [1, 1, 0]]
    assert touched[:, 3:].sum() == 0
