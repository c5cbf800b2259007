from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from baselines.encoders import BackboneConfig, build_backbone
from baselines.scaling import SensorInput
from baselines.weights import (
    S2_BANDS,
    Weights,
    WeightsRecord,
    load_backbone,
    open_weights,
    select_bands,
    ssl4eo_input,
)
from landmark.errors import InputError

TWELVE = tuple(band for band in S2_BANDS if band != "B10")
S2 = ssl4eo_input("s2", TWELVE, 1e-4, 0)
S1 = ssl4eo_input("s1", ("VV", "VH"), 1.0, None)


def bands(*names: str) -> SensorInput:
    return ssl4eo_input("s2", names, 1e-4, 0)


def test_leaving_the_cirrus_band_out_is_feeding_it_with_zeros() -> None:
    kernel = torch.randn(4, 13, 3, 3)
    pixels = torch.randn(2, 12, 9, 9)
    fed = torch.cat([pixels[:, :10], torch.zeros(2, 1, 9, 9), pixels[:, 10:]], 1)
    got = F.conv2d(pixels, select_bands(kernel, S2, "w"))
    torch.testing.assert_close(got, F.conv2d(fed, kernel), atol=1e-4, rtol=1e-4)


def test_bands_are_matched_by_name_not_by_place() -> None:
    kernel = torch.arange(13.0).reshape(1, 13, 1, 1)
    shuffled = bands(*TWELVE[::-1])
    assert select_bands(kernel, shuffled, "w").flatten().tolist() == [
        float(S2_BANDS.index(band)) for band in TWELVE[::-1]
    ]
    whole = select_bands(kernel, bands(*S2_BANDS), "w")
    assert whole.flatten().tolist() == list(range(13))


def test_other_bands_are_one_line() -> None:
    kernel = torch.zeros(1, 13, 1, 1)
    with pytest.raises(InputError, match=r"take the bands B01, .* the dataset lacks B01, B05"):
        select_bands(kernel, bands(*(b for b in TWELVE if b not in ("B01", "B05"))), "w")
    with pytest.raises(InputError, match="the dataset has B13"):
        select_bands(kernel, bands(*TWELVE, "B13"), "w")
    with pytest.raises(InputError, match="take 3 bands; known are 13"):
        select_bands(torch.zeros(1, 3, 1, 1), S2, "w")


@pytest.mark.parametrize(
    ("name", "size", "prefix", "extra", "wrapper"),
    [
        ("resnet18", 30, "", {}, None),  # torchgeo
        (
            "resnet18",
            30,
            "module.encoder_q.",
            {"module.queue": 3, "module.encoder_q.fc.0.weight": 3},
            "state_dict",
        ),  # MoCo
        (
            "test_vit",
            160,
            "",
            {"decoder_blocks.0.norm1.weight": 3, "mask_token": 3},
            "model",
        ),  # MAE
        ("test_vit", 160, "backbone.", {"head.mlp.0.weight": 3}, "teacher"),  # DINO
    ],
)
def test_pretraining_layouts_fill_a_backbone(
    name: str, size: int, prefix: str, extra: dict[str, int], wrapper: str | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    source = timm.create_model(name, in_chans=13, num_classes=0)
    tensors = {f"{prefix}{n}": t for n, t in source.state_dict().items()}
    tensors |= {n: torch.zeros(count) for n, count in extra.items()}
    path = tmp_path / "weights.pth"
    torch.save({wrapper: tensors, "epoch": 99} if wrapper else tensors, path)
    backbone, _ = build_backbone(BackboneConfig(name=name, size=size, classifier=7), 12)
    kept = [p.clone() for n, p in backbone.named_parameters() if n in ("fc.weight", "head.weight")]
    load_backbone(backbone, open_weights(str(path)).tensors, S2, "weights.pth")
    own = backbone.state_dict()
    for key, tensor in source.state_dict().items():
        if key in ("conv1.weight", "patch_embed.proj.weight"):
            tensor = select_bands(tensor, S2, "w")
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(own[key], tensor), key
    head = own.get("fc.weight", own.get("head.weight"))
    assert torch.equal(head, kept[0])


def test_another_architecture_is_one_line() -> None:
    tensors = timm.create_model("resnet10t", in_chans=2, num_classes=0).state_dict()
    backbone, _ = build_backbone(BackboneConfig(name="resnet18", size=30), 2)
    with pytest.raises(InputError, match=r"weights w\.pth: do not fit the s1 encoder"):
        load_backbone(backbone, tensors, S1, "w.pth")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.unlink, (Path("/nonexistent"),))


def test_files_that_hold_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {"a": Evil()}}, path)
    with pytest.raises(InputError, match="hold more than tensors and plain values"):
        open_weights(str(path))


def test_missing_and_damaged_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        open_weights(str(tmp_path / "none.pth"))
    for name, reason in (("short.safetensors", "cannot be read"), ("short.pth", "are damaged")):
        (tmp_path / name).write_bytes(b"\x00\x01")
        with pytest.raises(InputError, match=f"weights {name}: {reason}"):
            open_weights(str(tmp_path / name))
    save_file({}, tmp_path / "empty.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="hold no tensors by name"):
        open_weights(str(tmp_path / "list.pth"))
    with pytest.raises(InputError, match="give hub:OWNER/REPOSITORY/FILE"):
        open_weights("hub:only")


def test_a_record_says_which_file_it_was(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    found = open_weights(str(tmp_path / "a.safetensors"))
    assert isinstance(found, Weights)
    assert found.record.name == "a.safetensors"
    assert len(found.record.sha256) == 64
    assert isinstance(found.record, WeightsRecord)
