"""Published checkpoints: an independent forward, written from the facts, against ours."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel, BertTokenizerFast

from baselines.checkpoints import load_run
from baselines.location import LocationConfig, LocationEncoder
from baselines.published_checkpoints import is_published, load_published
from baselines.text import SentenceEncoder, open_text_encoder
from baselines.training import TrainOptions, train
from baselines.weights import S2_BANDS, Weights, WeightsRecord, open_weights
from landmark.errors import InputError
from landmark.progress import Silent
from landmark.schema import s1_layout, s2_layout
from tests.baselines.learnable import make_learnable

WITHOUT_CIRRUS = tuple(band for band in S2_BANDS if band != "B10")
LAYOUTS = {"s1": s1_layout(), "s2": s2_layout(WITHOUT_CIRRUS)}
WIDTH = 32


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    return open_text_encoder(str(tiny_bert(tmp_path_factory.mktemp("bert"))), "cls")


def tiny_bert(folder: Path) -> Path:
    """A BERT of the right kind and 10 thousand weights, with a word tokenizer."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "water", "trees", "crops", "."]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


class Reference(nn.Module):
    """The facts as a module: the reference's parameter names, its forward, nothing of ours."""

    def __init__(self, encoders: dict[str, nn.Module], text_folder: Path, *, geo: bool) -> None:
        super().__init__()
        self.s1_encoder, self.s2_encoder = encoders["s1"], encoders["s2"]
        self.text_model = BertModel.from_pretrained(text_folder)
        with torch.no_grad():
            for parameter in self.text_model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))  # fine-tuned, not the base
        for sensor in ("s1", "s2"):
            width = encoders[sensor](
                self.resized(sensor, torch.zeros(1, 2 if sensor == "s1" else 13, 120, 120))
            ).shape[1]
            setattr(self, f"{sensor}_projection", nn.Linear(width, WIDTH))
        if geo:
            location = LocationEncoder(LocationConfig(degree=4, hidden=8, width=6))
            self.location_encoder = nn.ModuleDict({"nnet": location})
            self.location_projection = nn.Linear(6, WIDTH)

    def resized(self, sensor: str, images: torch.Tensor) -> torch.Tensor:
        if not hasattr(getattr(self, f"{sensor}_encoder"), "patch_embed"):
            return images
        return F.interpolate(images, (224, 224), mode="bilinear", align_corners=True)

    @torch.no_grad()
    def images(self, sensor: str, stored: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(stored.astype(np.float32))
        if sensor == "s2":
            pixels = torch.nan_to_num(pixels)
            zeros = torch.zeros_like(pixels[:, :1])
            pixels = torch.cat([pixels[:, :10], zeros, pixels[:, 10:]], 1) / 10000
        else:
            pixels = torch.nan_to_num(pixels, nan=1e-6)
        encoder = getattr(self, f"{sensor}_encoder").eval()
        vectors = getattr(self, f"{sensor}_projection")(encoder(self.resized(sensor, pixels)))
        return F.normalize(vectors)

    @torch.no_grad()
    def texts(self, encoder: SentenceEncoder, texts: list[str]) -> torch.Tensor:
        tokenizer, _ = encoder._load()
        tokens = tokenizer(texts, padding="max_length", max_length=64, return_tensors="pt")
        return F.normalize(self.text_model.eval()(**tokens).last_hidden_state[:, 0])


def encoders(kind: str) -> dict[str, nn.Module]:
    vit = "vit_small_patch16_224"
    names = {"rn": ("resnet50", "resnet50"), "vs": (vit, vit), "mix": ("resnet50", vit)}[kind]
    bands = {"s1": 2, "s2": 13}
    made = {}
    for (sensor, count), name in zip(bands.items(), names, strict=True):
        # As published: timm's 1000 classes stay, except on the Sentinel-1 ViT-S.
        classes = 0 if (name == vit and sensor == "s1") else 1000
        made[sensor] = timm.create_model(name, in_chans=count, num_classes=classes)
    return made


def patches(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    radar = random.normal(-14, 4, (2, 2, 120, 120)).astype(np.float32)
    radar[0, :, :3] = np.nan
    optical = random.integers(1, 6000, (2, 12, 120, 120)).astype(np.uint16)
    optical[1, :, 50:60] = 0
    return {"s1": radar, "s2": optical}


@pytest.mark.integration  # no server, but networks of full size
@pytest.mark.parametrize(("kind", "geo"), [("mix", True), ("rn", True), ("vs", False)])
def test_a_published_model_gives_the_vectors_of_an_independent_forward(
    kind: str, geo: bool, text: SentenceEncoder, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    reference = Reference(encoders(kind), text._folder, geo=geo)
    path = tmp_path / ("model.pth" if kind == "vs" else "model.safetensors")
    state = {name: tensor.contiguous() for name, tensor in reference.state_dict().items()}
    torch.save(state, path) if kind == "vs" else save_file(state, path)
    weights = open_weights(str(path))
    assert is_published(weights)
    model = load_published(weights, LAYOUTS, text)
    assert (model.location is not None) == geo
    for sensor, stored in patches(2).items():
        got = model.encode_images(sensor, stored)
        np.testing.assert_allclose(got, reference.images(sensor, stored), atol=2e-5)
    texts = ["water", "water. trees. crops"]
    np.testing.assert_allclose(model.encode_texts(texts), reference.texts(text, texts), atol=2e-6)
    if geo:
        lonlat = torch.tensor([[11.0, 45.0], [-60.0, -3.0]])
        with torch.no_grad():
            inside = reference.location_encoder["nnet"].eval()
            inside.zonal[[0, 2, 6, 12]] = math.pi
            expected = F.normalize(reference.location_projection(inside(lonlat)))
            torch.testing.assert_close(model.place_vectors(lonlat), expected)


@pytest.mark.integration  # no server, but a network of full size
def test_a_published_model_becomes_a_run_without_training(
    text: SentenceEncoder, tmp_path: Path
) -> None:
    make_learnable(tmp_path, {"train": (4, 0), "val": (3, 0)})
    torch.manual_seed(2)
    encoder = timm.create_model("resnet50", in_chans=2, num_classes=1000)
    state = {f"s1_encoder.{name}": t for name, t in encoder.state_dict().items()}
    state |= {f"s1_projection.{n}": t for n, t in nn.Linear(1000, WIDTH).state_dict().items()}
    path = tmp_path / "closp.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    options = TrainOptions(recipe="published", weights=str(path), epochs=0, run="zero")
    summary = train(tmp_path, options, Silent(), text_encoder=text)
    assert (summary.steps, summary.best_epoch, summary.val_map) == (0, 0, None)
    loaded = load_run(tmp_path, "zero", text_encoder=text)
    assert loaded.config.weights["model"].name == "closp.safetensors"
    # The file holds no text encoder, so the one it was made from stays outside the run.
    assert loaded.model.tower is None
    model = load_published(open_weights(str(path)), {"s1": LAYOUTS["s1"]}, text)
    stored = patches(4)["s1"]
    np.testing.assert_array_equal(
        loaded.model.encode_images("s1", stored), model.encode_images("s1", stored)
    )
    again = train(tmp_path, replace(options, resume=True), Silent(), text_encoder=text)
    assert again.complete_before
    with pytest.raises(InputError, match="a whole published model goes with --recipe published"):
        train(tmp_path, replace(options, recipe="clip", run="x"), Silent(), text_encoder=text)


def test_what_is_no_published_model_is_one_line(text: SentenceEncoder) -> None:
    def load(tensors: dict[str, Any]) -> None:
        record = WeightsRecord(name="x.safetensors", sha256="0" * 64)
        load_published(Weights(record, tensors), LAYOUTS, text)

    with pytest.raises(InputError, match="hold no CLOSP model for the dataset's sensors"):
        load({"conv1.weight": torch.zeros(1)})
    projection = {"s1_projection.weight": torch.zeros(WIDTH, 7)}
    with pytest.raises(InputError, match="the s1 encoder is neither ResNet-50 nor ViT"):
        load(projection)
    broken = {**projection, "s1_encoder.layer4.2.conv3.weight": torch.zeros(1)}
    with pytest.raises(InputError, match=r"x\.safetensors: are not complete, .* is missing"):
        load(broken)
    twelve = {**broken, "s1_encoder.conv1.weight": torch.zeros(64, 12, 7, 7)}
    with pytest.raises(InputError, match=r"take 12 bands; known are 2 \(VV, VH\)"):
        load(twelve)
