"""Cutting patches from COGs behind HTTP, with and without latency, against the usual tools.

The server is a process of its own on loopback that waits 50 ms (or 0) before each response and
counts requests and bytes. Slow peers cut a part of a dense scene; figures are per patch.
"""

from __future__ import annotations

import sys
import tempfile
import uuid
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import scenes
from benchmarks.range_server import RangeServer, running
from benchmarks.recording import (
    Measurement,
    Report,
    Row,
    Subject,
    compare,
    interleaved,
    package_versions,
    parse_options,
    timed,
    write_results,
)
from landmark.cog.blocks import needed_blocks
from landmark.cog.files import DiskFile
from landmark.cog.images import read_image

VERSIONS = ("rasterio", "numpy", "imagecodecs", "urllib3", "odc-stac")
Cells = list[tuple[int, int]]


def subject(
    cut: scenes.Cut,
    local: scenes.BenchScene,
    server: RangeServer,
    cells: Cells,
    name: str,
) -> Subject:
    """Return a timed subject with the server's counts; its pixels are checked off the clock."""
    # GDAL keeps what it read of a URL; a folder name that no run used before makes all start even.
    kept: dict[str, scenes.Patches] = {}

    def work() -> tuple[float, dict[str, float]]:
        server.reset()
        source = scenes.BenchScene(f"{server.url}/{uuid.uuid4().hex}", local.side)
        kept["patches"] = cut(source, cells)
        counts = server.reset()
        return len(cells), {key: float(value) for key, value in counts.items()}

    run = timed(work)

    def measure() -> Measurement:
        measured = run()
        sample = list(range(0, len(cells), max(1, len(cells) // 20)))
        wanted = scenes.reopened(local, [cells[index] for index in sample])
        scenes.assert_equal(kept.pop("patches")[sample], wanted, name)
        return measured

    return measure


def needed(local: scenes.BenchScene, cells: Cells) -> tuple[int, int]:
    """Return how many blocks some cells need, and their bytes."""
    blocks = size = 0
    for band in scenes.S2_BANDS:
        side = 1200 // scenes.S2_RESOLUTION[band]
        with DiskFile(local.href(band)) as file:
            image = read_image(file.head).blocks
        corners = [(row * side, column * side) for column, row in cells]
        found = list(needed_blocks(image.grid, corners, side))
        blocks += len(found)
        size += int(image.counts[found].sum())
    return blocks, size


def main() -> None:
    options = parse_options(__doc__, runs=2)
    side = 10 if options.quick else 20
    rows: list[Row] = []
    subjects = (scenes.kept_open, scenes.big_windows, scenes.odc_scene)
    with tempfile.TemporaryDirectory() as folder:
        local = scenes.write_scene(Path(folder), side)
        # Imports and compilation, off the clock; caches are empty for every URL in any case.
        scenes.ours(local, [(0, 0)], native=False)
        for warm_up in subjects:
            warm_up(local, [(0, 0)])
        for latency in (0.05, 0.0):
            with running(Path(folder), latency) as server:
                for case in ("dense", "100", "10"):
                    if options.quick and case == "100":
                        continue
                    rows += run_case(local, server, case, latency, options.runs, options.quick)
    write_results(
        Report(
            "fetch_http",
            "Cutting patches over HTTP",
            rows,
            text=(
                f"A synthetic scene like that of `fetch_disk`, {side * 120:,} px, twelve bands, "
                f"512 px blocks, {side * side} patches, behind a loopback server that waits 50 ms "
                "before every response; cases in `-0ms` have no latency. `dense` is all patches "
                "in a plan's order, `100` and `10` are random ones; `rasterio-serial-reopened` "
                "cuts 8 or 16 of them (figures are per patch). Every subject starts with empty "
                "caches. Patches come out as (12, 120, 120); 20 of every run are compared with a "
                "plain rasterio read. `requests_per_block` divides all requests, headers "
                "included, by the blocks needed; `bytes` compares the bytes sent with those of "
                "the blocks needed."
            ),
            not_measured=("real networks and object stores", "TLS", "other latencies"),
        ),
        options,
    )


def run_case(
    local: scenes.BenchScene,
    server: RangeServer,
    case: str,
    latency: float,
    runs: int,
    quick: bool,
) -> list[Row]:
    """Measure one case; return its rows."""
    dense = case == "dense"
    cells = scenes.all_cells(local.side) if dense else scenes.some_cells(local.side, int(case), 7)
    # As dense as all of them, but fewer: whole superblocks, from the upper left.
    serial = cells[:64] if dense and quick else cells
    reopened = cells[:8] if latency else cells[:16]
    subjects: dict[str, tuple[scenes.Cut, Cells]] = {
        "ours": (partial(scenes.ours, native=False), cells),
        "rasterio-serial-kept": (scenes.kept_open, serial),
        "rasterio-serial-reopened": (scenes.reopened, reopened),
        "gdal-big-windows": (scenes.big_windows, cells),
        "odc-stac": (scenes.odc_scene, cells),
    }
    measured = interleaved(
        {
            name: subject(cut, local, server, chosen, name)
            for name, (cut, chosen) in subjects.items()
        },
        runs=runs,
        warm_up=0,
    )
    name = case if latency else f"{case}-0ms"
    versions = package_versions(*VERSIONS)
    rows = []
    for metric, value in (
        ("patches_per_s", lambda one: one.per_s),
        ("patches_per_cpu_s", lambda one: one.per_cpu_s),
    ):
        rows += compare("fetch_http", name, measured, metric, value, versions=versions)
    if not latency:
        return rows  # requests and bytes do not depend on it
    blocks, size = needed(local, cells)
    for peer in ("ours", "gdal-big-windows", "odc-stac"):
        only = {peer: measured[peer]}
        rows += compare(
            "fetch_http", name, only, "requests_per_block",
            lambda one: one.values["requests"] / blocks, subject=peer, versions=versions,
        )  # fmt: skip
        ideal = Measurement(1, 1, 1, {"bytes": size})
        against = {peer: measured[peer], "needed": [ideal] * len(measured[peer])}
        rows += compare(
            "fetch_http", name, against, "bytes", lambda one: one.values["bytes"],
            subject=peer, versions=versions,
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
