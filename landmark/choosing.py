"""Which scenes, and which of several looks at one cell, are kept. Pure functions.

Every choice follows a stated order that ends with the item id, so a plan never depends on the
order of a search answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from landmark.manifest import S1_BANDS, Manifest
from landmark.scenes import Scene

KEEP = "keep"
#: Two scenes of one platform, tile and second are the same look if they share this much ground
#: (of the smaller one). Pieces cut from one tile share none; the two halves of a tile that a
#: datastrip border cuts share little.
SAME_GROUND = 0.5
#: No ground is seen twice within this time by one platform: closer rows are one overpass.
OVERPASS_S = 600


@dataclass(frozen=True)
class Choice:
    """A scene and what becomes of it.

    Attributes:
        scene: The scene.
        status: `keep`, or the rule that rejects it.
        reason: Why, in words; "" for `keep`.
        variant: Appended to patch ids so that `duplicates: all` keeps them apart, or "".
    """

    scene: Scene
    status: str = KEEP
    reason: str = ""
    variant: str = ""


def choose_scenes(
    scenes: Sequence[Scene], manifest: Manifest, refused: Mapping[int, tuple[str, str]]
) -> list[Choice]:
    """Return a choice for each scene, in the order given.

    Args:
        scenes: All scenes found.
        manifest: Its rules.
        refused: Position of a scene -> (status, reason) already decided.
    """
    choices = []
    for index, scene in enumerate(scenes):
        status, reason = refused.get(index) or _rejected(scene, manifest)
        choices.append(Choice(scene, status, reason))
    kept = [c.scene if c.status == KEEP else None for c in choices]
    pinned = manifest.pinned_baseline
    for loser, winner in _duplicates(kept, pinned):
        scene = scenes[loser]
        if manifest.duplicates != "all":
            choices[loser] = Choice(scene, "duplicate", _why(scenes[winner], scene, pinned))
        else:
            choices[loser] = Choice(scene, variant=_variant(scene))
    return choices


def one_per_overpass(
    frame: NDArray[np.integer],
    platform: NDArray[np.integer],
    time_s: NDArray[np.int64],
    preference: Sequence[NDArray[np.generic]],
) -> NDArray[np.int64]:
    """Return for each row the row that stands for its frame and overpass.

    Rows of one frame and platform no more than `OVERPASS_S` apart are one overpass (tiles and
    slices overlap); the row that sorts first by `preference` stands for all of them.

    Args:
        frame: Frame number of each row.
        platform: Platform number (different for each variant that is to be kept apart).
        time_s: Acquisition, s.
        preference: Arrays, most important first; the smallest value wins.
    """
    order = np.lexsort((time_s, platform, frame))
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (
        (np.diff(frame[order]) != 0)
        | (np.diff(platform[order]) != 0)
        | (np.diff(time_s[order]) > OVERPASS_S)
    )
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(starts) - 1
    ranked = np.lexsort((*reversed(preference), group))
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(group[ranked]) != 0
    return ranked[first][group]


def best_of_period(
    frame: NDArray[np.integer],
    period: NDArray[np.integer],
    preference: Sequence[NDArray[np.generic]],
) -> NDArray[np.int64]:
    """Return for each row the row that stands for its frame and period.

    Args:
        frame: Frame number of each row (different for each sensor).
        period: Period number of each row.
        preference: Arrays, most important first; the smallest value wins. The last must tell
            all rows apart, or the order of rows would.
    """
    ranked = np.lexsort((*reversed(preference), period, frame))
    first = np.ones(len(ranked), dtype=bool)
    first[1:] = (np.diff(frame[ranked]) != 0) | (np.diff(period[ranked]) != 0)
    best = np.empty(len(ranked), dtype=np.int64)
    best[ranked] = ranked[first][np.cumsum(first) - 1]
    return best


def lacking_polarisation(scene: Scene) -> tuple[str, str] | None:
    """Return status and reason of a Sentinel-1 scene that lacks VV or VH, else None."""
    missing = [band for band in S1_BANDS if band not in scene.polarisations]
    if scene.sensor != "s1" or not missing:
        return None
    return "polarisation", f"has {','.join(scene.polarisations)}, lacks {missing[0]}"


def _rejected(scene: Scene, manifest: Manifest) -> tuple[str, str]:
    source = manifest.s1 if scene.sensor == "s1" else manifest.s2
    assert source is not None
    lacking = lacking_polarisation(scene)
    if lacking is not None:
        return lacking
    if source.orbit_state is not None and scene.orbit_state != source.orbit_state:
        return "orbit", f"orbit is {scene.orbit_state or 'not stated'}, not {source.orbit_state}"
    if manifest.s1 is not None and scene.sensor == "s1":
        wanted = manifest.s1.relative_orbit
        if wanted is not None and scene.relative_orbit != wanted:
            stated = "not stated" if scene.relative_orbit is None else str(scene.relative_orbit)
            return "orbit", f"relative orbit is {stated}, not {wanted}"
    if manifest.s2 is not None and scene.sensor == "s2" and scene.cloud is not None:
        limit = manifest.s2.max_scene_cloud
        if scene.cloud > limit:
            return "cloud", f"scene cloud {scene.cloud:.3f} is above {limit:g}"
    if manifest.s2 is not None and scene.sensor == "s2" and scene.snow is not None:
        limit = manifest.s2.max_scene_snow
        if scene.snow > limit:
            return "snow", f"scene snow {scene.snow:.3f} is above {limit:g}"
    return KEEP, ""


def _duplicates(scenes: Sequence[Scene | None], pinned: str | None) -> list[tuple[int, int]]:
    """Return (loser, winner) positions.

    The pinned baseline wins, then the newest baseline, the newest processing, the item id.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, scene in enumerate(scenes):
        if scene is not None:
            key = (scene.sensor, scene.platform, scene.mgrs, scene.time)
            groups.setdefault(key, []).append(index)
    pairs = []
    for group in groups.values():
        ranked = sorted(
            group, key=lambda i: (_present(scenes[i]).baseline != pinned, _age(_present(scenes[i])))
        )
        winners: list[int] = []
        for index in ranked:
            scene = _present(scenes[index])
            winner = next((w for w in winners if _same_ground(_present(scenes[w]), scene)), None)
            if winner is None:
                winners.append(index)
            else:
                pairs.append((index, winner))
    return pairs


def _present(scene: Scene | None) -> Scene:
    assert scene is not None
    return scene


def _age(scene: Scene) -> tuple[float, tuple[int, ...], str, str, str]:
    """Return a key that sorts the newest processing first."""
    baseline = float(scene.baseline) if scene.baseline else -1.0
    newest = tuple(-ord(character) for character in scene.generated) or (0,)
    return (-baseline, newest, scene.item, scene.collection, scene.to_json())


def _same_ground(one: Scene, other: Scene) -> bool:
    if one.footprint is None or other.footprint is None:
        return one.grid == other.grid
    first, second = shapely.from_wkt(one.footprint), shapely.from_wkt(other.footprint)
    smaller = min(first.area, second.area)
    return bool(first.intersection(second).area >= SAME_GROUND * smaller)


def _why(winner: Scene, loser: Scene, pinned: str | None) -> str:
    if pinned is not None and winner.baseline == pinned != loser.baseline:
        return f"{winner.item} has the pinned baseline {pinned}"
    if winner.baseline != loser.baseline:
        return f"{winner.item} has the newer baseline {winner.baseline}"
    if winner.generated != loser.generated:
        return f"{winner.item} was processed later ({winner.generated})"
    return f"{winner.item} is the same acquisition and comes first by name"


def _variant(scene: Scene) -> str:
    """Return what tells a reprocessed scene's patches from the newest one's."""
    parts = [f"N{scene.baseline.replace('.', '')}"] if scene.baseline else []
    if scene.generated:
        parts.append("G" + "".join(c for c in scene.generated if c.isalnum()).rstrip("Z"))
    return "_".join(parts) or "older"
