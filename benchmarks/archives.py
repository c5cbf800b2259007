"""Plan and convert a generated reBEN archive, beside a plain loop over its files.

The archive is synthetic: real GeoTIFF files in reBEN's layout, a few drawn patches repeated under
other names and georeferences. `fetch` plans the whole of it and converts some of its shards, in a
process of its own so that the peak of memory is its own; the same on an archive a tenth as large
shows what grows. Conversion (read, check, settle the unit, encode) is besides measured on equal
samples by turns with the least that any converter must do: open every file with rasterio, read
it, compress the planes into the same frames.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from affine import Affine

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.recording import (
    Measurement,
    Report,
    Row,
    benchmark_parser,
    common_options,
    compare,
    cpu_seconds,
    interleaved,
    package_versions,
    peak_mb,
    timed,
    write_results,
)
from landmark import plan
from landmark.codec import encode_image
from landmark.dataset import Dataset
from landmark.fetching import FetchOptions, fetch
from landmark.manifest import Catalog, Manifest, Sentinel1, Sentinel2
from landmark.patches import make_patches
from landmark.progress import Silent
from landmark.schema import s1_layout, s2_layout
from landmark.sources import Roots, open_roots

BANDS = ("B02", "B03", "B04", "B08")
_TILE_CELLS = 90
_CORNER = (300_000.0, 5_400_000.0)
_PATTERNS = 16
#: Shards that are converted of an archive, spread over it; patches per sensor of a round.
_SHARDS, _SAMPLE = 3, 300


def main() -> None:
    """Run the benchmark."""
    parser = benchmark_parser(__doc__, runs=3)
    parser.add_argument("--patches", type=int, default=None, help="of both sensors (50000)")
    parser.add_argument("--whole", action="store_true", help="convert every shard: takes long")
    parser.add_argument("--child", type=Path, default=None, help="internal: convert one archive")
    parsed = parser.parse_args()
    if parsed.child is not None:
        _convert(parsed.child, whole=parsed.whole)
        return
    options = common_options(parsed)
    patches = parsed.patches or (2000 if options.quick else 50_000)
    with tempfile.TemporaryDirectory() as scratch:
        rows = _measure(Path(scratch), patches, options.runs, whole=parsed.whole)
        # Before 150,000 files are removed: what was measured is not lost in that.
        write_results(_report(rows, patches, whole=parsed.whole), options)


def _report(rows: list[Row], patches: int, *, whole: bool) -> Report:
    share = "all its shards" if whole else f"{_SHARDS} shards of it (some 500 patches each)"
    text = (
        f"A generated archive of {patches:,} reBEN-like patches ({len(BANDS)} Sentinel-2 bands of "
        "10 m, VV and VH; synthetic pixels, uncompressed GeoTIFF, one file a band) on local disk, "
        "just written. `plan`: reading the table, a few headers per tile, values for unit and "
        f"offset, all plan rows. `fetch`: converting {share} with two threads. Both in a process "
        "of its own, whose peak of memory follows them; `-tenth` is the same for an archive a "
        f"tenth as large. `convert`: {2 * _per_sensor(patches)} patches per round, by turns with "
        "a plain rasterio loop that opens, reads and compresses the same files without any check."
    )
    return Report(
        "archives",
        "Archives: planning and converting",
        rows,
        text=text,
        not_measured=(
            *(() if whole else (f"converting all {patches:,} patches (`--whole`)",)),
            "network disks and cold page cache",
            "HDF5, zip and tar archives",
            "20 m and 60 m bands (more files of fewer bytes)",
        ),
    )


def make_archive(folder: Path, pairs: int) -> None:
    """Write a synthetic archive of S1-S2 pairs in reBEN's layout."""
    drawn = np.random.default_rng(7)
    templates: dict[str, list[tuple[bytes, int]]] = {}
    for band in (*BANDS, "VV", "VH"):
        radar = band in ("VV", "VH")
        templates[band] = []
        for _ in range(_PATTERNS):
            base = drawn.normal(size=(15, 15)).repeat(8, 0).repeat(8, 1)
            base = base + 0.2 * drawn.normal(size=(120, 120))
            values = (-13 + 3 * base).astype(np.float32)
            if not radar:
                values = np.clip(900 + 400 * base, 30, 6000).astype(np.uint16)
            templates[band].append(_template(values))
    rows = []
    for number in range(pairs):
        tile, cell = divmod(number, _TILE_CELLS**2)
        row, column = divmod(cell, _TILE_CELLS)
        grid = f"33U{chr(65 + tile % 26)}P"
        scene = f"S2A_MSIL2A_20170613T101031_N9999_R022_T{grid}"
        s2 = f"{scene}_{column:02d}_{row:02d}"
        s1 = f"S1B_IW_GRDH_1SDV_20170612T165809_{grid}_{column}_{row}"
        x, y = _CORNER[0] + 1200 * column, _CORNER[1] - 1200 * row - 120_000 * (tile % 26)
        places = {"s2": folder / "BigEarthNet-S2" / scene / s2}
        places["s1"] = folder / "BigEarthNet-S1" / s1.rsplit("_", 3)[0] / s1
        for sensor, bands in (("s2", BANDS), ("s1", ("VV", "VH"))):
            os.makedirs(places[sensor], exist_ok=True)  # noqa: PTH103
            for band in bands:
                data, at = templates[band][number % _PATTERNS]
                own = data[:at] + struct.pack("<2d", x, y) + data[at + 16 :]
                path = f"{places[sensor]}/{places[sensor].name}_{band}.tif"
                with open(path, "wb") as stream:  # noqa: PTH123
                    stream.write(own)
        rows.append({"patch_id": s2, "s1_name": s1, "labels": ["Pastures"], "split": "train"})
    pq.write_table(pa.Table.from_pylist(rows), folder / "metadata.parquet")


def _template(values: np.ndarray[Any, Any]) -> tuple[bytes, int]:
    """Return a GeoTIFF and where the two doubles of its corner stand."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=120,
            height=120,
            count=1,
            dtype=values.dtype.name,
            crs="EPSG:32633",
            transform=Affine(10, 0, _CORNER[0], 0, -10, _CORNER[1]),
        ) as file:
            file.write(values, 1)
        data = path.read_bytes()
    mark = struct.pack("<2d", *_CORNER)
    assert data.count(mark) == 1
    return data, data.index(mark)


def manifest_of(archive: Path) -> Manifest:
    """Return the manifest of a conversion."""
    return Manifest(
        name="benchmark",
        catalog=Catalog(kind="archive", format="reben", href=str(archive)),
        grid="source",
        s1=Sentinel1(),
        s2=Sentinel2(bands=BANDS),
    )


def _measure(folder: Path, patches: int, runs: int, *, whole: bool) -> list[Row]:
    large, small = folder / "archive", folder / "tenth"
    make_archive(large, patches // 2)
    make_archive(small, patches // 20)
    rows: list[Row] = []
    for suffix, archive in (("", large), ("-tenth", small)):
        for case, one in _in_child(archive, whole=whole).items():
            print(f"{case}{suffix}: {one}", file=sys.stderr, flush=True)
            runs_of, name = {"ours": [one]}, f"{case}{suffix}"
            rows += compare("archives", name, runs_of, "patches_per_cpu_s", lambda m: m.per_cpu_s)
            rows += compare("archives", name, runs_of, "cpu_s", lambda m: m.cpu_s)
            rows += compare("archives", name, runs_of, "peak_mb", lambda m: m.values["peak_mb"])
    manifest = manifest_of(small)
    roots = open_roots(manifest, Dataset(folder / "data"))
    planned = plan.make_plan(folder / "plan.parquet", manifest, roots, Silent())
    sample = _sample(planned, _per_sensor(patches))
    subjects: dict[str, Callable[[], Measurement]] = {
        "ours": timed(lambda: _ours(sample, manifest, roots)),
        "rasterio-plain": timed(lambda: _plain(sample, small)),
    }
    versions = package_versions("numpy", "pyarrow", "rasterio", "blosc2")
    measured = interleaved(subjects, runs=runs)
    metric = "patches_per_cpu_s"
    return rows + compare(
        "archives", "convert", measured, metric, lambda m: m.per_cpu_s, versions=versions
    )


def _per_sensor(patches: int) -> int:
    """Return how many patches of a sensor a round converts: of the smaller archive."""
    return min(_SAMPLE, patches // 20)


def _sample(planned: plan.PlanFile, per_sensor: int) -> dict[str, pa.Table]:
    """Return neighbouring rows of one shard of each sensor, as a shard task has them."""
    names = list(planned.shard_sizes())
    found = {}
    for sensor in ("s1", "s2"):
        first = next(name for name in names if name.startswith(sensor))
        found[sensor] = planned.shard_rows(first).slice(0, per_sensor)
    return found


def _ours(sample: dict[str, pa.Table], manifest: Manifest, roots: Roots) -> int:
    return sum(make_patches(rows, manifest, roots).table.num_rows for rows in sample.values())


def _plain(sample: dict[str, pa.Table], archive: Path) -> int:
    """The least: open, read and compress every file, without a check."""
    from landmark.scenes import Scene

    count = 0
    layouts = {"s1": s1_layout(), "s2": s2_layout(BANDS)}
    for sensor, rows in sample.items():
        for text in rows["scene"].to_pylist():
            planes = []
            for asset in Scene.from_json(text).bands:
                with rasterio.open(archive / asset.href) as file:
                    planes.append(file.read(1))
            encode_image(planes, layouts[sensor])
            count += 1
    return count


def _in_child(archive: Path, *, whole: bool) -> dict[str, Measurement]:
    """Plan and convert an archive in a process of its own, so that its peak of memory is its own.

    Returns:
        `plan` and `fetch`; the peak is that of the process up to the end of each.
    """
    command = [sys.executable, "-m", "benchmarks.archives", "--child", str(archive)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [*command, *(["--whole"] if whole else [])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        case: Measurement(one["amount"], one["cpu_s"], one["wall_s"], {"peak_mb": one["peak_mb"]})
        for case, one in found.items()
    }


def _convert(archive: Path, *, whole: bool) -> None:
    """Plan an archive and convert shards of it; print what that took as one line of JSON."""
    found: dict[str, dict[str, float]] = {}

    def note(case: str, amount: int, cpu: float, wall: float) -> None:
        spent = cpu_seconds() - cpu
        took = time.monotonic() - wall
        found[case] = {"amount": amount, "cpu_s": spent, "wall_s": took, "peak_mb": peak_mb()}

    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        root, manifest = Path(scratch) / "data", manifest_of(archive)
        cpu, wall = cpu_seconds(), time.monotonic()
        planned = fetch(manifest, root, FetchOptions(plan_only=True), Silent()).plan
        note("plan", planned.patches, cpu, wall)
        shards = len(plan.PlanFile(Dataset(root).plan).shard_sizes())
        part = None if whole or shards <= _SHARDS else (1, -(-shards // _SHARDS))
        cpu, wall = cpu_seconds(), time.monotonic()
        summary = fetch(manifest, root, FetchOptions(workers=2, part=part), Silent())
        note("fetch", summary.patches, cpu, wall)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
