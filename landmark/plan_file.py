"""A plan on disk, read a row group at a time and never whole.

Rows stand scene by scene, so what belongs together lies together: a shard is in one row group or
a few, and the statistics of the column `shard` say in which it cannot be.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landmark.errors import InputError
from landmark.scenes import Scene

PLAN_VERSION = 1
METADATA_KEY = b"landmark_plan"


@dataclass(frozen=True)
class PlanFile:
    """A written plan. Every method reads the file anew, and of it only what it needs.

    Raises, whatever is read:
        InputError: The file is missing, damaged, no plan, or of a newer version.

    Attributes:
        path: The file.
    """

    path: Path

    def notes(self) -> dict[str, Any]:
        """Return what the plan says of itself: version, grid, limit, cells dropped at edges."""
        with self._opened() as file:
            return _notes(file)

    def limit(self) -> int | None:
        """Return the `limit` the plan was made with."""
        limit: int | None = self.notes()["limit"]
        return limit

    def groups(
        self, columns: Sequence[str] | None = None, *, kept: bool = False
    ) -> Iterator[pa.Table]:
        """Yield the rows, one row group at a time.

        Args:
            columns: Those to read; None: all.
            kept: Whether to yield only patches that are to be made.
        """
        with self._opened() as file:
            wanted = list(columns or file.schema_arrow.names)
            read = [*wanted, "shard"] if kept and "shard" not in wanted else wanted
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, read)
                if kept:
                    table = table.filter(pc.not_equal(table["shard"], "")).select(wanted)
                yield table

    def table(self, columns: Sequence[str] | None = None, *, kept: bool = False) -> pa.Table:
        """Return rows as `groups` yields them, at once: for few columns, or small plans."""
        return _joined(list(self.groups(columns, kept=kept)))

    def shard_sizes(self) -> dict[str, int]:
        """Return the patches planned per shard, shards in order: `s1-00000`, ..., `s2-00000`."""
        sizes: Counter[str] = Counter()
        for table in self.groups(["shard"], kept=True):
            for one in table["shard"].value_counts().to_pylist():
                sizes[one["values"]] += one["counts"]
        return dict(sorted(sizes.items()))

    def shard_rows(self, shard: str) -> pa.Table:
        """Return the rows of one shard, in shard order, reading the row groups that hold them.

        Raises:
            InputError: The plan has no such shard.
        """
        parts = []
        with self._opened() as file:
            for group in range(file.num_row_groups):
                if not _may_hold(file, group, shard):
                    continue
                mine = pc.equal(file.read_row_group(group, ["shard"])["shard"], shard)
                if pc.any(mine).as_py():
                    parts.append(file.read_row_group(group).filter(mine))
        if not parts:
            raise InputError(f"the plan has no shard {shard!r}")
        return _joined(parts).sort_by("row")

    def shards(self, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """Yield (shard, its rows in shard order) for all shards, in one pass over the file.

        A shard is yielded as soon as it is whole, so only few are held at a time.
        """
        missing = self.shard_sizes()
        parts: dict[str, list[pa.Table]] = {}
        read = list(dict.fromkeys([*columns, "shard", "row"]))
        for table in self.groups(read, kept=True):
            for shard in pc.unique(table["shard"]).to_pylist():
                rows = table.filter(pc.equal(table["shard"], shard))
                parts.setdefault(shard, []).append(rows)
                missing[shard] -= rows.num_rows
                if not missing[shard]:
                    yield shard, _joined(parts.pop(shard)).sort_by("row").select(list(columns))

    def kept_scenes(self) -> Iterator[Scene]:
        """Yield the scenes that kept patches come from, in plan order."""
        last = ""
        for table in self.groups(["scene"], kept=True):
            for text in scene_texts(table):
                if text != last:  # else its rows went on in the next row group
                    yield Scene.from_json(text)
                last = text

    @contextlib.contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self.path) as file:
                _notes(file)
                yield file
        except FileNotFoundError:
            raise InputError(
                f"{self.path}: no such plan; run `landmark fetch ... --plan`"
            ) from None
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{self.path}: cannot be read ({reason}); plan again with --replan"
            ) from None


def scene_texts(table: pa.Table) -> list[str]:
    """Return the distinct scenes of some plan rows as JSON, in order of the rows."""
    scene = table["scene"].combine_chunks()
    texts: list[str] = scene.dictionary.take(pc.unique(scene.indices)).to_pylist()
    return texts


def _notes(file: pq.ParquetFile) -> dict[str, Any]:
    raw = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise InputError("plan.parquet: is no landmark plan")
    notes: dict[str, Any] = json.loads(raw)
    if notes["version"] > PLAN_VERSION:
        raise InputError(
            f"plan.parquet: version {notes['version']} is newer than this program's "
            f"{PLAN_VERSION}; update landmark"
        )
    return notes


def _may_hold(file: pq.ParquetFile, group: int, shard: str) -> bool:
    """Return whether a row group's statistics leave room for a shard."""
    column = file.schema_arrow.get_field_index("shard")
    statistics = file.metadata.row_group(group).column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= shard <= statistics.max)


def _joined(parts: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts).unify_dictionaries()
