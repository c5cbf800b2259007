"""Loader speed: shuffled and sequential epochs of the same samples in ours and the peers' formats.

    python -m benchmarks.loader --peers-python PEERS/bin/python

Real Sentinel-2 patches (`LANDMARK_TEST_DATA`), each in the eight symmetries of the square; what is
compared is stored and read by every subject in its own way (`loader_formats.py`, `loader_arrow.py`)
and in its own process. litdata and MosaicML streaming run in the interpreter of
`benchmarks/requirements-peers.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loader_epochs import SHAPE
from benchmarks.loader_notes import FINDINGS, NOT_MEASURED, TEXT
from benchmarks.real_patches import s2_patches, shared_data
from benchmarks.recording import (
    RESULTS,
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

_OWN_ENVIRONMENT = ("litdata", "mosaicml")
_ALONE = ("parquet-zstd", "arrow-ipc", "memcpy")
_PEERS = ("hdf5-published", "hdf5-strongest", "webdataset", "litdata", "mosaicml", "hf-map")
_ALL = (*_PEERS, "hf-streaming")
#: Case -> (shuffled, workers, tensor type, subject of ours -> peers it is compared with).
_CASES: dict[str, tuple[bool, int, str, dict[str, tuple[str, ...]]]] = {
    "shuffled-w0": (
        True,
        0,
        "float32",
        {"ours": (*_ALL, *_ALONE), "ours-equal": _ALL},
    ),
    "shuffled-w2": (True, 2, "float32", {"ours": _ALL, "ours-threads": _ALL}),
    "shuffled-w0-uint16": (
        True,
        0,
        "uint16",
        {
            "ours": (*_ALL[1:], *_ALONE),
            "ours-packed": ("hdf5-strongest", "litdata", "hf-map", "memcpy"),
        },
    ),
    "sequential-w0": (False, 0, "float32", {"ours": (*_ALL, *_ALONE)}),
}


class Served:
    """A subject in its own process."""

    def __init__(self, name: str, folder: Path, python: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        root = Path(__file__).parent.parent
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._name = name
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.loader_subject", name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "OMP_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1",
                "HF_HOME": str(folder.parent / "hf-home"),
            },
        )

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Give one order and wait for its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise SystemExit(f"{self._name} failed: see its messages above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases and write the results."""
    parsed = _parser().parse_args(arguments)
    options = common_options(parsed)
    cases = parsed.case or list(_CASES)
    wanted = {
        name
        for case in cases
        for subject, peers in _CASES[case][3].items()
        for name in (subject, *peers)
    }
    names = [name for name in _order(wanted) if name not in (parsed.without or ())]
    folder = Path(tempfile.mkdtemp(prefix="landmark-loader-", dir=parsed.scratch))
    served: dict[str, Served] = {}
    try:
        count = parsed.samples or (256 if options.quick else 1024)
        samples = _samples(folder, count)
        for name in names:
            python = parsed.peers_python if name in _OWN_ENVIRONMENT else sys.executable
            served[name] = Served(name, folder / name, python)
        size = {name: one.ask({"write": str(samples)})["bytes"] for name, one in served.items()}
        _check_equal(served)
        rows: list[Row] = []
        versions = _versions(parsed.peers_python, names)
        rows += _sizes(size, count, versions)
        for case in cases:
            rows += _run_case(case, served, options.runs, versions)
            # After each case: a long run that is stopped has told what it measured.
            earlier = _earlier(rows, options.out) if parsed.keep else []
            write_results(_report([*rows, *earlier], count, parsed.without or ()), options)
    finally:
        for one in served.values():
            one.close()
        shutil.rmtree(folder)


def _earlier(rows: Sequence[Row], folder: Path | None) -> list[Row]:
    """Return what the result file holds beside `rows`: a long benchmark can be run in pieces."""
    path = (folder or RESULTS) / "loader.json"
    measured = {(row.case, row.subject, row.peer) for row in rows}
    found = [Row(**row) for row in json.loads(path.read_text())] if path.exists() else []
    return [row for row in found if (row.case, row.subject, row.peer) not in measured]


def _report(rows: Sequence[Row], count: int, without: Sequence[str]) -> Report:
    text = TEXT.format(count=count, scenes=len(s2_patches(shared_data())))
    left_out = [f"{name} (left out of this run)" for name in without]
    title = "Loader: epochs in ours and the peers' formats"
    return Report("loader", title, rows, text, FINDINGS, (*NOT_MEASURED, *left_out))


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__, runs=9)
    parser.add_argument(
        "--samples", type=int, help="default 1024, quick 256: a shard for each worker"
    )
    parser.add_argument("--case", action="append", choices=list(_CASES), help="default: all")
    parser.add_argument("--without", action="append", help="leave a peer out (said in the result)")
    parser.add_argument(
        "--peers-python", default=sys.executable, help="interpreter with litdata and MosaicML"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the rows of cases an earlier run has measured"
    )
    parser.add_argument("--scratch", type=Path, help="folder for about 4 MB per sample")
    return parser


def _order(wanted: set[str]) -> list[str]:
    own = [name for name in ("ours", "ours-threads", "ours-equal", "ours-packed") if name in wanted]
    return own + [name for name in (*_ALL, *_ALONE) if name in wanted]


def _samples(folder: Path, count: int) -> Path:
    """Write (count, 12, 120, 120) uint16: real patches, coarse bands replicated, all symmetries."""
    patches = s2_patches(shared_data())
    path = folder / "samples.npy"
    out = np.lib.format.open_memmap(path, "w+", np.uint16, (count, *SHAPE))
    for number in range(count):
        planes = patches[number % len(patches)]
        kind = number // len(patches) % 8
        for band, plane in zip(out[number], planes, strict=True):
            turned = np.rot90(plane[:, ::-1] if kind >= 4 else plane, kind % 4)
            factor = SHAPE[1] // plane.shape[0]
            band[...] = turned.repeat(factor, 0).repeat(factor, 1)
    out.flush()
    return path


def _check_equal(served: Mapping[str, Served]) -> None:
    """Refuse to compare subjects that do not give the same pixels."""
    order = {"number": 0, "shuffled": True, "workers": 0, "dtype": "uint16", "check": True}
    sums = {name: one.ask(order)["values"]["sum"] for name, one in served.items()}
    sums.pop("ours-packed", None)  # native planes: each value once
    if len(set(sums.values())) != 1:
        raise SystemExit(f"the subjects give different pixels: {sums}")


def _run_case(
    case: str, served: Mapping[str, Served], runs: int, versions: Mapping[str, str]
) -> list[Row]:
    shuffled, workers, dtype, comparisons = _CASES[case]
    order = {"shuffled": shuffled, "workers": workers, "dtype": dtype, "check": False}
    numbers = dict.fromkeys(served, 0)

    def subject(name: str) -> Subject:
        def run() -> Measurement:
            numbers[name] += 1
            return Measurement(**served[name].ask({**order, "number": numbers[name]}))

        return run

    taking_part = {n for ours, peers in comparisons.items() for n in (ours, *peers)}
    print(f"case {case}", file=sys.stderr)
    measured = interleaved({n: subject(n) for n in served if n in taking_part}, runs=runs)
    rows = []
    for ours, peers in comparisons.items():
        chosen = {name: measured[name] for name in (ours, *peers) if name in measured}
        for metric in ("samples_per_cpu_s", "samples_per_s"):
            value = (
                (lambda m: m.per_cpu_s) if metric == "samples_per_cpu_s" else (lambda m: m.per_s)
            )
            rows += compare("loader", case, chosen, metric, value, subject=ours, versions=versions)
    return rows


def _sizes(size: Mapping[str, int], count: int, versions: Mapping[str, str]) -> list[Row]:
    rows = []
    for ours in ("ours", "ours-equal"):
        if ours in size:
            stored = {
                name: [Measurement(count, 1.0, 1.0, {"bytes": total / count})]
                for name, total in size.items()
                if name == ours or not name.startswith("ours")
            }
            rows += compare(
                "loader",
                "bytes-per-sample",
                stored,
                "bytes",
                lambda m: m.values["bytes"],
                subject=ours,
                versions=versions,
            )
    return rows


def _versions(python: str, names: Sequence[str]) -> dict[str, str]:
    ours = ["numpy", "pyarrow", "torch", "imagecodecs", "h5py", "hdf5plugin", "webdataset"]
    versions = package_versions(*ours, "datasets")
    libraries = {"litdata": "litdata", "mosaicml": "mosaicml-streaming"}
    for name in (libraries[n] for n in names if n in libraries):
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        versions[name] = answer.stdout.strip()
    return versions


if __name__ == "__main__":
    main()
