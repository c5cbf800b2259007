"""Plan and convert a generated reBEN archive, beside a plain loop over its files.

The archive is synthetic: real GeoTIFF files in reBEN's layout, a few drawn patches repeated under
other names and georeferences. Planning is measured on the whole of it. Conversion (read, check,
settle the unit, encode) is measured on equal samples by turns with the least that any converter
must do: open every file with rasterio, read it, compress the planes into the same frames. The whole
archive is then converted once, for the rate and the peak of memory over its length.
"""

from __future__ import annotations

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


def main() -> None:
    """Run the benchmark."""
    parser = benchmark_parser(__doc__, runs=5)
    parser.add_argument("--patches", type=int, default=None, help="of both sensors (50000)")
    parser.add_argument("--keep", type=Path, default=None, help="folder to make the archive in")
    parser.add_argument("--part", type=int, default=1, help="convert every n-th shard only (1)")
    parser.add_argument("--child", type=Path, default=None, help="internal: convert one archive")
    parsed = parser.parse_args()
    if parsed.child is not None:
        _convert(parsed.child, parsed.part)
        return
    options = common_options(parsed)
    patches = parsed.patches or (1000 if options.quick else 50_000)
    with tempfile.TemporaryDirectory() as scratch:
        folder = parsed.keep or Path(scratch)
        archive = folder / "archive"
        if not archive.exists():
            make_archive(archive, patches // 2)
        rows = _measure(archive, folder, patches, options.runs, parsed.part, quick=options.quick)
    share = "whole" if parsed.part == 1 else f"every {parsed.part}th shard of it"
    text = (
        f"A generated archive of {patches:,} reBEN-like patches ({len(BANDS)} Sentinel-2 bands of "
        "10 m, VV and VH; synthetic pixels, uncompressed GeoTIFF, one file a band) on local disk. "
        "`plan`: reading the table, a few headers per tile, all plan rows. `convert`: 1000 patches "
        "per round, by turns with a plain rasterio loop that opens, reads and compresses the same "
        f"files without any check. `whole`: the archive ({share}) planned and converted by `fetch` "
        "in a process of its own, two threads; its memory is the peak of that process, beside "
        "that of an archive a tenth as large (`tenth`)."
    )
    report = Report(
        "archives",
        "Archives: planning and converting",
        rows,
        text=text,
        not_measured=(
            "network disks and cold page cache",
            "HDF5, zip and tar archives",
            "20 m and 60 m bands (more files of fewer bytes)",
        ),
    )
    write_results(report, options)


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


def _measure(
    archive: Path, folder: Path, patches: int, runs: int, part: int, *, quick: bool
) -> list[Any]:
    manifest = manifest_of(archive)
    dataset = Dataset(folder / "data")
    roots = open_roots(manifest, dataset)
    begun, cpu = time.monotonic(), cpu_seconds()
    made = plan.make_plan(folder / "plan.parquet", manifest, roots, Silent())
    planned = Measurement(
        sum(made.shard_sizes().values()), cpu_seconds() - cpu, time.monotonic() - begun
    )
    plans = {"ours": [planned]}
    rows = compare("archives", "plan", plans, "patches_per_cpu_s", lambda m: m.per_cpu_s)
    rows += compare("archives", "plan", plans, "cpu_s", lambda m: m.cpu_s)
    versions = package_versions("numpy", "pyarrow", "rasterio", "blosc2")
    sample = _sample(made, 100 if quick else 500)
    subjects: dict[str, Callable[[], Measurement]] = {
        "ours": timed(lambda: _ours(sample, manifest, roots)),
        "rasterio-plain": timed(lambda: _plain(sample, archive)),
    }
    measured = interleaved(subjects, runs=runs)
    rows += compare(
        "archives",
        "convert",
        measured,
        "patches_per_cpu_s",
        lambda m: m.per_cpu_s,
        versions=versions,
    )
    small = folder / "tenth"
    if not small.exists():
        make_archive(small, patches // 20)
    whole = [_in_child(path, part) for path in (small, archive)]
    for case, one in zip(("tenth", "whole"), whole, strict=True):
        runs_of = {"ours": [one]}
        rows += compare("archives", case, runs_of, "patches_per_cpu_s", lambda m: m.per_cpu_s)
        rows += compare("archives", case, runs_of, "patches_per_s", lambda m: m.per_s)
        rows += compare("archives", case, runs_of, "peak_mb", lambda m: m.values["peak_mb"])
    return rows


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


def _in_child(archive: Path, part: int) -> Measurement:
    """Convert an archive in a process of its own, so that its peak of memory is its own."""
    command = [sys.executable, __file__, "--child", str(archive), "--part", str(part)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    amount, cpu, wall, peak = (float(part) for part in done.stdout.split()[-4:])
    return Measurement(amount, cpu, wall, {"peak_mb": peak})


def _convert(archive: Path, part: int) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        root, manifest = Path(scratch) / "data", manifest_of(archive)
        begun = time.monotonic()
        fetch(manifest, root, FetchOptions(plan_only=True), Silent())
        options = FetchOptions(workers=2, part=(1, part) if part > 1 else None)
        summary = fetch(manifest, root, options, Silent())
        wall = time.monotonic() - begun
    print(summary.patches, cpu_seconds(), wall, peak_mb())


if __name__ == "__main__":
    main()
