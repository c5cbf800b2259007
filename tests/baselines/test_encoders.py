from __future__ import annotations

import pytest
import torch

from baselines.encoders import BackboneConfig, build_backbone, choose_backbones
from landmark.errors import InputError


@pytest.mark.parametrize(
    ("name", "bands", "size"),
    [("test_resnet", 12, 60), ("test_efficientnet", 2, 120), ("test_convnext", 4, 60)],
)
def test_any_backbone_gives_one_vector_per_image(name: str, bands: int, size: int) -> None:
    model, features = build_backbone(BackboneConfig(name=name, size=size), bands)
    assert model.training
    assert model.eval()(torch.zeros(3, bands, size, size)).shape == (3, features)


def test_resnet50_has_no_class_head() -> None:
    model, features = build_backbone(BackboneConfig(name="resnet50.a1_in1k", size=30), 2)
    assert features == 2048
    assert not [name for name, _ in model.named_parameters() if name.startswith("fc")]


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(InputError, match=r"unknown model 'resnet51'.*near names: .*resnet50"):
        build_backbone(BackboneConfig(name="resnet51", size=60), 2)


def test_a_size_a_backbone_cannot_take_is_one_line() -> None:
    with pytest.raises(InputError, match="'test_vit' cannot take 2 bands of 60 x 60 pixels: Input"):
        build_backbone(BackboneConfig(name="test_vit", size=60), 2)


def test_the_published_classifier_is_a_further_layer() -> None:
    model, features = build_backbone(BackboneConfig(name="resnet50", size=30, classifier=1000), 2)
    assert features == 1000
    assert [tuple(p.shape) for name, p in model.named_parameters() if name == "fc.weight"] == [
        (1000, 2048)
    ]


def test_published_pairs_and_mixtures_name_a_backbone_per_sensor() -> None:
    mixed = choose_backbones("closp-mix", 60)
    assert {s: (b.name, b.size) for s, b in mixed.items()} == {
        "s1": ("resnet50", 120),
        "s2": ("vit_small_patch16_224", 224),
    }
    large = choose_backbones("closp-vl", 60, 1000)
    assert {b.name for b in large.values()} == {"vit_large_patch16_224"}
    assert {b.classifier for b in large.values()} == {1000}
    own = choose_backbones("s1=test_resnet,s2=test_convnext", 60)
    assert (own["s1"].name, own["s2"].name, own["s1"].size) == ("test_resnet", "test_convnext", 60)
    assert len(set(choose_backbones("test_resnet", 60).values())) == 1
    with pytest.raises(InputError, match="name a backbone for each sensor: s1=NAME,s2=NAME"):
        choose_backbones("s1=test_resnet", 60)
