"""Memory of an epoch with up to thirty times the samples: it must not follow the data set.

    python -m benchmarks.loader_memory

Three data sets of real 60 m planes (two bands, so that 60,000 samples are made in a minute; what
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
    Row,
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
samples of `smaller`, `largest` thirty times. `peak_mb` is private memory (RssAnon);
`bytes_per_sample` how much more of it a sample more takes, from `smaller` to `largest`, lasting and
passing memory together. `peak_resident_mb` is all resident
memory (VmRSS): it also counts the pages of mapped shards that were read, which the system takes
back when memory is short; it grows with the data set up to the memory there is.
"""
_FINDINGS = """
What a sample holds: 20 bytes of place, length and checksum, 8 of masks and caption number, 8 of the
caller's row numbers, 4 a kept permutation (at most four), and 16 in passing while one is drawn.
The rest is what allocators keep. One of the first two runs with 60,000 samples peaked at 171 MB
instead of 153: not explained, and not seen again in eleven more.
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
    smaller = 200 if options.quick else 2000
    counts = {"largest": 30 * smaller, "larger": 10 * smaller, "smaller": smaller}
    patches = [[planes[0], planes[9]] for planes in s2_patches(shared_data())]
    with tempfile.TemporaryDirectory(prefix="landmark-memory-") as folder:
        subjects = {}
        for name, samples in counts.items():
            root = Path(folder) / name
            write_split(root, s2_layout(_BANDS), cycle(patches), samples)
            subjects[name] = _measured(root)
        measured = interleaved(subjects, runs=options.runs, warm_up=0)
    told = ", ".join(f"`{name}`: {count:,}" for name, count in reversed(counts.items()))
    not_measured = (
        "reading processes",
        "all twelve bands",
        f"more than {counts['largest']:,} samples",
    )
    report = Report(
        "loader_memory",
        "Memory of the loader",
        _rows(measured),
        f"{_TEXT.strip()}\n\nSamples: {told}.",
        _FINDINGS,
        not_measured,
    )
    write_results(report, options)


def _rows(measured: Mapping[str, Sequence[Measurement]]) -> list[Row]:
    versions = package_versions("numpy", "pyarrow", "blosc2")
    rows = []
    for metric in ("peak_mb", "peak_resident_mb"):
        for subject in ("larger", "largest"):
            pair = {name: measured[name] for name in (subject, "smaller")}
            figure = _figure(metric)
            rows += compare(
                "memory", "loader", pair, metric, figure, subject=subject, versions=versions
            )
    slope = [
        replace(more, values={"bytes_per_sample": _slope(more, less)})
        for more, less in zip(measured["largest"], measured["smaller"], strict=True)
    ]
    figure = _figure("bytes_per_sample")
    told = {"largest": slope}
    rows += compare(
        "memory", "loader", told, "bytes_per_sample", figure, subject="largest", versions=versions
    )
    return rows


def _slope(more: Measurement, less: Measurement) -> float:
    grown = more.values["peak_mb"] - less.values["peak_mb"]
    return grown * 1e6 / (more.amount - less.amount)


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
