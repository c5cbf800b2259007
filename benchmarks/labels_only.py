"""Labels of a large corpus without its images: time, peak memory, and how both grow.

    python -m benchmarks.labels_only [--quick] [--sizes N ...]

A synthetic corpus: Sentinel-2 patches of one date on a square of lattice cells, images of one byte
(labelling never opens them), a CORINE-like raster of 100 m in EPSG:3035, a flood and a fire with
analysed areas. Each size runs in processes of its own, one worker: first the labels files
(`label_patches` over all shards), then the rest of `landmark harmonize --labels-only` (captions,
splits, queries, index). There is no peer.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import rasterio
import shapely
from rasterio.transform import Affine

from benchmarks.harmonize import extent, parcels
from benchmarks.recording import (
    Measurement,
    Report,
    Row,
    benchmark_parser,
    common_options,
    compare,
    cpu_seconds,
    package_versions,
    peak_mb,
    write_results,
)
from landmark.dataset import Dataset
from landmark.grid import Frame, utm_frame
from landmark.manifest import Manifest
from landmark.manifest_file import dump_manifest, load_manifest
from landmark.progress import Silent
from landmark.schema import patch_schema, s2_layout
from landmark.shards import commit_shard
from landmark.sources import open_roots

ZONE, ROWS = 32632, 512
TIME = dt.datetime(2018, 7, 4, 10, 10, 31, tzinfo=dt.UTC)
STEPS = ("labels", "index")


def main() -> None:
    parser = benchmark_parser(__doc__, runs=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=None, help="patches of each run")
    parser.add_argument("--step", choices=("make", *STEPS), help=argparse_hidden())
    parser.add_argument("--root", type=Path, help=argparse_hidden())
    parsed = parser.parse_args()
    if parsed.step == "make":
        make_corpus(parsed.root.parent, parsed.sizes[0])
        return
    if parsed.step:
        print(json.dumps(run_step(parsed.step, parsed.root)))
        return
    options = common_options(parsed)
    sizes = parsed.sizes or ([2_000, 4_000] if options.quick else [10_000, 100_000, 1_000_000])
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "data"
            # In a process of its own: a child's peak starts with its parent's size at the fork.
            run_child("--step", "make", "--root", str(root), "--sizes", str(size))
            for step in STEPS:
                measured = {"ours": [measure(step, root, size)]}
                for metric in ("patches_per_cpu_s", "cpu_s", "wall_s", "peak_mb"):
                    rows += compare(
                        "labels_only",
                        f"{step}-{size}",
                        measured,
                        metric,
                        partial(value_of, metric),
                        versions=package_versions("numba", "pyarrow", "rasterio", "shapely"),
                    )
    report = Report(
        "labels_only",
        "Labels of a corpus without its images",
        rows,
        text=__doc__.split("\n\n")[2] + "\n\n" + curve(rows, sizes),
        not_measured=(
            "several workers",
            "10 m rasters, catalogs and cloud masks",
            "corpora with more than two events",
        ),
    )
    write_results(report, options)


def curve(rows: list[Row], sizes: list[int]) -> str:
    """Return how cost and memory grow from size to size, as a table."""
    values = {(row.case, row.metric): row.ours_median for row in rows}
    lines = [
        "| patches | labels, ms of CPU a patch | labels, peak MB | index, ms of CPU a patch | "
        "index, peak MB |",
        "|---:|---:|---:|---:|---:|",
    ]
    for size in sizes:
        cells = [f"{size:,}"]
        for step in STEPS:
            case = f"{step}-{size}"
            cells.append(f"{1000 * values[case, 'cpu_s'] / size:.2f}")
            cells.append(f"{values[case, 'peak_mb']:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def argparse_hidden() -> str:
    """Return the mark of options for this script's own child processes."""
    import argparse

    return argparse.SUPPRESS


def value_of(metric: str, measured: Measurement) -> float:
    """Return a figure of a run by its name."""
    if metric == "patches_per_cpu_s":
        return measured.per_cpu_s
    return {"cpu_s": measured.cpu_s, "wall_s": measured.wall_s, **measured.values}[metric]


def measure(step: str, root: Path, size: int) -> Measurement:
    """Run one step in a process of its own."""
    told = json.loads(run_child("--step", step, "--root", str(root)).splitlines()[-1])
    print(f"{step} of {size:,}: {told}", file=sys.stderr, flush=True)
    return Measurement(size, told["cpu_s"], told["wall_s"], {"peak_mb": told["peak_mb"]})


def run_child(*arguments: str) -> str:
    """Run this benchmark for a part of the work; return what it prints."""
    command = [sys.executable, "-m", "benchmarks.labels_only", *arguments]
    # As a module from the project's folder: beside this script lies one named as a package of ours.
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return done.stdout


def run_step(step: str, root: Path) -> dict[str, float]:
    """Do the work of a child process."""
    import time

    from harmonize.labelling import label_shard, plan_labelling
    from harmonize.pipeline import harmonize

    started = time.perf_counter()
    if step == "labels":
        dataset = Dataset(root)
        manifest = load_manifest(str(dataset.manifest))
        for task in plan_labelling(dataset, manifest, open_roots(manifest, dataset)):
            label_shard(task)
    else:
        harmonize(root, labels_only=True, workers=1, progress=Silent())
    wall = time.perf_counter() - started
    return {"cpu_s": cpu_seconds(), "wall_s": wall, "peak_mb": peak_mb()}


def make_corpus(folder: Path, size: int) -> Path:
    """Write a fetched dataset of `size` patches and its label files; return its directory."""
    side = int(np.ceil(size**0.5))
    cells = [(150 + k % side, 3600 + k // side) for k in range(size)]
    frames = [utm_frame(ZONE, *cell) for cell in cells]
    corners = [frames[0], frames[side - 1], frames[-1]]
    files = folder / "files"
    files.mkdir()
    write_corine(files / "corine.tif", corners)
    for name, kind in (("flood", "flood"), ("fire", "fire")):
        write_event(files, name, kind, frames, side)
    (files / "catalog.json").write_text("{}")
    manifest = Manifest.model_validate(
        {
            "name": "large",
            "catalog": {"kind": "local", "href": str(files / "catalog.json")},
            "s2": {"bands": ["B02", "B03", "B04"]},
            "labels": [{"kind": "corine", "rasters": [str(files / "corine.tif")]}],
            "events": [
                {
                    "type": kind,
                    "file": str(files / f"{name}.geojson"),
                    "analysed": str(files / f"{name}_analysed.geojson"),
                }
                for name, kind in (("flood", "flood"), ("fire", "fire"))
            ],
            "shards": {"rows": ROWS},
        }
    )
    root = folder / "data"
    dataset = Dataset(root)
    dataset.patches.mkdir(parents=True)
    dataset.manifest.write_text(dump_manifest(manifest))
    write_patches(dataset, frames)
    return root


def write_patches(dataset: Dataset, frames: list[Frame]) -> None:
    """Write plan and patch shards."""
    layout = s2_layout(("B02", "B03", "B04"))
    schema = patch_schema(layout)
    to_degrees = pyproj.Transformer.from_crs(ZONE, "OGC:CRS84", always_xy=True)
    x, y = np.array([(frame.x_min + 600, frame.y_max - 600) for frame in frames]).T
    lon, lat = to_degrees.transform(x, y)
    names = [f"{frame.name}_s2_S2B_20180704T101031" for frame in frames]
    shards = [f"s2-{k // ROWS:05d}" for k in range(len(frames))]
    for start in range(0, len(frames), ROWS):
        part = slice(start, start + ROWS)
        n = len(names[part])
        points = shapely.to_wkb(shapely.points(lon[part], lat[part]))
        given = {
            "patch_id": names[part],
            "sensor": ["s2"] * n,
            "platform": ["S2B"] * n,
            "image": [b"0"] * n,
            "image_nbytes": [1] * n,
            "image_xxh3": [0] * n,
            "datetime": [TIME] * n,
            "lon": lon[part],
            "lat": lat[part],
            "epsg": [ZONE] * n,
            "transform": [list(frame.transform()) for frame in frames[part]],
            "geometry": points,
        }
        columns = [
            pa.array(given[f.name], f.type) if f.name in given else pa.nulls(n, f.type)
            for f in schema
        ]
        table = pa.Table.from_arrays(columns, schema=schema)
        commit_shard(dataset.patch_shard(shards[start]), table, f"shard {start}")
    plan = {"patch_id": names, "sensor": ["s2"] * len(names), "status": ["keep"] * len(names)}
    pq.write_table(pa.table({**plan, "lon": lon, "lat": lat, "shard": shards}), dataset.plan)


def write_corine(path: Path, corners: list[Frame]) -> None:
    """Write a CORINE-like raster around the corpus."""
    west, south, east, north = extent(corners, 3035, 150_000)
    west, north = west // 100 * 100, north // 100 * 100
    size = (int((north - south) / 100), int((east - west) / 100))
    with rasterio.open(
        path, "w", driver="GTiff", height=size[0], width=size[1], count=1, dtype="uint8",
        crs="EPSG:3035", transform=Affine(100, 0, west, 0, -100, north), nodata=255, tiled=True,
        compress="deflate",
    ) as dataset:  # fmt: skip
        dataset.write(parcels(size, 7, np.arange(1, 45)), 1)


def write_event(folder: Path, name: str, kind: str, frames: list[Frame], side: int) -> None:
    """Write an event over a sixteenth of the square, and an analysed area around it."""
    start = len(frames) // 3 if kind == "flood" else len(frames) // 2
    x, y = frames[start].x_min, frames[start].y_max
    edge = 1200.0 * max(2, side // 4)
    to_degrees = pyproj.Transformer.from_crs(ZONE, "OGC:CRS84", always_xy=True)
    for suffix, grow in (("", 0.0), ("_analysed", edge / 4)):
        box = shapely.segmentize(
            shapely.box(x - grow, y - edge - grow, x + edge + grow, y + grow), 5e3
        )
        area = shapely.transform(box, lambda xy: np.column_stack(to_degrees.transform(*xy.T)))
        days = {"id": name, "start": "2018-07-04", "end": "2018-07-04"}
        feature = {
            "type": "Feature",
            "properties": days,
            "geometry": shapely.geometry.mapping(area),
        }
        content = json.dumps({"type": "FeatureCollection", "features": [feature]})
        (folder / f"{name}{suffix}.geojson").write_text(content)


if __name__ == "__main__":
    main()
