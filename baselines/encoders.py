"""Image encoders: timm backbones, one per sensor, any number of bands."""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from landmark.errors import InputError
from landmark.grid import PIXELS

#: The published pairs of backbones (facts of the reference implementation).
PUBLISHED_MODELS: MappingProxyType[str, MappingProxyType[str, str]] = MappingProxyType(
    {
        name: MappingProxyType({"s1": first, "s2": second})
        for name, first, second in (
            ("closp-rn", "resnet50", "resnet50"),
            ("closp-vs", "vit_small_patch16_224", "vit_small_patch16_224"),
            ("closp-vl", "vit_large_patch16_224", "vit_large_patch16_224"),
            ("closp-mix", "resnet50", "vit_small_patch16_224"),
        )
    }
)
_SENSORS = ("s1", "s2")


class BackboneConfig(BaseModel):
    """One image encoder.

    Attributes:
        name: timm name.
        size: Pixels per side given to it.
        classifier: Width of timm's classifier layer before the projection; 0: none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int
    classifier: int = 0


def choose_backbones(model: str, size: int, classifier: int = 0) -> dict[str, BackboneConfig]:
    """Return each sensor's backbone.

    Args:
        model: A timm name for both, `s1=NAME,s2=NAME`, or a published pair such as `closp-rn`.
        size: Pixels per side; the published pairs have their own.
        classifier: Width of timm's classifier layer.

    Raises:
        InputError: The model is neither of these.
    """
    if model in PUBLISHED_MODELS:
        return {
            sensor: BackboneConfig(name=name, size=native_size(name), classifier=classifier)
            for sensor, name in PUBLISHED_MODELS[model].items()
        }
    return {
        sensor: BackboneConfig(name=name, size=size, classifier=classifier)
        for sensor, name in _names(model).items()
    }


def native_size(name: str) -> int:
    """Return the pixels per side the published nets give a backbone: ViTs 224, others all 120."""
    return 224 if name.startswith("vit_") else PIXELS


def _names(model: str) -> dict[str, str]:
    if "=" not in model:
        return dict.fromkeys(_SENSORS, model)
    names = dict(part.strip().split("=", 1) for part in model.split(",") if "=" in part)
    if set(names) != set(_SENSORS):
        raise InputError(f"model {model!r}: name a backbone for each sensor: s1=NAME,s2=NAME")
    return names


def build_backbone(config: BackboneConfig, bands: int) -> tuple[nn.Module, int]:
    """Return an untrained backbone and the length of the feature vector it gives.

    Args:
        config: Which; a weights tag after a dot in the name is ignored.
        bands: Input channels.

    Returns:
        The module, mapping (n, bands, size, size) to (n, features), and features.

    Raises:
        InputError: timm has no such model, or it cannot take inputs of this size.
    """
    import timm  # takes seconds: not for who asks no image

    name, size = config.name, config.size
    base = name.split(".", 1)[0]
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, [*timm.list_models(), *PUBLISHED_MODELS], n=3)
        hint = f"; near names: {', '.join(near)}" if near else ""
        raise InputError(f"unknown model {name!r}: timm has none of that name{hint}")
    fixed = (timm.get_pretrained_cfg(base, allow_unregistered=True) or object()).__dict__
    options: dict[str, Any] = {"img_size": size} if fixed.get("fixed_input_size") else {}
    try:
        model = timm.create_model(
            base, pretrained=False, in_chans=bands, num_classes=config.classifier, **options
        )
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
