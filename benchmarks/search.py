"""Exact search over 500,000 vectors of 384 values: seconds per query, and memory of its own.

    python -m benchmarks.search [--quick]

The vectors are synthetic (normal, unit length): an exact scan takes as long over any others.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from baselines.filters import Filters, masks
from baselines.recipes import DEFAULT_TEXT
from baselines.scanning import scan
from baselines.text import SentenceEncoder, open_text_encoder
from baselines.translation import Translator
from baselines.vector_files import FACTS, VectorFile, VectorWriter
from benchmarks.recording import (
    Measurement,
    Report,
    Subject,
    benchmark_parser,
    common_options,
    compare,
    cpu_seconds,
    interleaved,
    package_versions,
    write_results,
)

WIDTH = 384
QUERIES = (
    "flooded area next to crops",
    "snow and ice",
    "cornfields beside a brook",
    "burned area without water",
)
FILTERS = {
    "unfiltered": Filters(),
    "date-area": Filters(start=dt.date(2021, 3, 1), end=dt.date(2021, 8, 31), area="0,30,60,60"),
    "event": Filters(event="flood"),
}
_TEXT = """
{rows:,} synthetic vectors of {width} float32 values ({mb:,.0f} MB) in two files, as `landmark
search` keeps them, in the page cache. A query is a text: translated to classes, encoded by MiniLM,
filtered, scanned exactly on two threads, the ten best merged. Opening the files counts in each
query; starting Python, loading the text encoder and the class prototypes (a few seconds, once) does
not. `first` is the first query of a fresh process; the others are means of {repeats} queries after
it. `date-area` keeps {share:.0%} of the patches, `event` 5 %.

The peer holds all vectors in memory (its first query reads them) and ranks them by one matrix
product and `argpartition`; the same text encoder, no translation. Both give the same ten patches
for a text of class names (checked in each run).

`own_mb` is the most private memory (RssAnon) during the queries, less what the process held with
its text encoder loaded: mapped pages are the page cache's and go when memory is short.
"""


def main() -> None:
    """Run and write the results, or (`--measure FOLDER SUBJECT`) be the measured process."""
    parser = benchmark_parser(__doc__, runs=5)
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "SUBJECT"))
    parsed = parser.parse_args()
    if parsed.measure is not None:
        folder, subject = parsed.measure
        print(json.dumps(_measure(Path(folder), subject)))
        return
    options = common_options(parsed)
    rows = 50_000 if options.quick else 500_000
    with tempfile.TemporaryDirectory(prefix="landmark-search-") as folder:
        share = write_vectors(Path(folder), rows)
        subjects = {name: _in_process(Path(folder), name) for name in ("ours", "numpy-in-memory")}
        measured = interleaved(subjects, runs=options.runs)
    versions = package_versions("numpy", "pyarrow", "torch", "transformers")
    found = []
    for case in ("first", *FILTERS):
        for metric in ("seconds", "cpu_s"):
            key = f"{case}:{metric}"
            own = {n: m for n, m in measured.items() if key in m[0].values}
            found += compare("search", case, own, metric, _value(key), versions=versions)
    found += compare(
        "search", "memory", measured, "own_mb", lambda m: m.values["own_mb"], versions=versions
    )
    text = _TEXT.format(
        rows=rows, width=WIDTH, mb=rows * WIDTH * 4 / 1e6, repeats=len(QUERIES), share=share
    )
    report = Report(
        "search",
        "Search: exact, through a memory map",
        found,
        text=text,
        not_measured=(
            "files that are not in the page cache (a cold disk reads 768 MB first)",
            "recipes with class probabilities (12 values more a patch, logarithms instead of a "
            "product)",
            "approximate indexes (faiss, hnswlib): results would not be exact",
        ),
    )
    write_results(report, options)


def write_vectors(folder: Path, rows: int) -> float:
    """Write s1.parquet and s2.parquet, half of the rows each; return what `date-area` keeps."""
    random = np.random.default_rng(0)
    start = dt.datetime(2021, 1, 1, tzinfo=dt.UTC).timestamp()
    kept = 0
    for sensor in ("s1", "s2"):
        writer = VectorWriter(folder / f"{sensor}.parquet", WIDTH, "made")
        for first in range(0, rows // 2, 10_000):
            count = min(10_000, rows // 2 - first)
            vectors = random.standard_normal((count, WIDTH), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            days = random.integers(0, 365, count)
            lon, lat = random.uniform(-180, 180, count), random.uniform(-60, 75, count)
            kept += int(
                (
                    (days >= 59)
                    & (days < 243)
                    & (lon >= 0)
                    & (lon <= 60)
                    & (lat >= 30)
                    & (lat <= 60)
                ).sum()
            )
            listed = [[f"flood:F{i % 7}"] if i % 20 == 0 else [] for i in range(count)]
            facts = pa.table(
                {
                    "patch_id": [f"{first + i:09d}_{sensor}" for i in range(count)],
                    "image_xxh3": pa.array(np.arange(first, first + count), pa.uint64()),
                    "datetime": pa.array(
                        ((start + days * 86400) * 1e6).astype(np.int64), pa.timestamp("us", "UTC")
                    ),
                    "lon": lon,
                    "lat": lat,
                    "events": pa.array(listed, pa.list_(pa.string())),
                }
            ).cast(FACTS)
            writer.add(facts, vectors)
        writer.close()
    return kept / rows


def _in_process(folder: Path, subject: str) -> Subject:
    def run() -> Measurement:
        command = [sys.executable, "-m", "benchmarks.search", "--measure", str(folder), subject]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        values = json.loads(answer.stdout)
        # Both subjects must have found the same patches, or a ratio would mean nothing.
        best = values.pop("best")
        kept = folder / "best.json"
        if kept.exists():
            if json.loads(kept.read_text()) != best:
                raise SystemExit(f"{subject} finds other patches than the subject before it")
        else:
            kept.write_text(json.dumps(best))
        return Measurement(
            len(QUERIES), values["unfiltered:cpu_s"], values["unfiltered:seconds"], values
        )

    return run


def _measure(folder: Path, subject: str) -> dict[str, object]:
    encoder = open_text_encoder(DEFAULT_TEXT)
    encoder.encode(["water"])
    paths = [folder / "s1.parquet", folder / "s2.parquet"]
    ask = _ours(encoder, paths) if subject == "ours" else _numpy(encoder, paths)
    before = _rss_anon()
    highest = [before]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            highest[0] = max(highest[0], _rss_anon())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        values: dict[str, object] = {}
        values |= _timed("first", lambda: ask(QUERIES[0], Filters()), 1)
        for case, filters in FILTERS.items():
            if subject == "ours" or case == "unfiltered":
                asked = iter(QUERIES)
                values |= _timed(case, partial(_ask_next, ask, asked, filters), len(QUERIES))
        values["best"] = ask("water. crops", Filters())
    finally:
        done.set()
        watcher.join()
    return {**values, "own_mb": highest[0] - before}


def _ours(encoder: SentenceEncoder, paths: list[Path]) -> Callable[[str, Filters], list[str]]:
    translator = Translator(encoder)
    translator.translate("cornfields")  # makes the prototypes

    def ask(text: str, filters: Filters) -> list[str]:
        request = translator.translate(text)
        words = [*(name.lower() for name in request.classes), *request.free]
        vector = encoder.encode([". ".join(words)])[0]
        with ExitStack() as stack:
            keep = masks([stack.enter_context(VectorFile(path)) for path in paths], filters)
        found = scan(paths, lambda part: part @ vector, 10, keep, threads=2)
        return [one.patch_id for one in found]

    return ask


def _numpy(encoder: SentenceEncoder, paths: list[Path]) -> Callable[[str, Filters], list[str]]:
    loaded: list[tuple[NDArray[np.float32], list[str]]] = []

    def ask(text: str, filters: Filters) -> list[str]:
        if not loaded:
            files = [VectorFile(path) for path in paths]
            vectors = [file.vectors(block) for file in files for block in file.blocks]
            ids = [n for f in files for n in f.facts(["patch_id"])["patch_id"].to_pylist()]
            loaded.append((np.concatenate(vectors), ids))
        matrix, ids = loaded[0]
        scores = matrix @ encoder.encode([text])[0]
        best = np.argpartition(-scores, 10)[:10]
        return [ids[place] for place in best[np.argsort(-scores[best])]]

    return ask


def _ask_next(
    ask: Callable[[str, Filters], list[str]], texts: Iterator[str], filters: Filters
) -> list[str]:
    return ask(next(texts), filters)


def _value(key: str) -> Callable[[Measurement], float]:
    return lambda measured: measured.values[key]


def _timed(case: str, work: Callable[[], object], times: int) -> dict[str, float]:
    cpu, wall = cpu_seconds(), time.perf_counter()
    for _ in range(times):
        work()
    return {
        f"{case}:seconds": (time.perf_counter() - wall) / times,
        f"{case}:cpu_s": (cpu_seconds() - cpu) / times,
    }


def _rss_anon() -> float:
    """Return private resident memory, MB of 10^6 bytes."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if match is None:
        raise SystemExit("this system does not tell RssAnon in /proc/self/status")
    return int(match[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
