"""Image encoders: timm backbones without a classifier head, any number of bands."""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
from torch import nn

from landmark.errors import InputError


def build_backbone(name: str, bands: int, size: int) -> tuple[nn.Module, int]:
    """Return an untrained backbone and the length of the feature vector it gives.

    Args:
        name: timm model name, e.g. `resnet50`; a weights tag after a dot is ignored.
        bands: Input channels.
        size: Pixels per side.

    Returns:
        The module, mapping (n, bands, size, size) to (n, features), and features.

    Raises:
        InputError: timm has no such model, or it cannot take inputs of this size.
    """
    base = name.split(".", 1)[0]
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models(), n=3)
        hint = f"; near names: {', '.join(near)}" if near else ""
        raise InputError(f"unknown model {name!r}: timm has none of that name{hint}")
    fixed = (timm.get_pretrained_cfg(base, allow_unregistered=True) or object()).__dict__
    options: dict[str, Any] = {"img_size": size} if fixed.get("fixed_input_size") else {}
    try:
        model = timm.create_model(base, pretrained=False, in_chans=bands, num_classes=0, **options)
        features = _features(model, bands, size)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"model {name!r} cannot take {bands} bands of {size} x {size} pixels: {reason}"
        ) from None
    return model.to(memory_format=torch.channels_last), features


def _features(model: nn.Module, bands: int, size: int) -> int:
    """Return the output width by a trial: timm's `num_features` leaves out some heads."""
    model.eval()
    with torch.inference_mode():
        shape = model(torch.zeros(1, bands, size, size)).shape
    model.train()
    if len(shape) != 2:
        raise ValueError(f"gives features of shape {tuple(shape)}, not one vector per image")
    return int(shape[1])
