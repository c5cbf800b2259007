"""The frozen trunk of the study: hand-made statistics and two layers of fixed random filters.

It has never seen a label, so a head trained on it shows what the recipe makes of equal features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_BATCH = 256
_FIRST, _SECOND = 96, 256
_QUANTILES = (0.1, 0.5, 0.9)


def describe(images: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return (n, f) float32 features of standardised images, each of mean 0 and spread 1.

    Per band: mean, spread, three quantiles, mean absolute step to the right and down; per pair of
    bands the spread of their difference; then mean and spread of 96 random 5 x 5 filters after a
    ReLU, and the mean of 256 random 3 x 3 filters on top of them.

    Args:
        images: (n, bands, side, side).
    """
    first, second = _filters(images.shape[1])
    parts = []
    for start in range(0, len(images), _BATCH):
        batch = torch.from_numpy(images[start : start + _BATCH].astype(np.float32))
        parts.append(torch.cat([_statistics(batch), _random(batch, first, second)], 1))
    features = torch.cat(parts)
    spread = features.std(0)
    return ((features - features.mean(0)) / spread.clamp(min=1e-6)).numpy()


def _filters(bands: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(bands)
    first = torch.randn(_FIRST, bands, 5, 5, generator=generator) / (25 * bands) ** 0.5
    second = torch.randn(_SECOND, _FIRST, 3, 3, generator=generator) / (9 * _FIRST) ** 0.5
    return first, second


def _statistics(batch: Tensor) -> Tensor:
    flat = batch.flatten(2)
    quantiles = torch.quantile(flat, torch.tensor(_QUANTILES), dim=2)
    steps = [batch.diff(dim=axis).abs().mean((2, 3)) for axis in (2, 3)]
    a, b = torch.triu_indices(batch.shape[1], batch.shape[1], 1)
    apart = (flat[:, a] - flat[:, b]).std(2)
    return torch.cat([flat.mean(2), flat.std(2), *quantiles, *steps, apart], 1)


def _random(batch: Tensor, first: Tensor, second: Tensor) -> Tensor:
    low = F.relu(F.conv2d(batch, first, stride=2))
    high = F.relu(F.conv2d(F.avg_pool2d(low, 2), second, stride=2))
    return torch.cat([low.mean((2, 3)), low.std((2, 3)), high.mean((2, 3))], 1)
