"""Splits, queries and audit of an index of a million patches: time and memory.

Each step runs in a process of its own, as `landmark harmonize` and `landmark check` would run it
on a corpus of that size, so that its peak of memory is its own. The index is synthetic: places,
scenes, events and labels are drawn; no image is read. There is no peer: no other tool known to us
splits such a corpus by connected groups with a buffer.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from numpy.typing import NDArray

from benchmarks import recording
from harmonize.audit import Limits, audit
from harmonize.gathering import GATHERED_SCHEMA, SourceCounts
from harmonize.indexing import build_index, index_bytes
from harmonize.publishing import Publication
from harmonize.relevance import count_lines
from harmonize.statistics import gallery_of, relevant_counts
from harmonize.ties import KINDS
from landmark.manifest import Manifest
from landmark.taxonomy import ALL_MASK

NAME = "splits"
CELLS = 10
#: Blocks of 12 km in a row that share their scenes.
BLOCKS = 5
#: Patches per area: both sensors, two dates, 5 blocks of 10 x 10 cells.
PER_AREA = 2 * 2 * BLOCKS * CELLS * CELLS
STEPS = ("split", "queries", "audit")
MANIFEST = Manifest.model_validate(
    {"name": "million", "seed": 1, "catalog": {"kind": "sandbox"}, "s1": {}, "s2": {}}
)


def synthetic(areas: int) -> pa.Table:
    """Return `areas` x 2000 patches as `harmonize.gathering` would: areas far from each other."""
    parts = [_area(number) for number in range(areas)]
    return pa.concat_tables(parts).combine_chunks()


def _area(number: int) -> pa.Table:
    rng = np.random.default_rng(number)
    zone, place = 1 + number % 60, number // 60
    epsg = 32600 + zone
    # 60 zones, rows of areas 72 km apart from the equator on.
    columns = 400 + np.arange(BLOCKS * CELLS)
    rows = 60 * (1 + place) + np.arange(CELLS)
    x, y = (a.ravel() for a in np.meshgrid(columns, rows))
    project = pyproj.Transformer.from_crs(epsg, "OGC:CRS84", always_xy=True)
    lon, lat = project.transform((x + 0.5) * 1200.0, (y + 0.5) * 1200.0)
    rate = rng.beta(0.4, 1.6, 12)
    cells = x.size
    tables = []
    for sensor in ("s1", "s2"):
        for date in range(2):
            masks = (rng.random((cells, 12)) < rate) @ (1 << np.arange(12))
            tables.append(_acquisition(number, sensor, date, (epsg, x, y, lon, lat), masks))
    return pa.concat_tables(tables)


def _acquisition(
    number: int,
    sensor: str,
    date: int,
    ground: tuple[int, NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]],
    masks: NDArray[np.int64],
) -> pa.Table:
    epsg, x, y, lon, lat = ground
    cells = x.size
    name = f"{sensor}-{number:05d}-{date}"
    time = dt.datetime(2020 + date, 5, 1, tzinfo=dt.UTC) + dt.timedelta(days=3 * (number % 100))
    other = {"s1": "s2", "s2": "s1"}[sensor]

    def ids(which: str) -> list[str]:
        return [
            f"{epsg}_{c:04d}_{r:04d}_{which}_S{which[1]}A_{time:%Y%m%dT%H%M%S}"
            for c, r in zip(x.tolist(), y.tolist(), strict=True)
        ]

    events = [f"flood:E{number}"] if number % 5 == 0 and date else []
    columns: dict[str, Any] = {
        "patch_id": ids(sensor),
        "sensor": [sensor] * cells,
        "patch_file": [f"patches/{sensor}-{number:05d}.parquet"] * cells,
        "patch_row": np.arange(cells, dtype=np.int32) + date * cells,
        "label_mask": masks.astype(np.uint16),
        "known_mask": np.full(cells, ALL_MASK, dtype=np.uint16),
        "caption": ["water. trees. crops"] * cells,
        "caption_long": ["A Sentinel scene with water, trees and crops in spring."] * cells,
        "datetime": [time] * cells,
        "lon": lon,
        "lat": lat,
        "epsg": np.full(cells, epsg, dtype=np.int32),
        "x_min": x * 1200.0,
        "y_max": (y + 1) * 1200.0,
        "pair_id": ids(other),
        "partner_id": ids(other),
        "scene": [name] * cells,
        "datatake": [f"pass-{name}"] * cells,
        "event_ids": [events] * cells,
        "licences": [["CC-BY-4.0", "CC0-1.0"]] * cells,
        "attributions": [["Contains modified Copernicus Sentinel data."]] * cells,
    }
    return pa.table(
        {field.name: pa.array(columns[field.name], field.type) for field in GATHERED_SCHEMA},
        schema=GATHERED_SCHEMA,
    )


def run_step(step: str, folder: Path) -> dict[str, Any]:
    """Do one step on the files in a folder; return its figures."""
    gathered = folder / "gathered.parquet"
    index_file = folder / "index.parquet"
    if step == "make":
        pq.write_table(synthetic(int((folder / "areas").read_text())), gathered)
        return {}

    def work() -> tuple[float, dict[str, float]]:
        if step == "split":
            table = pq.read_table(gathered).combine_chunks()
            index = build_index(table, MANIFEST)
            index_file.write_bytes(index_bytes(index.table))
            if set(index.kept_whole) != set(KINDS):
                raise RuntimeError(f"not all kinds of ties were kept whole: {index.warnings}")
            return index.table.num_rows, {}
        table = pq.read_table(index_file)
        if step == "queries":
            made = Publication(MANIFEST, SourceCounts({}, {}, ()), table, ())
            relevant_counts(made.queries, table)
            lines = count_lines(made.queries, gallery_of(table))
            return len(made.queries), {"qrels_lines": float(lines)}
        split = np.array(table["split"].to_pylist(), dtype=np.str_)
        # Labels are drawn per area, so a split of few areas may drift: that is no leak.
        result = audit(table, split, Limits(label_drift=1.0))
        if not result.ok:
            raise RuntimeError(json.dumps(result.to_dict(), indent=1))
        return table.num_rows, {}

    one = recording.timed(work)()
    return {
        "amount": one.amount,
        "cpu_s": one.cpu_s,
        "wall_s": one.wall_s,
        "peak_mb": recording.peak_mb(),
        **one.values,
    }


def _figure(metric: str, one: recording.Measurement) -> float:
    return one.values[metric] if metric == "peak_mb" else float(getattr(one, metric))


def _child(step: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        # As a module: beside the script, benchmarks/harmonize.py would hide the package.
        [sys.executable, "-m", "benchmarks.splits", "--step", step, "--folder", str(folder)],
        cwd=Path(__file__).parents[1],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = recording.benchmark_parser(__doc__, runs=3)
    parser.add_argument("--step", choices=("make", *STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.step:
        print(json.dumps(run_step(parsed.step, parsed.folder)))
        return
    options = recording.common_options(parsed)
    areas = 10 if options.quick else 500
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "areas").write_text(str(areas))
        _child("make", folder)
        measured: dict[str, list[dict[str, Any]]] = {step: [] for step in STEPS}
        for _ in range(options.runs):
            for step in STEPS:
                measured[step].append(_child(step, folder))
                print(step, measured[step][-1], file=sys.stderr, flush=True)
    rows = []
    versions = recording.package_versions("numpy", "pyarrow", "scipy", "shapely")
    for step, figures in measured.items():
        runs = {
            "ours": [
                recording.Measurement(
                    f["amount"], f["cpu_s"], f["wall_s"], {"peak_mb": f["peak_mb"]}
                )
                for f in figures
            ]
        }
        for metric in ("cpu_s", "wall_s", "peak_mb"):
            rows += recording.compare(
                NAME,
                f"{step}-{areas * PER_AREA}",
                runs,
                metric,
                partial(_figure, metric),
                versions=versions,
            )
    lines = int(measured["queries"][0]["qrels_lines"])
    recording.write_results(
        recording.Report(
            NAME,
            f"Splits, queries and audit of {areas * PER_AREA:,} patches",
            rows,
            text=(
                f"A synthetic index of {areas} areas, each of {BLOCKS} blocks of 12 km that share "
                "two scenes per sensor (two dates), every fifth with an event: "
                f"{areas * PER_AREA:,} patches. `split` is reading the small columns, groups, "
                "dealing, buffer, shard order and the bytes of index.parquet; `queries` is making "
                "the queries, their counts per sensor and counting the lines of qrels; `audit` is "
                "all of `landmark check`, with every kind of tie. One process per step."
            ),
            findings=(
                f"Both qrels files would hold {lines:,} lines, so they are "
                f"{'left out' if lines >= 5_000_000 else 'written'} unless asked for. "
                "The target is under 2 GB per step."
            ),
            not_measured=(
                "reading the label columns of real patch shards and making captions",
                "the published random style, whose audit finds close pairs everywhere",
            ),
        ),
        options,
    )


if __name__ == "__main__":
    main()
