"""Peak memory of `landmark fetch` on whole Sentinel-2 tiles: 10,980 x 10,980 px, twelve bands.

Runs the command itself on a local catalog of two scenes of one tile (the same files under two
dates), for 1,000 patches, for all of one scene, and for 10,000 patches of both: memory must not
grow with the number of patches. `--workers 1` is one shard at a time: what one worker needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.warp
import yaml
from affine import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import scenes  # noqa: E402
from benchmarks.recording import (  # noqa: E402
    Measurement,
    Report,
    Row,
    compare,
    package_versions,
    parse_options,
    write_results,
)

EXTENT_M, LEFT, TOP = 109_800, 600_000, 5_100_000
PATTERN = 1024
DAYS = ("04", "14")


def write_tile(folder: Path, extent: int) -> None:
    """Write twelve COGs of a tile and a catalog of two scenes of it (synthetic pixels)."""
    folder.mkdir(parents=True)
    assets = {}
    for number, band in enumerate(scenes.S2_BANDS):
        size = scenes.S2_RESOLUTION[band]
        side = extent // size
        pattern = np.random.default_rng(number).integers(200, 3000, (PATTERN, PATTERN), np.uint16)
        repeats = -(-side // PATTERN)
        pixels = np.tile(pattern, (repeats, repeats))[:side, :side]
        profile = {
            "driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint16",
            "crs": CRS.from_epsg(32632), "nodata": 0,
            "transform": Affine(size, 0, LEFT, 0, -size, TOP),
        }  # fmt: skip
        with MemoryFile() as memory:
            with memory.open(**profile) as plain:
                plain.write(pixels, 1)
            with memory.open() as plain:
                rasterio.shutil.copy(
                    plain, folder / f"{band}.tif", driver="COG", compress="deflate", level=1,
                    predictor="YES", blocksize=512, overview_resampling="nearest",
                )  # fmt: skip
        assets[band] = {"href": f"./{band}.tif"}
    west, south, east, north = rasterio.warp.transform_bounds(
        32632, 4326, LEFT, TOP - extent, LEFT + extent, TOP
    )
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    items = [
        {
            "type": "Feature", "stac_version": "1.0.0", "id": f"tile-{day}",
            "collection": "sentinel-2-l2a",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [west, south, east, north],
            "properties": {
                "datetime": f"2023-07-{day}T10:10:31Z", "platform": "Sentinel-2A",
                "s2:processing_baseline": "02.14", "proj:epsg": 32632,
            },
            "links": [], "assets": assets,
        }
        for day in DAYS
    ]  # fmt: skip
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))


def fetch(manifest: Path, root: Path, limit: int | None) -> tuple[Measurement, int]:
    """Run the command; return its cost and the patches it wrote."""
    command = [
        sys.executable, "-m", "cli.main", "fetch", str(manifest), "--out", str(root),
        "--workers", "1", "--json", "--quiet",
    ]  # fmt: skip
    if limit is not None:
        command += ["--limit", str(limit)]
    answer = root.with_suffix(".json")
    started = time.perf_counter()
    with answer.open("w") as out:
        pid = os.posix_spawn(
            sys.executable, command, os.environ | {"PYTHONPATH": str(ROOT)},
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)],
        )  # fmt: skip
        _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"fetch failed: {status}")
    patches = json.loads(answer.read_text())["patches"]
    cpu = usage.ru_utime + usage.ru_stime
    peak = usage.ru_maxrss * 1024 / 1e6
    wall = time.perf_counter() - started
    return Measurement(patches, cpu, wall, {"peak_mb": peak}), patches


def cases(*, quick: bool) -> list[tuple[str, int, int | None]]:
    """Return name, scenes and most patches of each run."""
    part, whole = (100, 500) if quick else (1000, 10_000)
    return [("fetch-part", 1, part), ("fetch-scene", 1, None), ("fetch-many", len(DAYS), whole)]


def write_manifest(folder: Path, name: str, days: int) -> Path:
    """Write the manifest of the first scenes of the tile."""
    document = {
        "name": name,
        "catalog": {"kind": "local", "href": str(folder / "tile" / "items.json")},
        "time": {"start": "2023-07-01", "end": f"2023-07-{DAYS[days - 1]}"},
        "s2": {"collections": ["sentinel-2-l2a"]},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def main() -> None:
    options = parse_options(__doc__, runs=1)
    extent = 24_000 if options.quick else EXTENT_M
    rows: list[Row] = []
    told = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: a child's peak starts with its parent's size at the fork.
        subprocess.run(
            [sys.executable, __file__, "--write", str(folder / "tile"), str(extent)], check=True
        )
        for case, days, limit in cases(quick=options.quick):
            manifest = write_manifest(folder, case, days)
            runs = [fetch(manifest, folder / f"{case}-{run}", limit) for run in range(options.runs)]
            told.append(f"{case}: {runs[0][1]:,} patches of {days} scene{'s' * (days > 1)}")
            for metric, value in (
                ("peak_mb", lambda one: one.values["peak_mb"]),
                ("patches_per_cpu_s", lambda one: one.per_cpu_s),
            ):
                rows += compare(
                    "memory", case, {"fetch": [one for one, _ in runs]}, metric, value,
                    subject="fetch", versions=package_versions("numpy", "rasterio", "imagecodecs"),
                )  # fmt: skip
    write_results(
        Report(
            "memory_fetch",
            "Memory of fetch",
            rows,
            text=(
                f"`landmark fetch` of a synthetic tile of {extent // 10:,} x {extent // 10:,} px, "
                "twelve bands at native size, from local COGs, whole command (planning, reading, "
                f"encoding, writing), one worker. {'; '.join(told)}. Peak resident size of the "
                "process."
            ),
            not_measured=("several workers in one process: their shards add up", "Sentinel-1"),
        ),
        options,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_tile(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
