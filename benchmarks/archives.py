"""Plan and convert a generated reBEN archive, beside a plain loop over its files.

The archive is synthetic: real GeoTIFF files in reBEN's layout, a few drawn patches repeated under
other names and georeferences. `fetch` plans the whole of it and converts some of its shards (all
of them with `--whole`), each in a process of its own so that its peak of memory is its own; the
same on an archive a tenth as large, with as many threads and shards, shows what grows. So does the
plan of an archive four times as large, of which only every fiftieth patch has files: a plan reads
no others.

Conversion (read, check, settle the unit, encode) is besides measured on equal samples by turns
with the least that any converter must do: `rasterio-plain` opens every file with rasterio, reads
it, and compresses the planes into the same frames; `read+encode` does without any reader of
GeoTIFF (bytes of each file by open and read, where the pixels lie being known beforehand, then the
same frames and checksums), which is what disk and codec allow; `read` leaves out the codec too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow as pa
import rasterio

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.made_archives import BANDS, make_archive
from benchmarks.recording import (
    Measurement,
    Report,
    Row,
    benchmark_parser,
    common_options,
    compare,
    cpu_seconds,
    interleaved,
    package_versions,
    peak_mb,
    timed,
    write_results,
)
from landmark import plan
from landmark.codec import encode_image, frame_xxh3
from landmark.cog.files import DiskFile
from landmark.cog.images import read_image
from landmark.dataset import Dataset
from landmark.fetching import FetchOptions, fetch
from landmark.manifest import Catalog, Manifest, Sentinel1, Sentinel2
from landmark.patches import make_patches
from landmark.progress import Silent
from landmark.scenes import Scene
from landmark.schema import s1_layout, s2_layout
from landmark.sources import Roots, open_roots

#: Shards of an archive that are converted, spread over it, and by how many threads; patches per
#: sensor of a round of `convert`.
_SHARDS, _THREADS, _SAMPLE = 10, 2, 300
#: Of the archive that is only planned: times as large, and every which pair has files.
_FOURFOLD, _THINNED = 4, 50


def main() -> None:
    """Run the benchmark."""
    parser = benchmark_parser(__doc__, runs=3)
    parser.add_argument("--patches", type=int, default=None, help="of both sensors (50000)")
    parser.add_argument("--whole", action="store_true", help="convert every shard as well")
    parser.add_argument(
        "--cold", action="store_true", help="also with an empty page cache (Linux, root)"
    )
    parser.add_argument("--child", nargs=3, default=None, help="internal: step, archive, dataset")
    parsed = parser.parse_args()
    if parsed.child is not None:
        step, archive, root = parsed.child
        print(json.dumps(_step(step, Path(archive), Path(root))))
        return
    options = common_options(parsed)
    patches = parsed.patches or (2000 if options.quick else 50_000)
    with tempfile.TemporaryDirectory() as scratch:
        rows = _measure(Path(scratch), patches, options.runs, whole=parsed.whole, cold=parsed.cold)
        # Before 150,000 files are removed: what was measured is not lost in that.
        write_results(_report(rows, patches, whole=parsed.whole, cold=parsed.cold), options)


#: What the rows mean, and what was found beside them on 2026-11-27.
_FINDINGS = (
    "**Rate.** The plain rasterio loop spends most of its time in opening each file; ours reads it "
    "at one go, knows its header again but for where it and its blocks lie, and makes every check. "
    "`read+encode` is a bound, not a converter: it is told the names of the files and where their "
    "pixels lie. From a disk, where an archive of a hundred gigabytes comes from, or where files "
    "are compressed, ours is near it; from memory, where bytes cost next to nothing, what ours "
    "spends on Python shows: small steps around each file (path, header, place, kind of numbers, "
    "nodata, unit) and each patch (scene, row), none a tenth of a conversion by profile. `fetch` "
    "adds writing and syncing of shards (180 of some 850 microseconds a patch), their checksums "
    "and the fingerprints of the whole plan, and the start of a process.\n\n"
    "**Cores.** Reading, encoding and writing run without the interpreter lock, the Python around "
    "them does not, and threads that meet at it cost CPU time. 15,000 patches, imports included: "
    "one thread 15 to 16 CPU-s and 18 to 20 s, two threads 18 to 19 CPU-s and 15 to 18 s, two "
    "commands (`--part 1/2`, `--part 2/2`) 18 to 19 CPU-s and 11 to 12 s, two processes of "
    "`--cluster local` 27 to 31 CPU-s and 18 to 22 s: dask takes some ten CPU seconds to start. "
    "Beyond two cores nothing was measured.\n\n"
    "**Memory.** Of a plan, columns of the scenes, places and names stay in memory; from "
    "`plan` to `plan-fourfold` that is what grows, by {slope:.2f} kB a patch. Below that, the "
    "first full row groups of the plan come in, which any larger archive has as well. `fetch` "
    "holds the shards that are being made, whatever the archive; over all shards its peak is "
    "higher than over {shards}, the two threads meeting at their largest now and then."
)


def _report(rows: list[Row], patches: int, *, whole: bool, cold: bool) -> Report:
    text = (
        f"A generated archive of {patches:,} reBEN-like patches ({len(BANDS)} Sentinel-2 bands of "
        "10 m, VV and VH; synthetic pixels, uncompressed GeoTIFF, one file a band) on local disk, "
        "just written. `plan`: reading the table, a few headers per tile, values for unit and "
        f"offset, all plan rows. `fetch`: converting {_SHARDS} shards of it (some 500 patches "
        f"each) with {_THREADS} threads, the plan being there; `fetch-whole`: all shards; "
        f"`fetch-processes`: all with {_THREADS} processes (`--cluster local`). Each in "
        "a process of its own, whose peak of memory is given and whose start counts; `-tenth` is "
        "the same for an archive a tenth as large, converted whole "
        f"({_SHARDS} shards, as many threads). `plan-fourfold`: the plan of {_FOURFOLD} times as "
        f"many patches, of which every {_THINNED}th has files. `cores`: CPU seconds per second. "
        f"`convert`: {2 * _per_sensor(patches)} patches per round, by turns with `rasterio-plain` "
        "(opens, reads and compresses the same files without any check), `read+encode` (bytes of "
        "the files, frames and checksums: what disk and codec allow) and `read` (bytes alone); "
        "`convert-deflated`: the same for copies in deflated strips, which `read+encode` "
        "decompresses; `-cold`: with an empty page cache before each of them."
    )
    return Report(
        "archives",
        "Archives: planning and converting",
        rows,
        text=text,
        findings=_FINDINGS.format(shards=_SHARDS, slope=_slope_kb(rows, patches)),
        not_measured=(
            *(() if whole else (f"converting all {patches:,} patches (`--whole`)",)),
            "network disks" if cold else "network disks and cold page cache",
            "HDF5, zip and tar archives",
            "20 m and 60 m bands (more files of fewer bytes)",
        ),
    )


def _slope_kb(rows: list[Row], patches: int) -> float:
    """Return what a plan's peak of memory grows by with each patch, kB."""
    peaks = {row.case: row.ours_median for row in rows if row.metric == "peak_mb"}
    return (peaks["plan-fourfold"] - peaks["plan"]) * 1e3 / ((_FOURFOLD - 1) * patches)


def manifest_of(archive: Path) -> Manifest:
    """Return the manifest of a conversion."""
    return Manifest(
        name="benchmark",
        catalog=Catalog(kind="archive", format="reben", href=str(archive)),
        grid="source",
        s1=Sentinel1(),
        s2=Sentinel2(bands=BANDS),
    )


def _measure(folder: Path, patches: int, runs: int, *, whole: bool, cold: bool) -> list[Row]:
    large, small, listed = folder / "archive", folder / "tenth", folder / "fourfold"
    make_archive(large, patches // 2)
    make_archive(small, patches // 20)
    make_archive(listed, _FOURFOLD * patches // 2, _THINNED)
    steps = [("plan", large), ("plan", small), ("plan", listed), ("fetch", large), ("fetch", small)]
    if whole:
        steps += [("fetch-whole", large), ("fetch-processes", large)]
    rows: list[Row] = []
    for step, archive in steps:
        one = _in_child(step, archive, folder / f"data-{archive.name}")
        case = step if archive == large else f"{step}-{archive.name}"
        print(f"{case}: {one}", file=sys.stderr, flush=True)
        for metric in _METRICS.get(step, _METRICS["fetch"]):
            rows += compare("archives", case, {"ours": [one]}, metric, _VALUES[metric])
    deflated = folder / "deflated"
    make_archive(deflated, patches // 20, compress="deflate")
    _in_child("plan", deflated, folder / f"data-{deflated.name}")
    for case, archive in (("convert", small), ("convert-deflated", deflated)):
        planned = plan.PlanFile(Dataset(folder / f"data-{archive.name}").plan)
        subjects = _subjects(archive, _sample(planned, _per_sensor(patches)))
        rows += _compared(case, subjects, runs)
        if cold:
            emptied = {name: _cold(subject) for name, subject in subjects.items()}
            rows += _compared(f"{case}-cold", emptied, runs)
    return rows


def _subjects(archive: Path, sample: dict[str, pa.Table]) -> dict[str, Callable[[], Measurement]]:
    """Return what converts a sample of an archive, by name."""
    manifest = manifest_of(archive)
    roots = open_roots(manifest, Dataset(archive.parent / f"data-{archive.name}"))
    files = {sensor: _files(rows, archive) for sensor, rows in sample.items()}
    return {
        "ours": timed(lambda: _ours(sample, manifest, roots)),
        "rasterio-plain": timed(lambda: _plain(sample, archive)),
        "read+encode": timed(lambda: _least(files, encode=True)),
        "read": timed(lambda: _least(files, encode=False)),
    }


def _compared(case: str, subjects: dict[str, Callable[[], Measurement]], runs: int) -> list[Row]:
    versions = package_versions("numpy", "pyarrow", "rasterio", "blosc2", "imagecodecs")
    measured = interleaved(subjects, runs=runs)
    return [
        row
        for metric in ("patches_per_cpu_s", "patches_per_s")
        for row in compare("archives", case, measured, metric, _VALUES[metric], versions=versions)
    ]


def _cold(subject: Callable[[], Measurement]) -> Callable[[], Measurement]:
    """Return a subject that finds none of its files in memory."""

    def run() -> Measurement:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return subject()

    return run


#: What is told of each step. The memory of worker processes is not this process's.
_METRICS = {
    "plan": ("patches_per_cpu_s", "cpu_s", "peak_mb"),
    "fetch": ("patches_per_cpu_s", "patches_per_s", "cpu_s", "peak_mb", "cores"),
    "fetch-processes": ("patches_per_cpu_s", "patches_per_s", "cpu_s", "cores"),
}
_VALUES: dict[str, Callable[[Measurement], float]] = {
    "patches_per_cpu_s": lambda one: one.per_cpu_s,
    "patches_per_s": lambda one: one.per_s,
    "cpu_s": lambda one: one.cpu_s,
    "peak_mb": lambda one: one.values["peak_mb"],
    "cores": lambda one: one.cpu_s / one.wall_s,
}


def _per_sensor(patches: int) -> int:
    """Return how many patches of a sensor a round converts: of the smaller archive."""
    return min(_SAMPLE, patches // 20)


def _sample(planned: plan.PlanFile, per_sensor: int) -> dict[str, pa.Table]:
    """Return neighbouring rows of one shard of each sensor, as a shard task has them."""
    names = list(planned.shard_sizes())
    found = {}
    for sensor in ("s1", "s2"):
        first = next(name for name in names if name.startswith(sensor))
        found[sensor] = planned.shard_rows(first).slice(0, per_sensor)
    return found


def _ours(sample: dict[str, pa.Table], manifest: Manifest, roots: Roots) -> int:
    return sum(make_patches(rows, manifest, roots).table.num_rows for rows in sample.values())


def _plain(sample: dict[str, pa.Table], archive: Path) -> int:
    """The least: open, read and compress every file, without a check."""
    count = 0
    layouts = {"s1": s1_layout(), "s2": s2_layout(BANDS)}
    for sensor, rows in sample.items():
        for text in rows["scene"].to_pylist():
            planes = []
            for asset in Scene.from_json(text).bands:
                with rasterio.open(archive / asset.href) as file:
                    planes.append(file.read(1))
            encode_image(planes, layouts[sensor])
            count += 1
    return count


def _files(rows: pa.Table, archive: Path) -> list[tuple[str, list[tuple[int, int]]]]:
    """Return the file of each band of each patch, and the bytes of its strips.

    Strips that are not compressed follow one another: they are one.
    """
    found = []
    for text in rows["scene"].to_pylist():
        for asset in Scene.from_json(text).bands:
            path = f"{archive}/{asset.href}"
            with DiskFile(path) as file:
                blocks = read_image(file.head).blocks
            starts = blocks.offsets.tolist()
            ends = [
                start + size for start, size in zip(starts, blocks.counts.tolist(), strict=True)
            ]
            found.append((path, list(zip(starts, ends, strict=True))))
    return found


def _least(files: dict[str, list[tuple[str, list[tuple[int, int]]]]], *, encode: bool) -> int:
    """The bytes of every file, and the frames of their pixels with a checksum: no more."""
    count = 0
    for sensor, layout in (("s1", s1_layout()), ("s2", s2_layout(BANDS))):
        bands, side, dtype = len(layout.bands), layout.shapes[0], np.dtype(layout.dtype)
        for first in range(0, len(files.get(sensor, ())), bands):
            planes = []
            for path, strips in files[sensor][first : first + bands]:
                # The cheapest way to open a file: a bound that paid for pathlib would be none.
                with open(path, "rb") as stream:  # noqa: PTH123
                    data = stream.read()
                if encode:
                    planes.append(_pixels(data, strips, side, dtype))
            if encode:
                frame_xxh3(encode_image(planes, layout))
            count += 1
    return count


def _pixels(
    data: bytes, strips: list[tuple[int, int]], side: tuple[int, int], dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    if strips[0][1] - strips[0][0] == side[0] * side[1] * dtype.itemsize:
        return np.frombuffer(data, dtype, side[0] * side[1], strips[0][0]).reshape(side)
    pixels = np.empty(side, dtype)
    out: Any = pixels.reshape(-1).view(np.uint8)
    first, file = 0, memoryview(data)
    for start, end in strips:
        strip: Any = file[start:end]
        first += len(imagecodecs.deflate_decode(strip, out=out[first:]))
    return pixels


def _in_child(step: str, archive: Path, root: Path) -> Measurement:
    """Take one step in a process of its own, so that its peak of memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.archives", "--child", step, str(archive), str(root)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    one = json.loads(done.stdout.splitlines()[-1])
    return Measurement(one["amount"], one["cpu_s"], one["wall_s"], {"peak_mb": one["peak_mb"]})


def _step(step: str, archive: Path, root: Path) -> dict[str, float]:
    """Plan an archive, convert some shards of it (`fetch`), or all (in threads or processes)."""
    manifest, part = manifest_of(archive), None
    if step == "fetch":
        shards = len(plan.PlanFile(Dataset(root).plan).shard_sizes())
        part = (1, -(-shards // _SHARDS)) if shards > _SHARDS else None
    if step in ("fetch-whole", "fetch-processes"):
        shutil.rmtree(Dataset(root).patches)
    cpu, wall = cpu_seconds(), time.monotonic()
    if step == "plan":
        done = fetch(manifest, root, FetchOptions(plan_only=True), Silent())
        assert done.plan is not None
        amount = done.plan.patches
    else:
        cluster = "local" if step == "fetch-processes" else None
        options = FetchOptions(workers=_THREADS, part=part, cluster=cluster)
        done = fetch(manifest, root, options, Silent())
        amount = done.patches
    cpu, wall = cpu_seconds() - cpu, time.monotonic() - wall
    return {"amount": amount, "cpu_s": cpu, "wall_s": wall, "peak_mb": peak_mb()}


if __name__ == "__main__":
    main()
