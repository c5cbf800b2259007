from __future__ import annotations

import pytest
import torch

from baselines.encoders import build_backbone
from landmark.errors import InputError


@pytest.mark.parametrize(
    ("name", "bands", "size"),
    [("test_resnet", 12, 60), ("test_efficientnet", 2, 120), ("test_convnext", 4, 60)],
)
def test_any_backbone_gives_one_vector_per_image(name: str, bands: int, size: int) -> None:
    model, features = build_backbone(name, bands, size)
    assert model.training
    assert model.eval()(torch.zeros(3, bands, size, size)).shape == (3, features)


def test_resnet50_has_no_class_head() -> None:
    model, features = build_backbone("resnet50.a1_in1k", 2, 30)
    assert features == 2048
    assert not [name for name, _ in model.named_parameters() if name.startswith("fc")]


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(InputError, match=r"unknown model 'resnet51'.*near names: .*resnet50"):
        build_backbone("resnet51", 2, 60)


def test_a_size_a_backbone_cannot_take_is_one_line() -> None:
    with pytest.raises(InputError, match="'test_vit' cannot take 2 bands of 60 x 60 pixels: Input"):
        build_backbone("test_vit", 2, 60)
