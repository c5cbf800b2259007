from __future__ import annotations

import numpy as np
import torch

from baselines.augmentation import turn


def test_the_eight_symmetries_are_distinct_and_keep_the_pixels() -> None:
    image = torch.arange(2 * 5 * 5, dtype=torch.float32).reshape(1, 2, 5, 5)
    turned = turn(image.expand(8, -1, -1, -1), np.arange(8))
    assert torch.equal(turned[0], image[0])
    assert len({tuple(view.flatten().tolist()) for view in turned}) == 8
    assert all(torch.equal(view.flatten().sort().values, image.flatten()) for view in turned)
    # Bands are turned together.
    assert torch.equal(turned[:, 1] - turned[:, 0], torch.full((8, 5, 5), 25.0))


def test_each_image_gets_its_own() -> None:
    image = torch.rand(3, 1, 4, 4)
    turned = turn(image, np.array([1, 0, 6]))
    assert torch.equal(turned[0], image[0].rot90(1, (-2, -1)))
    assert torch.equal(turned[1], image[1])
    assert torch.equal(turned[2], image[2].flip(-1).rot90(2, (-2, -1)))
