"""What differs between two plans of one dataset: what changed upstream, scene by scene."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from landmark.choosing import KEEP
from landmark.scenes import Scene

#: Facts of a scene whose change is worth a line, and what to call them.
_FACTS = {
    "baseline": "baseline",
    "generated": "processing time",
    "offset": "offset",
    "cloud": "cloud",
    "grid": "pixel grid",
    "bands": "files",
    "footprint": "footprint",
}


@dataclass(frozen=True)
class PlanChanges:
    """What a new plan has that an older one had not, and the reverse.

    Attributes:
        appeared: Items only the new plan knows, in order.
        vanished: Items only the old plan knows, in order.
        changed: One line per item that both know and whose facts differ.
        patches_added: Kept patches only in the new plan.
        patches_gone: Kept patches only in the old plan.
    """

    appeared: tuple[str, ...]
    vanished: tuple[str, ...]
    changed: tuple[str, ...]
    patches_added: int
    patches_gone: int

    def lines(self, most: int = 5) -> list[str]:
        """Return the report in words, at most so many items of each kind named."""
        told = []
        for name, items in (("new", self.appeared), ("gone", self.vanished)):
            if items:
                told.append(f"{len(items)} scenes are {name}: {_some(items, most)}")
        if self.changed:
            told.append(f"{len(self.changed)} scenes changed: {_some(self.changed, most, '; ')}")
        if self.patches_added or self.patches_gone:
            told.append(f"patches: {self.patches_added} added, {self.patches_gone} gone")
        return told or ["nothing changed since the last plan"]


def plan_changes(old: pa.Table, new: pa.Table) -> PlanChanges:
    """Return what differs between two plans."""
    before, after = _scenes(old), _scenes(new)
    changed = []
    for key in sorted(before.keys() & after.keys()):
        facts = [
            f"{name} {_shown(getattr(before[key], fact))} -> {_shown(getattr(after[key], fact))}"
            if fact in ("baseline", "generated", "offset", "cloud")
            else name
            for fact, name in _FACTS.items()
            if getattr(before[key], fact) != getattr(after[key], fact)
        ]
        if facts:
            changed.append(f"{key[1]} ({', '.join(facts)})")
    was, now = _kept(old), _kept(new)
    return PlanChanges(
        appeared=tuple(item for _, item in sorted(after.keys() - before.keys())),
        vanished=tuple(item for _, item in sorted(before.keys() - after.keys())),
        changed=tuple(changed),
        patches_added=int(pc.sum(pc.invert(pc.is_in(now, value_set=was))).as_py() or 0),
        patches_gone=int(pc.sum(pc.invert(pc.is_in(was, value_set=now))).as_py() or 0),
    )


def _scenes(table: pa.Table) -> dict[tuple[str, str], Scene]:
    texts = table.column("scene").combine_chunks()
    used = pc.unique(texts.indices).to_pylist()
    scenes = (Scene.from_json(texts.dictionary[index].as_py()) for index in used)
    return {(scene.collection, scene.item): scene for scene in scenes}


def _kept(table: pa.Table) -> pa.ChunkedArray:
    return table.filter(pc.equal(table.column("status"), KEEP)).column("patch_id")


def _some(items: tuple[str, ...], most: int, joint: str = ", ") -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return joint.join(items[:most]) + more


def _shown(value: object) -> str:
    return "none" if value in (None, "") else str(value)
