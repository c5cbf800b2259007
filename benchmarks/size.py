"""Bytes per sample of real patches: our profiles against the published layout and plain Parquet.

    python -m benchmarks.size

Real Sentinel-1 and -2 patches (`LANDMARK_TEST_DATA`). Also the table behind the choice of codecs:
size, encoding and decoding rate of every candidate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import blosc2
import h5py
import hdf5plugin
import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.ndimage import zoom

from benchmarks.made_dataset import write_split
from benchmarks.real_patches import Planes, s1_patches, s2_patches, shared_data
from benchmarks.recording import (
    Measurement,
    Report,
    Row,
    compare,
    interleaved,
    package_versions,
    parse_options,
    timed,
    write_results,
)
from landmark.grid import PIXELS
from landmark.manifest import S2_BANDS
from landmark.profiles import COMPACT_STEP_DB, PROFILES, with_profile
from landmark.schema import ImageLayout, s1_layout, s2_layout

_CODECS = {
    "lz4": (blosc2.Codec.LZ4, 5),
    "lz4hc-1": (blosc2.Codec.LZ4HC, 1),
    "lz4hc-5": (blosc2.Codec.LZ4HC, 5),
    "lz4hc-9": (blosc2.Codec.LZ4HC, 9),
    "zstd-1": (blosc2.Codec.ZSTD, 1),
    "zstd-3": (blosc2.Codec.ZSTD, 3),
    "zstd-5": (blosc2.Codec.ZSTD, 5),
}
#: Tried with other blocks only.
_MORE_CODECS = {"lz4-9": (blosc2.Codec.LZ4, 9), "lz4hc-3": (blosc2.Codec.LZ4HC, 3)}
_FILTERS = {"shuffle": blosc2.Filter.SHUFFLE, "bitshuffle": blosc2.Filter.BITSHUFFLE}

_TEXT = """
{s2} real Sentinel-2 patches (12 bands, uint16; pieces of Major-TOM, SSL4EO-S12 and BigEarthNet)
and {s1} real Sentinel-1 patches (VV, VH, float32 dB). Sizes are of whole files, all columns
included. `hdf5-published`: float32, one group per patch with image, coordinates and attributes,
zstd, automatic chunks, coarse bands brought to 10 m bilinearly (as the published corpus) or, case
`s2-nearest`, replicated. `raw-zstd`: Parquet with raw pixels of 120 x 120 per band, zstd level 1;
case `s2-native-raw` leaves the planes at their native size. The profile `compact` is lossy for
Sentinel-1: multiples of 0.01 dB.
"""

_NOT_MEASURED = (
    "patches of more scenes: the numbers of both sensors are small, and sizes follow the ground",
    "archival codecs (JPEG-LS, JPEG 2000, JPEG XL): 5 to 15 % smaller, 10 to 30 times slower to "
    "decode",
)


def main() -> None:
    """Run and write the results."""
    options = parse_options(__doc__, runs=3)
    data = shared_data()
    patches = {"s2": s2_patches(data), "s1": s1_patches(data)}
    if options.quick:
        patches = {sensor: all_of[:12] for sensor, all_of in patches.items()}
    layouts = {"s2": s2_layout(S2_BANDS), "s1": s1_layout()}
    versions = package_versions("numpy", "pyarrow", "blosc2", "imagecodecs", "h5py", "hdf5plugin")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="landmark-size-") as folder:
        for case, sensor, ours, peers in _cases(patches):
            stored = {
                f"ours-{name}": _sized(_ours(ours, with_profile(layouts[sensor], name), folder))
                for name in PROFILES
            }
            stored |= {name: _sized(write(Path(folder) / name)) for name, write in peers.items()}
            for profile in PROFILES:
                own = f"ours-{profile}"
                chosen = {n: m for n, m in stored.items() if n == own or n in peers}
                rows += compare(
                    "size", case, chosen, "bytes", _bytes, subject=own, versions=versions
                )
    findings = "\n\n".join(
        _codec_table(sensor, all_of, options.runs) for sensor, all_of in patches.items()
    )
    text = _TEXT.format(s2=len(patches["s2"]), s1=len(patches["s1"]))
    report = Report("size", "Bytes per sample", rows, text, findings, _NOT_MEASURED)
    write_results(report, options)


Writer = Callable[[Path], float]


def _cases(
    patches: Mapping[str, list[Planes]],
) -> list[tuple[str, str, list[Planes], dict[str, Writer]]]:
    s2, s1 = patches["s2"], patches["s1"]
    bilinear = [_upsampled(planes, order=1) for planes in s2]
    nearest = [_upsampled(planes, order=0) for planes in s2]
    radar = [np.stack(planes).astype(np.float32) for planes in s1]
    flat = [np.concatenate([plane.ravel() for plane in planes]) for planes in s2]
    return [
        (
            "s2",
            "s2",
            s2,
            {
                "hdf5-published": lambda path: _published(path, bilinear),
                "raw-zstd": lambda path: _raw_zstd(path, [i.astype(np.uint16) for i in nearest]),
            },
        ),
        ("s2-nearest", "s2", s2, {"hdf5-published": lambda path: _published(path, nearest)}),
        ("s2-native-raw", "s2", s2, {"raw-zstd": lambda path: _raw_zstd(path, flat)}),
        (
            "s1",
            "s1",
            s1,
            {
                "hdf5-published": lambda path: _published(path, radar),
                "raw-zstd": lambda path: _raw_zstd(path, radar),
            },
        ),
    ]


def _upsampled(planes: Planes, order: int) -> NDArray[np.float32]:
    """Return (bands, 120, 120) float32; order 1: bilinear, 0: replicated."""
    bands = [
        zoom(
            plane.astype(np.float32),
            PIXELS / len(plane),
            order=order,
            grid_mode=True,
            mode="nearest",
        )
        if order
        else plane.repeat(PIXELS // len(plane), 0).repeat(PIXELS // len(plane), 1)
        for plane in planes
    ]
    return np.stack(bands).astype(np.float32)


def _ours(patches: list[Planes], layout: ImageLayout, folder: str) -> float:
    root = Path(folder) / f"{layout.sensor}-{layout.codec}-{layout.step}".replace(":", "-")
    return write_split(root, layout, iter(patches), len(patches)) / len(patches)


def _published(path: Path, images: Sequence[NDArray[np.float32]]) -> float:
    coordinates = np.zeros((2, PIXELS, PIXELS), np.float32)
    with h5py.File(path, "w") as file:
        for number, image in enumerate(images):
            group = file.create_group(f"{number:06d}")
            group.create_dataset("image", data=image, chunks=True, **hdf5plugin.Zstd())
            # Zeros: real coordinates would only make the peer larger.
            group.create_dataset("coords", data=coordinates, chunks=True, **hdf5plugin.Zstd())
            group.attrs["crs"] = 32632
            group.attrs["timestamp"] = 1.6e9
    return path.stat().st_size / len(images)


def _raw_zstd(path: Path, images: Sequence[NDArray[np.generic]]) -> float:
    table = pa.table({"image": pa.array([image.tobytes() for image in images], pa.binary())})
    pq.write_table(
        table,
        path,
        row_group_size=64,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
    )
    return path.stat().st_size / len(images)


def _sized(nbytes: float) -> list[Measurement]:
    return [Measurement(1, 1.0, 1.0, {"bytes": nbytes})]


def _bytes(measurement: Measurement) -> float:
    return measurement.values["bytes"]


def _codec_table(sensor: str, patches: list[Planes], runs: int) -> str:
    """Return size, encoding and decoding rate of every codec and filter, as markdown."""
    flats = [np.concatenate([plane.ravel() for plane in planes]) for planes in patches]
    lines = [
        f"Codecs on the {sensor} patches, native planes, blocks of 64 KiB, median of {runs} runs "
        "(our choice: `landmark/profiles.py`):",
        "",
        "| filter + codec | KB/sample | encoded/CPU-s | decoded/CPU-s |",
        "|---|---:|---:|---:|",
    ]
    for codec, name in product(_CODECS, _FILTERS):
        lines.append(_codec_line(f"{name} + {codec}", _Way(codec, name), flats, runs))
    if sensor == "s1":
        centi = [np.round(flat / COMPACT_STEP_DB).astype(np.int16) for flat in flats]
        lines += [
            _codec_line(f"int16, {name} + {codec} (lossy)", _Way(codec, name), centi, runs)
            for codec, name in product(("lz4", "zstd-3"), _FILTERS)
        ]
    else:
        lines += ["", _block_table(flats, runs)]
    return "\n".join(lines)


def _block_table(flats: Sequence[NDArray[np.generic]], runs: int) -> str:
    """Return what block size, splitting and element size do, as markdown."""
    whole = flats[0].nbytes
    ways = [
        *(_Way("lz4hc-1", block=block) for block in (14400, 28800, 65536, 131072, whole)),
        _Way("lz4hc-1", block=whole, split=False),
        _Way("lz4hc-1", block=whole, typesize=4),
        *(_Way(codec, block=whole) for codec in ("lz4", "lz4-9", "lz4hc-3", "zstd-1")),
    ]
    lines = [
        f"The same with bitshuffle, by block; {whole:,} bytes are a whole patch, and lz4hc-1 with "
        "that block is what the profile `training` writes:",
        "",
        "| codec | block | KB/sample | encoded/CPU-s | decoded/CPU-s |",
        "|---|---:|---:|---:|---:|",
    ]
    for way in ways:
        also = "" if way.split else ", streams not split"
        also += "" if way.typesize is None else f", elements of {way.typesize} bytes"
        lines.append(_codec_line(f"{way.codec}{also} | {way.block:,}", way, flats, runs))
    return "\n".join(lines)


@dataclass(frozen=True)
class _Way:
    """Parameters of blosc2 to try."""

    codec: str
    filtering: str = "bitshuffle"
    block: int = 65536
    split: bool = True
    typesize: int | None = None


def _codec_line(title: str, way: _Way, flats: Sequence[NDArray[np.generic]], runs: int) -> str:
    kind, level = _CODECS[way.codec] if way.codec in _CODECS else _MORE_CODECS[way.codec]
    split = blosc2.SplitMode.ALWAYS_SPLIT if way.split else blosc2.SplitMode.NEVER_SPLIT
    parameters = blosc2.CParams(
        codec=kind,
        clevel=level,
        typesize=way.typesize or flats[0].dtype.itemsize,
        nthreads=1,
        blocksize=way.block,
        splitmode=split,
        filters=[_FILTERS[way.filtering]],
        filters_meta=[0],
    )
    if way.typesize is not None:  # blosc2 takes the element size from an array, not from us
        flats = [flat.view(np.uint8) for flat in flats]
    frames = [blosc2.compress2(flat, cparams=parameters) for flat in flats]
    out = np.empty(flats[0].nbytes, np.uint8)

    def encode() -> float:
        for flat in flats:
            blosc2.compress2(flat, cparams=parameters)
        return len(flats)

    def decode() -> float:
        for frame in frames:
            imagecodecs.blosc2_decode(frame, numthreads=1, out=out)  # type: ignore[arg-type]
        return len(frames)

    measured = interleaved({"encode": timed(encode), "decode": timed(decode)}, runs=runs)
    rates = {
        name: float(np.median([one.per_cpu_s for one in all_of]))
        for name, all_of in measured.items()
    }
    size = sum(map(len, frames)) / len(frames) / 1e3
    return f"| {title} | {size:.1f} | {rates['encode']:,.0f} | {rates['decode']:,.0f} |"


if __name__ == "__main__":
    main()
