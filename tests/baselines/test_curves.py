from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from baselines.curves import draw_curves

STEPS = [{"kind": "step", "step": i + 1, "loss": 3.0 / (i + 1), "lr": 1e-3} for i in range(40)]
EPOCHS = [{"kind": "epoch", "epoch": i + 1, "val": {"s1": 0.3 + i / 10}} for i in range(3)]


@pytest.mark.parametrize("rows", [STEPS + EPOCHS, STEPS[:1], []], ids=["run", "one step", "empty"])
def test_the_picture_opens(rows: list) -> None:
    picture = Image.open(io.BytesIO(draw_curves(rows, "run clip")))
    assert picture.size[0] > 800
    assert np.asarray(picture.convert("L")).std() > 5


def test_the_same_run_gives_the_same_bytes() -> None:
    assert draw_curves(STEPS + EPOCHS, "a") == draw_curves(STEPS + EPOCHS, "a")
    assert draw_curves(STEPS + EPOCHS, "a") != draw_curves(STEPS, "a")
