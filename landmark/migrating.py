"""Rewriting a dataset from one storage profile to another, shard by shard, resumable.

Only how images are stored changes: every other column, the marks' fingerprints and holes stay. A
shard is replaced whole. Its new commit mark is written to cache/migrate/ first, so that a run
killed between the new file and its mark is healed by the next one instead of losing the shard.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from landmark import jobs
from landmark.codec import frame_xxh3, transcode
from landmark.commits import (
    adopt_mark,
    atomic_path,
    hash_file,
    mark_path,
    read_mark,
    sweep_temporaries,
    write_mark,
)
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.ledger import write_views
from landmark.locks import run_lock
from landmark.profiles import PROFILES, Profile, profiles_of, with_profile
from landmark.progress import Progress
from landmark.schema import ImageLayout, layout_of
from landmark.shards import ShardReader, library_versions, write_shard


@dataclass(frozen=True)
class MigrateSummary:
    """What a migration did.

    Attributes:
        profile: The profile asked for.
        shards: Files rewritten by this run.
        shards_skipped: Files that followed the profile already.
        patches: Patches in the rewritten files.
        bytes_before: Bytes of the rewritten files, before.
        bytes_after: And after.
        seconds: How long it took.
    """

    profile: str
    shards: int
    shards_skipped: int
    patches: int
    bytes_before: int
    bytes_after: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class MigrateTask:
    """One shard to rewrite: small and picklable."""

    root: str
    shard: str
    profile: Profile


def migrate(
    root: Path, profile: str, progress: Progress, *, workers: int | None = None
) -> MigrateSummary:
    """Rewrite all shards of patches/ and shards/ to a profile; what follows it is left alone.

    Sentinel-1 loses precision by `compact` (`landmark.profiles`); a later migration to another
    profile does not bring it back.

    Args:
        root: Dataset directory.
        profile: `training`, `storage` or `compact`.
        progress: Told of patches done.
        workers: Threads; None: one per CPU.

    Raises:
        InputError: Unknown profile, or no such dataset.
        LandmarkError: A shard is damaged; what was rewritten stays, run again after the mend.
    """
    started = time.monotonic()
    wanted = next((name for name in PROFILES if name == profile), None)
    if wanted is None:
        raise InputError(f"unknown profile {profile!r}: {', '.join(PROFILES)}")
    dataset = Dataset(root)
    dataset.require(dataset.patches, "fetch")
    counts: Counter[str] = Counter()
    with run_lock(dataset.cache, "migrate"):
        sweep_temporaries(dataset.root)
        _heal(dataset)
        files = _image_files(dataset)
        if not files:
            raise InputError(f"{root}: holds no committed shard; run `landmark fetch` first")
        rows = {path: mark.rows for path in files if (mark := read_mark(path)) is not None}
        todo = [path for path in files if wanted not in profiles_of(_layout(path))]
        progress.start(f"migrate to {wanted}", sum(rows[path] for path in todo))
        tasks = [
            MigrateTask(str(root.resolve()), path.relative_to(root).as_posix(), wanted)
            for path in todo
        ]
        for outcome in jobs.run(migrate_shard, tasks, workers=workers):
            if outcome.error is not None or outcome.value is None:
                cause = outcome.error or "no answer"
                raise LandmarkError(f"{outcome.task.shard}: {cause}")
            counts.update(shards=1, before=outcome.value[0], after=outcome.value[1])
            counts["patches"] += rows[root / outcome.task.shard]
            progress.advance(rows[root / outcome.task.shard])
        progress.finish()
        write_views(dataset)
    return MigrateSummary(
        profile=wanted,
        shards=counts["shards"],
        shards_skipped=len(files) - len(todo),
        patches=counts["patches"],
        bytes_before=counts["before"],
        bytes_after=counts["after"],
        seconds=round(time.monotonic() - started, 3),
    )


def migrate_shard(task: MigrateTask) -> tuple[int, int]:
    """Rewrite one shard and commit it; return its bytes before and after.

    Raises:
        LandmarkError: The shard is damaged or not committed.
    """
    dataset, path = Dataset(Path(task.root)), Path(task.root) / task.shard
    mark = read_mark(path)
    if mark is None:
        raise LandmarkError("is not committed; run the command that makes it again")
    with ShardReader(path) as reader:
        layout = with_profile(reader.layout, task.profile)
        frames = [transcode(reader.frame(row), reader.layout, layout) for row in range(reader.rows)]
        table = _restored(reader, frames, layout)
    prepared = _prepared(dataset, task.shard)
    with atomic_path(path) as temporary:
        write_shard(temporary, table)
        new = replace(
            mark,
            nbytes=temporary.stat().st_size,
            xxh3=hash_file(temporary),
            versions=library_versions(),
        )
        # `write_mark` takes the data file's path: the prepared mark lies where its mark would.
        write_mark(prepared.with_suffix(".parquet"), new)
    write_mark(path, new)
    prepared.unlink()
    return mark.nbytes, new.nbytes


def _restored(reader: ShardReader, frames: list[bytes], layout: ImageLayout) -> pa.Table:
    """Return all rows of a shard with other frames, the layout in the schema metadata."""
    replaced = {
        "image": pa.array(frames, pa.binary()),
        "image_nbytes": pa.array([len(frame) for frame in frames], pa.uint32()),
        "image_xxh3": pa.array([frame_xxh3(frame) for frame in frames], pa.uint64()),
    }
    schema = reader.schema_with(layout)
    kept = reader.table([name for name in schema.names if name not in replaced])
    return pa.table({n: replaced[n] if n in replaced else kept[n] for n in schema.names}).cast(
        schema
    )


def _image_files(dataset: Dataset) -> list[Path]:
    folders = (dataset.patches, dataset.shards / "s1", dataset.shards / "s2")
    files = [path for folder in folders for path in sorted(folder.glob("*.parquet"))]
    return [path for path in files if read_mark(path) is not None]


def _layout(path: Path) -> ImageLayout:
    import pyarrow.parquet as pq

    return layout_of(pq.read_schema(path).metadata, path.name)


def _prepared(dataset: Dataset, shard: str) -> Path:
    """Return where the coming mark of a shard waits: one file name per shard."""
    return mark_path(dataset.cache / "migrate" / shard.replace("/", "~"))


def _heal(dataset: Dataset) -> None:
    """Finish what a killed run left between a new file and its mark."""
    for prepared in sorted((dataset.cache / "migrate").glob("*.json")):
        path = dataset.root / prepared.name.replace("~", "/")
        adopt_mark(path.with_suffix(".parquet"), prepared)
        prepared.unlink()
