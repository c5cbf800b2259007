"""Memory of an epoch with ten times more samples: private memory must not follow the data set.

    python -m benchmarks.loader_memory

Two data sets of real 60 m planes (two bands, so that 20,000 samples are made in a minute; what
could grow with the number of samples are its columns and offsets, not the pixels). Mapped file
pages are the page cache's and go when memory is short, so two figures are told: private memory
(RssAnon), which is what a machine must have, and all resident memory (VmRSS), mapped pages too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np

from baselines.loader import Loader, open_split
from baselines.reading import Reading
from baselines.sampling import Order, Position
from benchmarks.made_dataset import write_split
from benchmarks.real_patches import s2_patches, shared_data
from benchmarks.recording import (
    Measurement,
    Report,
    Subject,
    benchmark_parser,
    common_options,
    compare,
    interleaved,
    package_versions,
    write_results,
)
from landmark.schema import s2_layout

_BANDS = ("B01", "B09")
_TEXT = """
One shuffled epoch in steps of 64 after opening the split, two decoding threads, in a process of
its own each time: largest memory seen at any step, MB of 10^6 bytes. `larger` holds ten times the
samples of `smaller`. `peak_mb` is private memory (RssAnon). `peak_resident_mb` is all resident
memory (VmRSS): it also counts the pages of mapped shards that were read, which the system takes
back when memory is short; it grows with the data set up to the memory there is.
"""


def main() -> None:
    """Run and write the results, or (`--epoch DIR`) be the measured process."""
    parser = benchmark_parser(__doc__, runs=3)
    parser.add_argument("--epoch", type=Path, help="measure one epoch of this data set and stop")
    parsed = parser.parse_args()
    if parsed.epoch is not None:
        print(json.dumps(_epoch(parsed.epoch)))
        return
    options = common_options(parsed)
    count = 200 if options.quick else 2000
    patches = [[planes[0], planes[9]] for planes in s2_patches(shared_data())]
    with tempfile.TemporaryDirectory(prefix="landmark-memory-") as folder:
        subjects = {}
        for name, samples in (("larger", 10 * count), ("smaller", count)):
            root = Path(folder) / name
            write_split(root, s2_layout(_BANDS), cycle(patches), samples)
            subjects[name] = _measured(root)
        measured = interleaved(subjects, runs=options.runs, warm_up=0)
    rows = [
        row
        for metric in ("peak_mb", "peak_resident_mb")
        for row in compare(
            "memory",
            "loader",
            measured,
            metric,
            _figure(metric),
            subject="larger",
            versions=package_versions("numpy", "pyarrow", "blosc2"),
        )
    ]
    text = f"{_TEXT.strip()}\n\n`smaller`: {count:,} samples; `larger`: {10 * count:,}."
    not_measured = ("reading processes", "all twelve bands", "more than 20,000 samples")
    report = Report("loader_memory", "Memory of the loader", rows, text, "", not_measured)
    write_results(report, options)


def _figure(metric: str) -> Callable[[Measurement], float]:
    return lambda measurement: measurement.values[metric]


def _measured(root: Path) -> Subject:
    def run() -> Measurement:
        command = [sys.executable, "-m", "benchmarks.loader_memory", "--epoch", str(root)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        return Measurement(**json.loads(answer.stdout))

    return run


def _epoch(root: Path) -> dict[str, object]:
    split = open_split(root, "s2", "train")
    assert split is not None
    order = Order({"s2": len(split)}, 64, 0)
    rows = {"s2": np.arange(len(split))}
    private, resident, count = _status_mb("RssAnon"), _status_mb("VmRSS"), 0
    with Loader({"s2": split}, rows, order, Reading(workers=2, reuse=True)) as loader:
        for step in loader.steps(Position(0, 0, 0)):
            count += len(step.batches["s2"].images)
            private = max(private, _status_mb("RssAnon"))
            resident = max(resident, _status_mb("VmRSS"))
    # Times are not what is measured: one second each keeps the form.
    values = {"peak_mb": private, "peak_resident_mb": resident}
    return {"amount": count, "cpu_s": 1.0, "wall_s": 1.0, "values": values}


def _status_mb(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise SystemExit(f"this benchmark needs /proc/self/status with {field} (Linux)")
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
