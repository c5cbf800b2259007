"""Cutting all patches of a dense twelve-band COG scene on local disk, against the usual tools.

One thread on our side. Slow peers cut a part of the patches; figures are per patch. `equal` gives
(12, 120, 120) per patch as the peers do; `native` gives the bands' own 10, 20 and 60 m planes,
which is what landmark stores. Ours also finds nodata and counts valid pixels; the peers do not.

stackstac 0.5 does not run with pandas 3: `--stackstac-python` names an interpreter that has it with
pandas 2, rasterio, pystac and pyproj.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import scenes
from benchmarks.recording import (
    Measurement,
    Report,
    Subject,
    benchmark_parser,
    common_options,
    compare,
    interleaved,
    package_versions,
    timed,
    write_results,
)

VERSIONS = ("rasterio", "numpy", "imagecodecs", "odc-stac")


VERSIONS_ELSEWHERE: dict[str, str] = {}


def checked(
    cut: scenes.Cut, source: scenes.BenchScene, cells: list[tuple[int, int]], name: str
) -> Subject:
    """Return a timed subject; its first pixels are compared with rasterio's, outside the clock."""
    kept: dict[str, scenes.Patches] = {}

    def work() -> float:
        kept["patches"] = cut(source, cells)
        return len(cells)

    run = timed(work)

    def subject() -> Measurement:
        measured = run()
        sample = list(range(0, len(cells), max(1, len(cells) // 20)))
        wanted = scenes.reopened(source, [cells[index] for index in sample])
        scenes.assert_equal(kept.pop("patches")[sample], wanted, name)
        return measured

    return subject


def native(source: scenes.BenchScene, cells: list[tuple[int, int]]) -> Subject:
    """Return our native-plane subject, compared with rasterio's after upsampling."""

    def subject() -> Measurement:
        kept: list[Any] = []

        def work() -> float:
            kept.extend(scenes.ours(source, cells, native=True))
            return len(cells)

        measured = timed(work)()
        sample = list(range(0, len(cells), max(1, len(cells) // 20)))
        wanted = scenes.reopened(source, [cells[index] for index in sample])
        found = np.empty_like(wanted)
        for patch, index in zip(found, sample, strict=True):
            scenes.upsampled(kept[index].planes, patch)
        scenes.assert_equal(found, wanted, "ours, native")
        return measured

    return subject


def elsewhere(python: Path, source: scenes.BenchScene, cells: list[tuple[int, int]]) -> Subject:
    """Return stackstac as a subject, timed inside an interpreter of its own after its imports."""

    def subject() -> Measurement:
        script = Path(__file__).with_name("stackstac_peer.py")
        with tempfile.TemporaryDirectory() as folder:
            task = {"item": source.item.to_dict(), "cells": cells, "bands": list(scenes.S2_BANDS)}
            task["corner"] = [scenes.LEFT, scenes.TOP]
            (Path(folder) / "task.json").write_text(json.dumps(task))
            done = subprocess.run(
                [str(python), str(script), folder], check=True, capture_output=True, text=True
            )
            found = np.load(Path(folder) / "patches.npy")
        scenes.assert_equal(found, scenes.reopened(source, cells), "stackstac")
        measured = json.loads(done.stdout)
        VERSIONS_ELSEWHERE.update(measured["versions"])
        return Measurement(len(cells), measured["cpu_s"], measured["wall_s"])

    return subject


def main() -> None:
    parser = benchmark_parser(__doc__, runs=3)
    parser.add_argument("--stackstac-python", type=Path, help="interpreter with stackstac")
    parsed = parser.parse_args()
    options = common_options(parsed)
    side = 10 if options.quick else 34
    few = 10 if options.quick else 60
    with tempfile.TemporaryDirectory() as folder:
        source = scenes.write_scene(Path(folder), side)
        cells, part = scenes.all_cells(side), scenes.some_cells(side, few, 1)
        peers = {
            "naive": checked(scenes.reopened, source, part, "naive"),
            "odc-stac-per-patch": checked(scenes.odc_per_patch, source, part, "odc per patch"),
            "odc-stac-scene": checked(scenes.odc_scene, source, cells, "odc scene"),
        }
        if parsed.stackstac_python:
            peers["stackstac"] = elsewhere(parsed.stackstac_python, source, part)
        equal = partial(scenes.ours, native=False)
        measured = interleaved(
            {
                "equal": checked(equal, source, cells, "ours"),
                "native": native(source, cells),
                **peers,
            },
            runs=options.runs,
        )
    rows = []
    for case in ("equal", "native"):
        chosen = {"ours": measured[case], **{name: measured[name] for name in peers}}
        rows += compare(
            "fetch_disk", case, chosen, "patches_per_cpu_s", lambda one: one.per_cpu_s,
            versions=package_versions(*VERSIONS) | VERSIONS_ELSEWHERE,
        )  # fmt: skip
    write_results(
        Report(
            "fetch_disk",
            "Cutting patches from a scene on disk",
            rows,
            text=(
                f"A synthetic scene of {side * 120:,} px at 10 m, twelve bands at their native 10, "
                "20 and 60 m, COGs of 512 px blocks, deflate with predictor 2, in the page cache. "
                f"Ours and `odc-stac-scene` cut all {side * side:,} patches, the others {few} "
                "random ones. In every run, 20 patches of every subject are compared with a plain "
                "rasterio read, bit by bit."
            ),
            not_measured=(
                *(() if parsed.stackstac_python else ("stackstac (no interpreter was named)",)),
                "cold disks",
                "several threads",
                "Sentinel-1",
                "real scenes",
            ),
        ),
        options,
    )


if __name__ == "__main__":
    main()
