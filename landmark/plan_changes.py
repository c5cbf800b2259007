"""What differs between two plans of one dataset: what changed upstream, scene by scene."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from landmark.plan_file import PlanFile, scene_texts
from landmark.scenes import Scene

#: Collection and item.
Key = tuple[str, str]
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


def plan_changes(old: PlanFile, new: PlanFile) -> PlanChanges:
    """Return what differs between two plans.

    Of scenes and patches only hashes are held, of scenes that changed also what they say.
    """
    before, after = _scene_hashes(old), _scene_hashes(new)
    differing = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    was, now = _scenes(old, differing), _scenes(new, differing)
    lines = (_line(key[1], was[key], now[key]) for key in sorted(differing))
    patches_before, patches_after = _patch_hashes(old), _patch_hashes(new)
    return PlanChanges(
        appeared=tuple(item for _, item in sorted(after.keys() - before.keys())),
        vanished=tuple(item for _, item in sorted(before.keys() - after.keys())),
        changed=tuple(line for line in lines if line),
        patches_added=int((~np.isin(patches_after, patches_before)).sum()),
        patches_gone=int((~np.isin(patches_before, patches_after)).sum()),
    )


def _line(item: str, was: Scene, now: Scene) -> str:
    facts = [
        f"{name} {_shown(getattr(was, fact))} -> {_shown(getattr(now, fact))}"
        if fact in ("baseline", "generated", "offset", "cloud")
        else name
        for fact, name in _FACTS.items()
        if getattr(was, fact) != getattr(now, fact)
    ]
    return f"{item} ({', '.join(facts)})" if facts else ""


def _all_scenes(plan: PlanFile) -> Iterator[tuple[Key, str]]:
    """Yield collection and item, and the text, of every scene of a plan."""
    for table in plan.groups(["scene"]):
        for text in scene_texts(table):
            scene = Scene.from_json(text)
            yield (scene.collection, scene.item), text


def _scene_hashes(plan: PlanFile) -> dict[Key, int]:
    return {key: xxhash.xxh3_64_intdigest(text.encode()) for key, text in _all_scenes(plan)}


def _scenes(plan: PlanFile, wanted: Set[Key]) -> dict[Key, Scene]:
    return {key: Scene.from_json(text) for key, text in _all_scenes(plan) if key in wanted}


def _patch_hashes(plan: PlanFile) -> NDArray[np.uint64]:
    """Return a hash of the id of each kept patch."""
    parts = [np.empty(0, dtype=np.uint64)]
    for table in plan.groups(["patch_id"], kept=True):
        names = table["patch_id"].to_pylist()
        parts.append(np.fromiter((xxhash.xxh3_64_intdigest(n.encode()) for n in names), np.uint64))
    return np.concatenate(parts)


def _some(items: tuple[str, ...], most: int, joint: str = ", ") -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return joint.join(items[:most]) + more


def _shown(value: object) -> str:
    return "none" if value in (None, "") else str(value)
