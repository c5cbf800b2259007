from __future__ import annotations

import numpy as np
import pytest

from baselines.loader import Batch
from baselines.validation import validate


class Patches:
    sensor = "s2"
    label_mask = np.array([0b01, 0b10, 0b01, 0b00], np.uint16)
    known_mask = np.array([0b11, 0b11, 0b01, 0b01], np.uint16)

    def batches(self, size: int, workers: int | None) -> list[Batch]:
        rows = np.arange(4)
        return [Batch(rows[:3], rows[:3, None]), Batch(rows[3:], rows[3:, None])]


class Fixed:
    """Class 0 is scored 4 3 2 1 (patches 0 and 2 are relevant); class 1 0 1 9 9."""

    kind = "classes"

    def class_logits(self, sensor: str, batch: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(batch), 12), np.float32)
        logits[:, 0] = 4 - batch[:, 0]
        logits[:, 1] = np.array([0, 1, 9, 9])[batch[:, 0]]
        return logits


def test_classes_are_ranked_over_judged_patches_alone() -> None:
    # Class 0: hits at ranks 1 and 3; class 1: judged patches are 0 and 1, the hit is first.
    expected = ((1 / 1 + 2 / 3) / 2 + 1.0) / 2
    assert validate(Fixed(), {"s2": Patches()}) == {"s2": pytest.approx(expected)}


def test_a_split_without_any_contrast_has_no_score() -> None:
    patches = Patches()
    patches.known_mask = patches.label_mask
    assert validate(Fixed(), {"s2": patches}) == {}
