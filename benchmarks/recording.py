"""Run several subjects by turns and write down what came out: shared by all benchmark scripts.

A script defines one callable per subject, `interleaved` runs them round by round (so that all of
them see the same machine), `compare` pairs the rounds into `Row`s, `write_results` stores
`results/NAME.json` and `results/NAME.md`. On a shared machine wall time means little: trust CPU
time and the paired ratios.

    options = parse_options(__doc__, runs=5)
    measured = interleaved({"ours": timed(ours), "peer": timed(peer)}, runs=options.runs)
    rows = compare("size", "native", measured, "bytes", lambda m: m.values["bytes"])
    write_results(Report("size", "Bytes per sample", rows, not_measured=("GPU",)), options)
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Measurement:
    """One run of one subject.

    Attributes:
        amount: Units of work done (samples, patches, queries).
        cpu_s: CPU seconds of this process (all threads) and of the child processes it waited for.
        wall_s: Elapsed seconds.
        values: Any other figure of the run, by metric name (`bytes`, `peak_mb`, ...).
    """

    amount: float
    cpu_s: float
    wall_s: float
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def per_cpu_s(self) -> float:
        """Units of work per CPU second."""
        return self.amount / self.cpu_s

    @property
    def per_s(self) -> float:
        """Units of work per second of wall time."""
        return self.amount / self.wall_s


@dataclass(frozen=True)
class Row:
    """One comparison; ratios are ours / peer of the metric as named, round by round.

    Without a peer (a figure that stands alone) the peer fields are None and the ratios absent.
    """

    benchmark: str
    case: str
    subject: str
    peer: str | None
    metric: str
    ours_median: float
    peer_median: float | None
    ratio_median: float | None
    ratio_min: float | None
    ratio_max: float | None
    runs: int
    date: str
    versions: dict[str, str]
    machine: str


@dataclass(frozen=True)
class Report:
    """What a benchmark has to say.

    Attributes:
        name: Name of the benchmark and of its two result files.
        title: Heading of the markdown section.
        rows: The comparisons.
        text: Markdown before the table: what was run, on which data, how to read it.
        findings: Markdown after the table: explanations, profiles, missed targets.
        not_measured: What the figures do not cover.
    """

    name: str
    title: str
    rows: Sequence[Row]
    text: str = ""
    findings: str = ""
    not_measured: Sequence[str] = ()


@dataclass(frozen=True)
class Options:
    """Command line every benchmark has: a small run, the number of rounds, where results go."""

    quick: bool
    runs: int
    out: Path | None


def benchmark_parser(description: str | None, *, runs: int = 5) -> argparse.ArgumentParser:
    """Return the parser of the common options; a script may add its own to it."""
    summary = (description or "").strip().splitlines()
    parser = argparse.ArgumentParser(description=summary[0] if summary else None)
    parser.add_argument("--quick", action="store_true", help="small and fast; shows, keeps nothing")
    parser.add_argument("--runs", type=int, default=None, help=f"rounds (default {runs}, quick 2)")
    parser.add_argument("--out", type=Path, default=None, help=f"folder (default {RESULTS.name}/)")
    parser.set_defaults(full_runs=runs)
    return parser


def common_options(parsed: argparse.Namespace) -> Options:
    """Return the common options of parsed arguments.

    A quick run is no result: it is written only where `--out` says so.
    """
    runs = parsed.runs or (2 if parsed.quick else parsed.full_runs)
    out = parsed.out or (None if parsed.quick else RESULTS)
    return Options(quick=parsed.quick, runs=runs, out=out)


def parse_options(
    description: str | None, *, runs: int = 5, arguments: Sequence[str] | None = None
) -> Options:
    """Return the common options from the command line (or from `arguments`)."""
    return common_options(benchmark_parser(description, runs=runs).parse_args(arguments))


def cpu_seconds() -> float:
    """Return CPU seconds so far: this process, all threads, and children already waited for."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    """Return the largest resident size of this process so far, in MB of 10^6 bytes.

    It never falls again: measure each subject in a process of its own. Linux's own mark of this
    program is read where there is one: getrusage hands a parent's peak down to its children.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(words[1]) for words in lines if words[0] == "VmHWM:") * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def timed(work: Callable[[], float | tuple[float, Mapping[str, float]]]) -> Subject:
    """Return `work` as a subject: timed on each call.

    Args:
        work: Does the work and returns the units done, or (units, other figures by name). Worker
            processes it starts must have ended on return, or their CPU time is not seen.
    """

    def run() -> Measurement:
        gc.collect()  # garbage of the subject before is not this one's cost
        cpu, wall = cpu_seconds(), time.perf_counter()
        done = work()
        cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
        amount, values = done if isinstance(done, tuple) else (done, {})
        return Measurement(amount, cpu, wall, values)

    return run


Subject = Callable[[], Measurement]


def interleaved(
    subjects: Mapping[str, Subject], *, runs: int, warm_up: int = 1
) -> dict[str, list[Measurement]]:
    """Run all subjects by turns, `runs` rounds, and return each one's measurements in order.

    The order turns by one each round, so no subject always follows the same other. Progress goes
    to stderr. A subject that fails ends the benchmark: a missing peer is never left out silently.

    Args:
        subjects: Name -> subject; see `timed`. A subject may also measure elsewhere (another
            interpreter) and return that `Measurement`.
        runs: Rounds that count.
        warm_up: Rounds before them that do not (compilation, page cache).
    """
    names = list(subjects)
    measured: dict[str, list[Measurement]] = {name: [] for name in names}
    for turn in range(warm_up + runs):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            result = subjects[name]()
            kept = turn >= warm_up
            if kept:
                measured[name].append(result)
            print(
                f"[{'round ' + str(turn - warm_up + 1) if kept else 'warm-up'}] {name}: "
                f"{result.amount:g} in {result.cpu_s:.2f} CPU-s, {result.wall_s:.2f} s",
                file=sys.stderr,
                flush=True,
            )
    return measured


def compare(
    benchmark: str,
    case: str,
    measured: Mapping[str, Sequence[Measurement]],
    metric: str,
    value: Callable[[Measurement], float],
    *,
    subject: str = "ours",
    versions: Mapping[str, str] | None = None,
) -> list[Row]:
    """Return one row per peer: `subject` against every other entry of `measured`, paired by round.

    With no other entry, one row without a peer.

    Args:
        benchmark: Name of the benchmark.
        case: What was run, e.g. `shuffled-w0`.
        measured: From `interleaved`.
        metric: Name of the figure, e.g. `samples_per_cpu_s`.
        value: The figure of one run.
        subject: Which entry is ours.
        versions: Versions to state; see `package_versions`.
    """
    ours = [value(one) for one in measured[subject]]
    peers: list[str | None] = [name for name in measured if name != subject]
    rows = []
    for peer in peers or [None]:
        theirs = None if peer is None else [value(one) for one in measured[peer]]
        ratios = None if theirs is None else [a / b for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            Row(
                benchmark=benchmark,
                case=case,
                subject=subject,
                peer=peer,
                metric=metric,
                ours_median=statistics.median(ours),
                peer_median=None if theirs is None else statistics.median(theirs),
                ratio_median=None if ratios is None else statistics.median(ratios),
                ratio_min=None if ratios is None else min(ratios),
                ratio_max=None if ratios is None else max(ratios),
                runs=len(ours),
                date=datetime.now(UTC).date().isoformat(),
                versions=dict(versions or {}),
                machine=machine(),
            )
        )
    return rows


def package_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of these distributions, and Python's.

    Raises:
        importlib.metadata.PackageNotFoundError: One is not installed.
    """
    versions = {"python": platform.python_version()}
    return versions | {name: importlib.metadata.version(name) for name in names}


def machine() -> str:
    """Return the machine in a few words, without its name: cores, memory, GPU or none."""
    cpu = Path("/proc/cpuinfo")
    # A virtual machine's cores are shared with strangers; so are ours with other work.
    shared = "shared " if cpu.exists() and "hypervisor" in cpu.read_text() else ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = "an NVIDIA GPU" if shutil.which("nvidia-smi") else "no GPU"
    kind = platform.machine().replace("_", "-")
    return f"{os.cpu_count()} {shared}{kind} cores, {memory:.0f} GB, {gpu}"


def markdown(report: Report) -> str:
    """Return the section of a report: text, table, findings, versions, what was not measured."""
    lines = [f"## {report.title}", ""]
    if report.text:
        lines += [report.text.strip(), ""]
    lines += [
        "| case | subject | peer | metric | ours | peer's | ratio (min - max) | runs |",
        "|---|---|---|---|---:|---:|---|---:|",
    ]
    for row in report.rows:
        peer = "-" if row.peer_median is None else _figure(row.peer_median)
        ratio = "-"
        if row.ratio_median is not None and row.ratio_min is not None and row.ratio_max is not None:
            ratio = f"**{row.ratio_median:.3g}** ({row.ratio_min:.3g} - {row.ratio_max:.3g})"
        lines.append(
            f"| {row.case} | {row.subject} | {row.peer or '-'} | `{row.metric}` | "
            f"{_figure(row.ours_median)} | {peer} | {ratio} | {row.runs} |"
        )
    lines.append("")
    if report.findings:
        lines += [report.findings.strip(), ""]
    versions: dict[str, str] = {}
    for row in report.rows:
        versions |= row.versions
    dates = sorted({row.date for row in report.rows})
    machines = sorted({row.machine for row in report.rows})
    stated = ", ".join(f"{name} {version}" for name, version in versions.items()) or "not stated"
    lines += [
        f"Measured {', '.join(dates)} on {'; '.join(machines)}. Subjects ran by turns; ratios are "
        "ours / peer, paired by round, medians of the runs. CPU time counts all threads and worker "
        "processes. The machine also does other work: ratios and CPU time mean more than wall "
        "time.",
        "",
        f"Versions: {stated}.",
        "",
        "Not measured: " + ("; ".join(report.not_measured) or "nothing known to be missing") + ".",
    ]
    return "\n".join(lines) + "\n"


def write_results(report: Report, options: Options) -> None:
    """Print the report's section and, unless the run is only a look, write both result files.

    Files: `NAME.json` (a list of rows) and `NAME.md` in `options.out`.
    """
    text = markdown(report)
    print(text)
    if options.out is None:
        print("quick run: nothing written (name a folder with --out to keep it)", file=sys.stderr)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    rows = json.dumps([asdict(row) for row in report.rows], indent=1)
    (options.out / f"{report.name}.json").write_text(rows + "\n")
    (options.out / f"{report.name}.md").write_text(text)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
