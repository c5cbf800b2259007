"""Weights from elsewhere: files or the hub -> tensors by name, and into a backbone.

Read are safetensors files, and files of torch.save by torch's restricted unpickler
(`weights_only`), which builds tensors and plain values and runs nothing. Known are the layouts of
SSL4EO-S12 (MoCo, DINO, MAE), torchgeo and timm.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from baselines.scaling import SensorInput
from landmark.errors import InputError

#: Bands in the order of SSL4EO-S12's Sentinel-2 nets (level 1C: B10 is there).
S2_BANDS = (
    *(f"B{number:02}" for number in range(1, 9)),
    "B8A",
    *(f"B{number:02}" for number in range(9, 13)),
)
S1_BANDS = ("VV", "VH")
#: The band level 2A has not: its place in the net is fed with 0, that is, left out.
CIRRUS = "B10"
#: Mean and spread of SSL4EO-S12's Sentinel-1 patches, dB (torchgeo's transforms of these weights).
SSL4EO_S1_MEAN = (-12.59, -20.26)
SSL4EO_S1_STD = (5.26, 5.91)

#: What the files wrap around a backbone, longest first.
_PREFIXES = (
    "module.encoder_q.",
    "module.base_encoder.",
    "module.backbone.",
    "backbone.",
    "module.",
)
_WRAPPERS = ("state_dict", "model", "teacher")
#: Parts of pretraining that no encoder needs.
_LEFT_OUT = ("decoder", "mask_token", "queue", "fc.", "head.", "fc_norm.")
_CONVOLUTIONS = ("conv1.weight", "patch_embed.proj.weight")
_HUB = "hub:"


@dataclass(frozen=True)
class HubFile:
    """A file of the Hugging Face hub.

    Attributes:
        repository: `owner/name`.
        name: Path of the file in it.
        revision: Commit, or None for the newest.
        sha256: Its first digits, where known.
    """

    repository: str
    name: str
    revision: str | None = None
    sha256: str = ""


#: SSL4EO-S12 MoCo weights as torchgeo publishes them: (timm name, sensor) -> file. Names end in the
#: first digits of the sha256; revisions as pinned in torchgeo's model enums.
SSL4EO: MappingProxyType[tuple[str, str], HubFile] = MappingProxyType(
    {
        (name, sensor): HubFile(f"torchgeo/{stem}", f"{stem}-{digits}.pth", revision, sha256=digits)
        for name, sensor, stem, digits, revision in (
            (
                "resnet50",
                "s1",
                "resnet50_sentinel1_all_moco",
                "906e4356",
                "e79862c667853c10a709bdd77ea8ffbad0e0f1cf",
            ),
            (
                "resnet50",
                "s2",
                "resnet50_sentinel2_all_moco",
                "df8b932e",
                "da4f3c9dbe09272eb902f3b37f46635fa4726879",
            ),
            (
                "vit_small_patch16_224",
                "s2",
                "vit_small_patch16_224_sentinel2_all_moco",
                "67c9032d",
                "1cb683f6c14739634cdfaaceb076529adf898c74",
            ),
        )
    }
)


class WeightsRecord(BaseModel):
    """Which file a run started from.

    Attributes:
        name: File name, or `hub:OWNER/REPOSITORY/FILE`.
        sha256: Of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str


@dataclass(frozen=True)
class Weights:
    """Tensors of one file.

    Attributes:
        record: Where they come from.
        tensors: By name, as in the file.
    """

    record: WeightsRecord
    tensors: Mapping[str, Tensor]


def open_weights(source: str | HubFile) -> Weights:
    """Read a file of weights.

    Args:
        source: A path (.safetensors, .pth, .pt, .ckpt), `hub:OWNER/REPOSITORY/FILE[@COMMIT]`, or a
            known file of the hub.

    Raises:
        InputError: It is not there, damaged, of another kind, or not the known file.
    """
    if isinstance(source, str) and source.startswith(_HUB):
        source = _parse_hub(source)
    if isinstance(source, HubFile):
        path, name = _download(source), f"{_HUB}{source.repository}/{source.name}"
    else:
        path, name = Path(source), Path(source).name
    if not path.is_file():
        raise InputError(f"weights {source}: there is no such file")
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if isinstance(source, HubFile) and not sha256.startswith(source.sha256):
        raise InputError(
            f"weights {name}: sha256 begins with {sha256[:8]}, expected {source.sha256}; clear the "
            "hub's cache and try again"
        )
    return Weights(WeightsRecord(name=name, sha256=sha256), _read(path, name))


def load_backbone(
    backbone: nn.Module, tensors: Mapping[str, Tensor], expected: SensorInput, origin: str
) -> None:
    """Put pretrained tensors into a backbone; a classifier keeps its own weights.

    Args:
        backbone: timm module.
        tensors: Of a file, in any known layout.
        expected: Sensor and bands of the backbone's input.
        origin: Named in errors.

    Raises:
        InputError: The tensors are of another architecture, or of other bands.
    """
    found = {name: tensor for name, tensor in _unwrapped(tensors).items() if _kept(name)}
    for name in _CONVOLUTIONS:
        if name in found:
            found[name] = select_bands(found[name], expected, origin)
    own = {n: t for n, t in backbone.state_dict().items() if _kept(n)}
    missing, unknown = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    wrong = [n for n in own.keys() & found.keys() if own[n].shape != found[n].shape]
    if missing or unknown or wrong:
        what = (
            f"{missing[0]} is missing"
            if missing
            else f"{unknown[0]} is not part of it"
            if unknown
            else f"{wrong[0]} is {tuple(found[wrong[0]].shape)}, not {tuple(own[wrong[0]].shape)}"
        )
        raise InputError(f"weights {origin}: do not fit the {expected.sensor} encoder ({what})")
    backbone.load_state_dict(found, strict=False)


def select_bands(kernel: Tensor, expected: SensorInput, origin: str) -> Tensor:
    """Return a first layer's (out, bands, ...) weights for the bands a dataset has.

    A band fed with zeros adds nothing, so leaving B10's slice out equals the published practice of
    inserting a zero band (the nets take reflectance with mean 0).

    Raises:
        InputError: The weights are for other bands.
    """
    known = S1_BANDS if expected.sensor == "s1" else S2_BANDS
    without = tuple(band for band in known if band != CIRRUS)
    if kernel.shape[1] == len(expected.bands) and expected.bands in (known, without):
        return kernel
    if kernel.shape[1] != len(known):
        raise InputError(
            f"weights {origin}: take {kernel.shape[1]} bands; known are {len(known)} "
            f"({', '.join(known)}), and the dataset has {len(expected.bands)}"
        )
    lacking = [band for band in known if band not in expected.bands and band != CIRRUS]
    unknown = [band for band in expected.bands if band not in known]
    if lacking or unknown:
        named = f"lacks {', '.join(lacking)}" if lacking else f"has {', '.join(unknown)}"
        raise InputError(
            f"weights {origin}: take the bands {', '.join(known)} ({CIRRUS} may be missing); the "
            f"dataset {named}"
        )
    return kernel[:, [known.index(band) for band in expected.bands]].contiguous()


def ssl4eo_input(
    sensor: str, bands: Sequence[str], scale: float, nodata: int | None
) -> SensorInput:
    """Return the input SSL4EO-S12 weights were trained with: reflectance, or standardised dB."""
    mean: tuple[float, ...] = (0.0,) * len(bands)
    std: tuple[float, ...] = (1.0,) * len(bands)
    if sensor == "s1":
        mean, std = SSL4EO_S1_MEAN, SSL4EO_S1_STD
    return SensorInput(
        sensor=sensor, bands=tuple(bands), scale=scale, nodata=nodata, mean=mean, std=std
    )


def _parse_hub(text: str) -> HubFile:
    path, _, revision = text.removeprefix(_HUB).partition("@")
    parts = path.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise InputError(f"weights {text}: give hub:OWNER/REPOSITORY/FILE")
    return HubFile(f"{parts[0]}/{parts[1]}", parts[2], revision or None)


def _download(file: HubFile) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    get = partial(hf_hub_download, file.repository, file.name, revision=file.revision)
    try:
        return Path(get(local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        return Path(get())
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        raise InputError(
            f"weights {_HUB}{file.repository}/{file.name}: not on the hub from here; give a local "
            "file instead"
        ) from None


def _read(path: Path, name: str) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"weights {name}: are damaged, or hold more than tensors and plain values and are not "
            "read for that; save the state dict as safetensors where you trust the file"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"weights {name}: cannot be read ({reason})") from None
    return _state_dict(raw, name)


def _state_dict(raw: object, name: str) -> Mapping[str, Tensor]:
    """Return the tensors of a loaded file, out of the wrappers training scripts put around."""
    for wrapper in _WRAPPERS:
        if isinstance(raw, Mapping) and isinstance(raw.get(wrapper), Mapping):
            raw = raw[wrapper]
    tensors = (
        {str(k): v for k, v in raw.items() if isinstance(v, Tensor)}
        if isinstance(raw, Mapping)
        else {}
    )
    if not tensors:
        raise InputError(f"weights {name}: hold no tensors by name (a state dict)")
    return tensors


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if any(name in own for name in _CONVOLUTIONS):
            return own
    return dict(tensors)


def _kept(name: str) -> bool:
    return not name.startswith(_LEFT_OUT) and not name.endswith("num_batches_tracked")
