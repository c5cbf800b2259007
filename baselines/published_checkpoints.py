"""The published CLOSP and GeoCLOSP checkpoints: the reference's names -> a model of ours.

Their towers are read off the tensors. Input conventions are those of the reference: Sentinel-2
reflectance (stored / 10000) with nothing subtracted and B10 as zeros, Sentinel-1 dB as it is (the
card names no unit; dB is what the encoders were pretrained on), vision transformers at 224 pixels
(kornia's bilinear, corners aligned), the first token's vector as that of a text.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from baselines.closp import Closp, ModelConfig
from baselines.encoders import BackboneConfig, native_size
from baselines.location import LocationConfig, location_config
from baselines.scaling import SensorInput
from baselines.text import TextEncoder
from baselines.weights import Weights, select_bands
from landmark.errors import InputError
from landmark.schema import ImageLayout

#: What the reference's data set puts where a pixel is missing.
_FILL = {"s1": 1e-6, "s2": 0.0}
#: Names of the reference -> ours, by what they begin with.
_NAMES = (
    ("s1_encoder.", "backbones.s1."),
    ("s2_encoder.", "backbones.s2."),
    ("s1_projection.", "projections.s1."),
    ("s2_projection.", "projections.s2."),
    ("text_model.", "tower.network."),
    ("location_encoder.nnet.", "location."),
    ("location_projection.", "location_projection."),
)
#: Width of the first layer of a vision transformer -> its timm name.
_TRANSFORMERS = {384: "vit_small_patch16_224", 1024: "vit_large_patch16_224"}
#: Parts no vector depends on: the pooler behind BERT, position numbers, counters, a fixed scale.
_UNUSED = ("tower.network.pooler.", "tower.network.embeddings.position_ids")
_WRAPPERS = ("module.", "model.")


def is_published(weights: Weights) -> bool:
    """Whether a file holds a whole CLOSP model under the reference's names."""
    names = _renamed(weights.tensors)
    return any(name.startswith("projections.") for name in names)


def load_published(
    weights: Weights, layouts: Mapping[str, ImageLayout], text: TextEncoder
) -> Closp:
    """Return a published model, ready to encode patches of a dataset.

    Args:
        weights: The file.
        layouts: Sensor -> how the dataset stores patches; sensors of the file that the dataset has
            not are left out.
        text: The text encoder it was made from (its tokens and architecture; pooling `cls`).

    Raises:
        InputError: The file is no CLOSP checkpoint, is not complete, or takes other bands.
    """
    origin = weights.record.name
    tensors = _renamed(weights.tensors)
    sensors = [sensor for sensor in ("s1", "s2") if f"projections.{sensor}.weight" in tensors]
    sensors = [sensor for sensor in sensors if sensor in layouts]
    if not sensors:
        raise InputError(
            f"weights {origin}: hold no CLOSP model for the dataset's sensors (no s1_projection, "
            "s2_projection)"
        )
    inputs = {sensor: published_input(layouts[sensor]) for sensor in sensors}
    for sensor in sensors:
        for layer in ("conv1", "patch_embed.proj"):
            name = f"backbones.{sensor}.{layer}.weight"
            if name in tensors:
                tensors[name] = select_bands(tensors[name], inputs[sensor], origin)
    config = ModelConfig(
        kind="embedding",
        backbones={sensor: _backbone(tensors, sensor, origin) for sensor in sensors},
        dim=len(tensors[f"projections.{sensors[0]}.weight"]),
        temperature=1.0,
        learn_temperature=False,
        text_projection=False,
        train_text=any(name.startswith("tower.") for name in tensors),
        location=_location(tensors, origin),
        inputs=inputs,
        text=text.config,
    )
    if text.config.pooling != "cls" or text.config.width != config.dim:
        raise InputError(
            f"weights {origin}: go with a text encoder of width {config.dim} and pooling cls, not "
            f"{text.config.name} ({text.config.width}, {text.config.pooling})"
        )
    model = Closp(config, text)
    wanted = set(model.state_dict()) - {"log_scale"}
    missing = sorted(wanted - tensors.keys())
    if missing:
        raise InputError(f"weights {origin}: are not complete, {missing[0]} is missing")
    try:
        model.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"weights {origin}: do not fit ({reason})") from None
    return model.eval()


def published_input(layout: ImageLayout) -> SensorInput:
    """Return what the published nets expect of a sensor."""
    bands = len(layout.bands)
    return SensorInput(
        sensor=layout.sensor,
        bands=layout.bands,
        scale=layout.scale,
        nodata=layout.nodata,
        mean=(0.0,) * bands,
        std=(1.0,) * bands,
        fill=_FILL[layout.sensor],
        enlarge="corners",
    )


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for full, tensor in tensors.items():
        name = full
        for wrapper in _WRAPPERS:
            name = name.removeprefix(wrapper)
        for theirs, ours in _NAMES:
            if name.startswith(theirs):
                own = ours + name.removeprefix(theirs)
                if not own.startswith(_UNUSED):
                    renamed[own] = tensor
    return renamed


def _backbone(tensors: Mapping[str, Tensor], sensor: str, origin: str) -> BackboneConfig:
    prefix = f"backbones.{sensor}."
    first = tensors.get(f"{prefix}patch_embed.proj.weight")
    if first is not None and len(first) in _TRANSFORMERS:
        name = _TRANSFORMERS[len(first)]
    elif f"{prefix}layer4.2.conv3.weight" in tensors:
        name = "resnet50"
    else:
        raise InputError(
            f"weights {origin}: the {sensor} encoder is neither ResNet-50 nor ViT-S/16 nor ViT-L/16"
        )
    heads = (tensors.get(f"{prefix}{layer}.weight") for layer in ("fc", "head"))
    classifier = next((len(head) for head in heads if head is not None), 0)
    return BackboneConfig(name=name, size=native_size(name), classifier=classifier)


def _location(tensors: Mapping[str, Tensor], origin: str) -> LocationConfig | None:
    layers = {
        name.removeprefix("location."): tensor
        for name, tensor in tensors.items()
        if name.startswith("location.")
    }
    return location_config(layers, origin) if layers else None
