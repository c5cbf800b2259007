"""Cost of planning: CPU seconds and peak memory from 10 thousand to 2 million patches.

Each case plans a synthetic catalog from its items to the written `plan.parquet`, in a process of
its own. A sample of the rows is counted again by brute force.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import recording
from landmark import pixels, plan, sampling
from landmark.dataset import Dataset
from landmark.grid import SIZE_M
from landmark.manifest import (
    S2_BANDS,
    Area,
    Catalog,
    Manifest,
    PatchRules,
    Period,
    Sentinel1,
    Sentinel2,
)
from landmark.plan_summary import SUMMARY_COLUMNS, summarise
from landmark.progress import Silent
from landmark.scenes import SourceGrid
from landmark.sources import open_roots

#: Candidates per patch kept.
_SHARE = 1 / 6
#: Cells of one round of acquisitions below: counted once, to size the catalog.
_PATCHES_PER_ROUND = 8_616
_CHECKED = 400
_TILES = 4
_EPSG = 32632
_METRICS = (
    "cpu_s", "wall_s", "peak_mb", "patches", "candidates", "scenes", "plan_bytes", "checked",
)  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = recording.benchmark_parser(__doc__, runs=3)
    parser.add_argument("--case", type=int, default=None, help=argparse.SUPPRESS)
    return parser


def _grids(round_: int) -> dict[str, tuple[str, SourceGrid, shapely.Polygon]]:
    """Return one round of acquisitions: item id -> (sensor, raster, ground in its CRS)."""
    made = {}
    for number in range(_TILES):  # Sentinel-2 tiles, every other one cut by the swath's edge
        west = 399_960 + 99_960 * (number % 2)
        north = 5_100_000 - 99_960 * (number // 2)
        grid = SourceGrid(_EPSG, (10.0, 0.0, west, 0.0, -10.0, north), 10980, 10980)
        box = shapely.box(west, north - 109_800, west + 109_800, north)
        cut = [(0, 0), (70_000, 0), (45_000, -60_000), (30_000, -109_800), (0, -109_800)]
        swath = shapely.Polygon([(west + x, north + y) for x, y in cut])
        made[f"s2-{round_:04d}-{number}"] = ("s2", grid, box if number % 2 else swath)
    # A Sentinel-1 scene: 250 x 170 km, turned, in a raster of its own zone.
    west, north = 380_000, 5_120_000
    grid = SourceGrid(_EPSG, (10.0, 0.0, west, 0.0, -10.0, north), 29_000, 22_000)
    turned = [(20_000, -45_000), (265_000, -2_000), (285_000, -165_000), (40_000, -215_000)]
    ground = shapely.Polygon([(west + x, north + y) for x, y in turned])
    made[f"s1-{round_:04d}-0"] = ("s1", grid, ground)
    return made


def _item(name: str, sensor: str, ground: shapely.Polygon, moment: datetime) -> dict[str, Any]:
    outline = shapely.segmentize(ground, 5_000)
    lon, lat = sampling.to_degrees(_EPSG, shapely.get_coordinates(outline))
    outline = shapely.Polygon(np.column_stack([lon, lat]).round(6))
    keys = ("vv", "vh") if sensor == "s1" else (*S2_BANDS, "SCL")
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    more = {"s1:unit": "linear"} if sensor == "s1" else {"s2:processing_baseline": "05.09"}
    return {
        "type": "Feature",
        "id": name,
        "collection": "sentinel-1-rtc" if sensor == "s1" else "sentinel-2-l2a",
        "geometry": shapely.geometry.mapping(outline),
        "properties": {
            "datetime": stamp,
            "platform": "SENTINEL-1A" if sensor == "s1" else "Sentinel-2A",
            "s2:mgrs_tile": f"32T{name[-1]}",
            **more,
        },
        "assets": {key: {"href": f"https://example.invalid/{name}/{key}.tif"} for key in keys},
    }


def _write_catalog(folder: Path, patches: int) -> tuple[Path, dict[str, SourceGrid]]:
    rounds = max(1, round(patches / _PATCHES_PER_ROUND))
    path, grids = folder / "items.ndjson", {}
    with path.open("w") as stream:
        for round_ in range(rounds):
            moment = datetime(2023, 1, 1, 10, tzinfo=UTC) + timedelta(days=2 * round_)
            for name, (sensor, grid, ground) in _grids(round_).items():
                grids[name] = grid
                at = moment + timedelta(hours=7 if sensor == "s1" else 0)
                stream.write(json.dumps(_item(name, sensor, ground, at)) + "\n")
    return path, grids


def _manifest(path: Path) -> Manifest:
    return Manifest(
        name="plan-benchmark",
        catalog=Catalog(kind="local", href=str(path)),
        area=Area(bbox=(-10, 30, 30, 60)),
        time=Period.model_validate({"start": "2023-01-01", "end": "2025-12-31"}),
        s1=Sentinel1(),
        s2=Sentinel2(),
        patches=PatchRules(share=_SHARE),
    )


def _case(patches: int) -> dict[str, float]:
    """Plan one catalog in this process; return what it cost."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        path, grids = _write_catalog(folder, patches)
        names = lambda href: href.split("/")[-2]  # noqa: E731
        # Headers and dark pixels come from the catalog's maker: no file is opened here.
        pixels.read_header = lambda href, signer=None: grids[names(href)]  # type: ignore[assignment, misc]
        pixels.low_percentiles = lambda *_, **__: {"B02": 1050.0, "B08": 1060.0}
        manifest = _manifest(path)
        roots = open_roots(manifest, Dataset(folder / "dataset"))

        def work() -> tuple[float, dict[str, float]]:
            made = plan.make_plan(folder / "plan.parquet", manifest, roots, Silent())
            summary = summarise(made.groups(SUMMARY_COLUMNS))
            candidates = sum(sum(counts.values()) for counts in summary.statuses.values())
            return summary.patches, {"candidates": candidates, "scenes": summary.scenes}

        done = recording.timed(work)()
        peak = recording.peak_mb()
        written = (folder / "plan.parquet").stat().st_size
        checked = _check(plan.PlanFile(folder / "plan.parquet"), grids)
    return {
        "patches": done.amount, "cpu_s": done.cpu_s, "wall_s": done.wall_s, "peak_mb": peak,
        "plan_bytes": written, "checked": checked, **done.values,
    }  # fmt: skip


def _check(planned: plan.PlanFile, grids: dict[str, SourceGrid]) -> int:
    """Count cells of some scenes anew, one by one, and compare; return how many were compared."""
    generator = np.random.default_rng(7)
    compared = 0
    rows: dict[str, set[tuple[float, float]]] = {}
    chosen = generator.choice(sorted(grids), min(6, len(grids)), replace=False).tolist()
    for table in planned.groups(["item", "x_min", "y_max"]):
        for row in table.filter(pc.is_in(table["item"], pa.array(chosen))).to_pylist():
            rows.setdefault(row["item"], set()).add((row["x_min"], row["y_max"]))
    for name in sorted(chosen):
        _, grid, ground = _grids(int(name.split("-")[1]))[name]
        ground = ground.buffer(sampling.FOOTPRINT_TOLERANCE_M, join_style="mitre")
        west, north = grid.transform[2], grid.transform[5]
        raster = shapely.box(west, north - 10 * grid.height, west + 10 * grid.width, north)
        region = raster.intersection(ground)
        for _ in range(_CHECKED):
            column = math.floor((west + generator.uniform(0, 10 * grid.width)) / SIZE_M)
            row = math.floor((north - generator.uniform(0, 10 * grid.height)) / SIZE_M)
            frame = (column * SIZE_M, (row + 1) * SIZE_M)
            box = shapely.box(frame[0], frame[1] - SIZE_M, frame[0] + SIZE_M, frame[1])
            # Footprints are rounded to 1e-6 degrees and densified: a metre at the edge is open.
            if region.buffer(-1).covers(box) != region.buffer(1).covers(box):
                continue
            if region.covers(box) != (frame in rows[name]):
                raise SystemExit(f"{name}: cell {frame} is planned wrongly")
            compared += 1
    return compared


def _in_child(patches: int) -> recording.Measurement:
    command = [sys.executable, str(Path(__file__).resolve()), "--case", str(patches)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    return recording.Measurement(found["patches"], found["cpu_s"], found["wall_s"], found)


def _findings(measured: dict[str, list[recording.Measurement]]) -> str:
    def median(case: str, metric: str) -> float:
        return float(np.median([run.values[metric] for run in measured[case]]))

    told = [
        f"{case}: {median(case, 'cpu_s'):.1f} CPU-s, {median(case, 'peak_mb'):,.0f} MB"
        for case in measured
    ]
    small, large = list(measured)[-2:]
    more = median(large, "candidates") - median(small, "candidates")
    slope = (median(large, "peak_mb") - median(small, "peak_mb")) * 1e6 / more
    seconds = (median(large, "cpu_s") - median(small, "cpu_s")) * 1e6 / more
    return (
        f"{'; '.join(told)}. The target is 40 CPU-s and 1,500 MB for 1 million patches out of 6 "
        f"million candidates. From {small} to {large} each further candidate takes {slope:.0f} "
        f"bytes and {seconds:.1f} microseconds. Rows are made in full one row group at a time; "
        "what grows is the narrow columns of candidates, and what is known of kept patches."
    )


def main() -> None:
    """Run all cases by turns and write the results."""
    parsed = _parser().parse_args()
    if parsed.case is not None:
        print(json.dumps(_case(parsed.case)))
        return
    options = recording.common_options(parsed)
    sizes = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000, "2M": 2_000_000}
    if options.quick:
        sizes = {"10k": 10_000, "100k": 100_000}
    subjects = {name: (lambda n=n: _in_child(n)) for name, n in sizes.items()}
    measured = recording.interleaved(subjects, runs=options.runs, warm_up=0)
    rows = []
    for name, runs in measured.items():
        for metric in _METRICS:
            values = [run.values[metric] for run in runs]
            rows.append(
                recording.Row(
                    benchmark="plan", case=name, subject="ours", peer=None, metric=metric,
                    ours_median=float(np.median(values)), peer_median=None, ratio_median=None,
                    ratio_min=None, ratio_max=None, runs=len(values),
                    date=datetime.now(UTC).date().isoformat(),
                    versions=recording.package_versions("numpy", "pyarrow", "shapely", "pyproj"),
                    machine=recording.machine(),
                )
            )  # fmt: skip
    report = recording.Report(
        "plan",
        "Planning: seconds and memory by size",
        rows,
        text=(
            "A synthetic catalog (Sentinel-2 tiles, half of them cut by the swath's edge, and "
            "turned 250 km Sentinel-1 scenes) is planned from its items to the written plan, one "
            "patch in six candidates kept by a hash of its cell, pairs found within 72 hours. "
            "Each run is a process of its own. `checked` cells of six scenes were counted anew, "
            "one by one, and agree."
        ),
        findings=_findings(measured),
        not_measured=("reading headers and dark pixels (no file is opened)", "searching an API"),
    )
    recording.write_results(report, options)


if __name__ == "__main__":
    main()
