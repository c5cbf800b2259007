"""Has anything changed upstream since the plan was made?"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from landmark import hdf5, pixels
from landmark.errors import LandmarkError
from landmark.jobs import map_ahead
from landmark.radiometry import offset_evidence
from landmark.scene_facts import READERS, finest_band
from landmark.scenes import Scene
from landmark.sources import Roots, is_url


def upstream_changes(scenes: Iterable[Scene], roots: Roots) -> list[str]:
    """Return one line per scene whose files are not what was planned, in the order given.

    Every band's header is opened. Its CRS, and the whole pixel grid of the finest band, must be
    the planned ones; and a remote Sentinel-2 scene's dark pixels must say the same of the offset,
    since archives are reprocessed under the same names.
    """
    found = map_ahead(partial(_change, roots=roots), scenes, READERS)
    return [line for line in found if line]


def _change(scene: Scene, roots: Roots) -> str:
    signer = roots.signer(scene.sensor)
    resolve = partial(roots.resolve, scene.sensor)
    planned = scene.grid
    finest = finest_band(scene)
    for asset in scene.bands:
        try:
            path = resolve(asset.href)
            if scene.form == "array":
                hdf5.read_dataset(path)
                continue
            grid = pixels.read_header(path, signer, grid=planned)
        except LandmarkError as error:
            return f"{scene.item} {asset.band}: {error}"
        if planned is None:
            continue
        if grid.epsg != planned.epsg:
            return f"{scene.item}: CRS was EPSG:{planned.epsg}, now {grid.epsg}"
        if asset is finest and (grid.transform, grid.width, grid.height) != (
            planned.transform,
            planned.width,
            planned.height,
        ):
            return f"{scene.item} {asset.band}: lies on another pixel grid than planned"
    if not scene.offset_evidence or not is_url(finest.href):
        return ""
    try:
        low = pixels.low_percentiles(scene, resolve, signer=signer)
    except LandmarkError as error:
        return f"{scene.item}: {error}"
    evidence = offset_evidence(low, scene.offset)
    if evidence != scene.offset_evidence:
        return (
            f"{scene.item}: dark pixels said {scene.offset_evidence} of offset {scene.offset}, "
            f"now {evidence}: it was reprocessed"
        )
    return ""
