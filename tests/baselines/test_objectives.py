"""What the objectives make of label masks, and which parameters they reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from baselines.closp import Output
from baselines.objectives.base import Drawn, Material, Places
from baselines.objectives.building import OBJECTIVES, build_objective
from baselines.objectives.classes import Multilabel
from baselines.objectives.contrastive import Clip
from baselines.objectives.pairing import by_containment, by_overlap, draw_swaps
from baselines.objectives.texts import TextTable, Wordings, subset_text
from baselines.recipes import RECIPES, change
from landmark.synonyms import load_synonyms
from landmark.taxonomy import names_of
from tests.baselines.learnable import WordEncoder

CPU = torch.device("cpu")


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

    tower = None

    def __init__(self) -> None:
        self.log_scale = torch.nn.Parameter(torch.tensor(2.0))
        self.bias = torch.nn.Parameter(torch.tensor(-3.0))

    def project_texts(self, vectors: torch.Tensor) -> torch.Tensor:
        return F.normalize(vectors)

    def place_vectors(self, lonlat: torch.Tensor) -> torch.Tensor:
        angles = torch.deg2rad(lonlat).float()
        return F.normalize(torch.cat([angles.sin(), angles.cos()], 1).repeat(1, 2))

    def scale(self) -> torch.Tensor:
        return self.log_scale.exp()

    def offset(self) -> torch.Tensor:
        return self.bias


# -- what the objectives make of label masks ----------------------------------------------------

SPLIT = Rows(
    [0b1, 0b11, 0b10011, 0b10, 0b1],
    [0xFFF, 0xFFF, 0xFFF, 0b10, 0xFFF],
    ["water", "water. trees", "water. trees. crops", "trees", "water"],
)


def objective(name: str, **fields: Any) -> Any:
    recipe = change(RECIPES[name], name, **fields)
    places = Places(
        np.array([[9.0, 45.0 + k] for k in (0, 1, 2, 3, 0)]), np.array([4, -1, 2, 0, 1])
    )
    return build_objective(
        Material(
            recipe,
            {"s1": SPLIT, "s2": SPLIT},
            WordEncoder(8),
            CPU,
            dict.fromkeys(("s1", "s2"), places),
        )
    )


def outputs(seed: int) -> dict[str, Output]:
    return {
        sensor: Output(unit(5, 8, seed + k).requires_grad_(), torch.randn(5, 12).requires_grad_())
        for k, sensor in enumerate(("s1", "s2"))
    }


DRAWN = Drawn({"s1": np.arange(5), "s2": np.array([4, 2, 0, 1, 3])})


@pytest.mark.parametrize("name", [n for n in RECIPES if n not in ("published-tuned",)])
def test_every_objective_reaches_images_and_its_own_parameters(name: str) -> None:
    model, out = Sides(), outputs(3)
    loss = objective(name).loss(model, out, DRAWN)
    loss.backward()
    kind = OBJECTIVES[RECIPES[name].objective].kind
    for output in out.values():
        assert (output.vectors.grad is not None) == (kind != "classes")
        assert (output.logits.grad is not None) == (kind != "embedding")
    assert (model.log_scale.grad is not None) == (kind != "classes")
    assert (model.bias.grad is not None) == (name == "siglip")


@pytest.mark.parametrize("name", ["published", "clip", "soft", "siglip", "dcl", "containment"])
def test_equal_draws_give_equal_losses_and_options_change_them(name: str) -> None:
    model, out = Sides(), outputs(4)
    plain = objective(name).loss(model, out, DRAWN)
    assert objective(name).loss(model, out, DRAWN).item() == plain.item()
    for option in ("location_weight", "pair_weight", "hard_negatives"):
        other = objective(name, **{option: 4}).loss(model, out, DRAWN)
        assert torch.isfinite(other)
        assert other.item() != plain.item(), option


def test_a_caption_is_no_negative_where_the_deciding_class_is_unknown() -> None:
    rows = DRAWN.rows["s1"]
    for name in ("clip", "siglip", "dcl"):
        own = objective(name)
        texts = own._texts("s1", DRAWN)
        positives, decided = own._pairs("s1", rows, texts)
        masks = texts.masks.tolist()
        # Patch 3 knows Trees alone: what else is there may be anything.
        expected = [mask == 0b10 or not mask & 0b10 for mask in masks]
        assert decided[3].tolist() == expected
        assert decided[[0, 1, 2, 4]].all()
        assert positives[3].tolist() == [mask == 0b10 for mask in masks]
    # The paper's loss knows no unknown.
    literal = objective("published")
    assert literal._pairs("s1", rows, literal._texts("s1", DRAWN))[1].all()


def test_geoclosp_averages_its_four_terms() -> None:
    model, out = Sides(), outputs(5)
    both = objective("published", location_weight=1).loss(model, out, DRAWN)
    text = objective("published").loss(model, out, DRAWN)
    places = []
    for sensor, output in out.items():
        own = objective("published", location_weight=1)
        lonlat = own._material.places[sensor].lonlat[DRAWN.rows[sensor]]
        vectors = model.place_vectors(torch.from_numpy(lonlat))
        logits = model.scale() * output.vectors @ vectors.T
        labels = torch.arange(5)
        # Patches 0 and 4 lie in one place: equal vectors, so diagonal targets say the same.
        places.append((F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2)
    expected = (text + torch.stack(places).mean()) / 2
    assert both.item() == pytest.approx(expected.item(), rel=1e-5)


def test_patches_without_caption_or_known_class_are_left_out() -> None:
    rows = Rows([0, 2, 0], [0, 2, 8], ["", "trees", ""])
    assert Clip.usable(rows).tolist() == [False, True, False]
    assert Multilabel.usable(rows).tolist() == [False, True, True]


def test_subcaptions_are_positives_of_all_patches_that_carry_them() -> None:
    own = objective("containment", subcaptions=200, seed=1)
    texts = own._texts("s1", DRAWN)
    masks = [0b1, 0b10, 0b11, 0b10000, 0b10001, 0b10010, 0b10011]
    assert texts.masks.tolist() == masks
    positives, decided = by_containment(SPLIT, DRAWN.rows["s1"], texts)
    for column, mask in enumerate(masks):
        assert positives[:, column].tolist() == [(m & mask) == mask for m in SPLIT.label_mask]
    # Patch 3 knows Trees alone: what asks for more is undecided there.
    assert decided[3].tolist() == [mask == 0b10 for mask in masks]
    assert decided[[0, 1, 2, 4]].all()


def test_soft_targets_are_squared_jaccard_of_decided_texts() -> None:
    own = objective("soft")
    texts = own._texts("s1", DRAWN)
    targets, decided = own._pairs("s1", DRAWN.rows["s1"], texts)
    for row, (labels, known) in enumerate(zip(SPLIT.label_mask, SPLIT.known_mask, strict=True)):
        for column, mask in enumerate(texts.masks):
            union, common = bin(labels | mask).count("1"), bin(labels & mask).count("1")
            sure = (int(mask) & ~int(known)) == 0
            assert decided[row, column] == sure
            assert targets[row, column] == pytest.approx((common / union) ** 2 if sure else 0)
    assert by_overlap(SPLIT, np.array([1]), texts)[0].max() == 1


def test_swaps_name_a_class_that_is_surely_not_there() -> None:
    labels, known = np.array([0b11, 0b100], np.uint16), np.array([0b1011, 0b100], np.uint16)
    swapped = draw_swaps(np.random.default_rng(0), labels, known, 50)
    # Patch 0 has bit 3 decided absent and nothing else; patch 1 has nothing decided absent.
    assert set(swapped) == {0b1010, 0b1001}
    assert draw_swaps(np.random.default_rng(0), labels[1:], known[1:], 5) == []


def test_hard_negatives_are_texts_without_a_positive() -> None:
    own = objective("clip", hard_negatives=20)
    texts = own._texts("s1", DRAWN)
    positives, decided = own._pairs("s1", DRAWN.rows["s1"], texts)
    extra = np.flatnonzero(~positives.any(0))
    assert len(extra) >= 3
    assert decided[[0, 1, 2, 4]][:, extra].all()


def test_wordings_name_every_class_in_drawn_order_and_other_words() -> None:
    mask = 0b10011
    assert subset_text(mask) == Wordings(0).text(mask, 3) == "water. trees. crops"
    orders = {Wordings(0, 8).text(mask, variant) for variant in range(8)}
    assert len(orders) > 2
    assert all(sorted(text.split(". ")) == ["crops", "trees", "water"] for text in orders)
    synonyms = load_synonyms()
    said = Wordings(0, 20, synonyms)
    texts = [said.text(mask, variant) for variant in range(20)]
    assert texts == [said.text(mask, variant) for variant in range(20)]
    words = {word for text in texts for word in text.split(". ")}
    others = {word for name in names_of(mask) for word in synonyms.train[name]}
    assert words & others
    assert words <= others | {"water", "trees", "crops"}


def test_the_vector_of_a_late_text_does_not_depend_on_what_came_before() -> None:
    class Counting(WordEncoder):
        def __init__(self) -> None:
            super().__init__(8)
            self.calls: list[list[str]] = []

        def encode(self, texts: list[str]) -> np.ndarray:
            self.calls.append(texts)
            return super().encode(texts)

    encoder = Counting()
    table = TextTable(encoder, ["water", "trees"], CPU)
    late = table.place("crops")
    table.vectors(Sides(), np.array([0, late]))
    table.vectors(Sides(), np.array([late, 1]))
    assert encoder.calls == [["water", "trees"], ["crops"]]


def test_multilabel_reads_the_masks_of_the_drawn_rows() -> None:
    rows = Rows([1, 2], [3, 2], ["water", "trees"])
    own = Multilabel(Material(RECIPES["multilabel"], {"s1": rows}, None, CPU))
    logits = torch.randn(2, 12, requires_grad=True)
    drawn = Drawn({"s1": np.array([1, 0])})
    own.loss(Sides(), {"s1": Output(None, logits)}, drawn).backward()
    touched = (logits.grad != 0).int()
    assert touched[:, :3].tolist() == [[0, 1, 0], [1, 1, 0]]
    assert touched[:, 3:].sum() == 0
