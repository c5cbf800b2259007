"""Has anything changed upstream since the plan was made?"""

from __future__ import annotations

from collections.abc import Sequence

from landmark import hdf5
from landmark.errors import LandmarkError
from landmark.pixels import read_header
from landmark.scenes import Scene
from landmark.sources import Roots


def upstream_changes(scenes: Sequence[Scene], roots: Roots) -> list[str]:
    """Return one line per scene whose files are gone or no longer have the planned pixel grid.

    Every band file of a scene is opened (its header only).
    """
    changes = []
    for scene in scenes:
        for asset in scene.bands:
            try:
                path = roots.resolve(scene.sensor, asset.href)
                if scene.form == "array":
                    hdf5.read_dataset(path)
                    continue
                grid = read_header(path, scene.grid)
            except LandmarkError as error:
                changes.append(f"{scene.item} {asset.band}: {error}")
                break
            if asset is scene.bands[0] and scene.grid is not None and grid.epsg != scene.grid.epsg:
                changes.append(f"{scene.item}: CRS was EPSG:{scene.grid.epsg}, now {grid.epsg}")
                break
    return changes
