"""What a plan means in requests, bytes and time. Estimates: nothing is opened for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from landmark.choosing import KEEP
from landmark.grid import PIXELS, SIZE_M
from landmark.scenes import Scene
from landmark.schema import S2_RESOLUTION
from landmark.sources import is_url

#: Block edge assumed for files that were not opened (GDAL's COG driver writes 512).
BLOCK_PIXELS = 512
# Stored bytes per raw byte: Deflate with predictor on real Sentinel-2 pieces takes about 0.7,
# float32 radar about 0.9; our own frames of real patches take 0.68 and 0.77 (bitshuffle + LZ4).
_SOURCE_RATIO = {"s1": 0.9, "s2": 0.7}
_KEPT_RATIO = {"s1": 0.77, "s2": 0.68}
_PIXEL_BYTES = {"s1": 4, "s2": 2}
# Rough costs on one 2020s core: decoding a block, encoding a patch, warping a patch; and for
# servers the wait per request with this many in flight per worker.
_BLOCK_S, _PATCH_S, _WARP_S = 0.005, 0.002, 0.02
_REQUEST_S, _IN_FLIGHT = 0.1, 8
_WORKERS = (1, 8)
#: Makes block numbers positive, so that they can be packed into one integer.
_SHIFT = 1 << 18


@dataclass(frozen=True)
class PlanSummary:
    """A plan in numbers.

    Attributes:
        patches: Patches to make.
        scenes: Scenes they come from.
        requests: Reads, estimated: one per header and one per block (an upper bound, since
            neighbouring blocks are read together).
        bytes_read: Estimated.
        bytes_kept: Estimated.
        plan_seconds: How long planning took; 0 for a plan that was there already.
        estimate: Workers -> estimated seconds.
        statuses: Status -> candidate patches.
    """

    patches: int
    scenes: int
    requests: int
    bytes_read: int
    bytes_kept: int
    plan_seconds: float
    estimate: dict[str, float]
    statuses: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return `{patches, scenes, requests, bytes_read, bytes_kept, plan_seconds, estimate}`."""
        return {
            "patches": self.patches,
            "scenes": self.scenes,
            "requests": self.requests,
            "bytes_read": self.bytes_read,
            "bytes_kept": self.bytes_kept,
            "plan_seconds": round(self.plan_seconds, 3),
            "estimate": self.estimate,
        }


def summarise(table: pa.Table, plan_seconds: float = 0.0) -> PlanSummary:
    """Return what a plan means.

    Args:
        table: The plan.
        plan_seconds: How long making it took.
    """
    statuses = {
        value["values"]: value["counts"]
        for value in table.column("status").value_counts().to_pylist()
    }
    kept = table.select(["status", "scene", "epsg", "x_min", "y_max", "resampling"])
    kept = kept.filter(pc.equal(kept.column("status"), KEEP))
    texts = kept.column("scene").combine_chunks()
    index = texts.indices.to_numpy()
    used, scene = np.unique(index, return_inverse=True)
    scenes = [Scene.from_json(texts.dictionary[int(number)].as_py()) for number in used]
    corners = _corners(kept, scenes, scene)
    blocks, nbytes, requests, remote_requests, keep_bytes = 0, 0.0, 0, 0, 0.0
    per_scene = np.bincount(scene, minlength=len(scenes))
    counts = {size: _blocks(corners, scene, len(scenes), size) for size in (10, 20, 60)}
    for number, one in enumerate(scenes):
        for asset in (*one.bands, *((one.scl,) if one.scl else ())):
            size = S2_RESOLUTION.get(asset.band, 10)
            count = int(counts[size][number])
            blocks += count
            requests += count + 1
            remote_requests += (count + 1) * is_url(asset.href)
            pixel_bytes = 1 if asset.band == "SCL" else _PIXEL_BYTES[one.sensor]
            nbytes += count * _block_pixels(one, size) * pixel_bytes * _SOURCE_RATIO[one.sensor]
            side = PIXELS * 10 // size
            keep_bytes += per_scene[number] * side**2 * pixel_bytes * _KEPT_RATIO[one.sensor]
    warped = int(pc.sum(pc.equal(kept.column("resampling"), "bilinear")).as_py() or 0)
    work = blocks * _BLOCK_S + kept.num_rows * _PATCH_S + warped * _WARP_S
    seconds = work + remote_requests * _REQUEST_S / _IN_FLIGHT
    return PlanSummary(
        patches=kept.num_rows,
        scenes=len(scenes),
        requests=requests,
        bytes_read=round(nbytes),
        bytes_kept=round(keep_bytes),
        plan_seconds=plan_seconds,
        estimate={str(n): round(seconds / n, 1) for n in _WORKERS},
        statuses=dict(sorted(statuses.items())),
    )


def _corners(
    kept: pa.Table, scenes: list[Scene], scene: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each frame's distance east and south of its scene's upper-left corner, m.

    A frame in another CRS counts from that CRS's own origin: near enough to count blocks.
    """
    x, y = kept.column("x_min").to_numpy(), -kept.column("y_max").to_numpy()
    grids = [one.grid for one in scenes]
    epsg = np.array([grid.epsg if grid else 0 for grid in grids])
    west = np.array([grid.transform[2] if grid else 0.0 for grid in grids])
    north = np.array([grid.transform[5] if grid else 0.0 for grid in grids])
    same = kept.column("epsg").to_numpy() == epsg[scene]
    return x - np.where(same, west[scene], 0), y + np.where(same, north[scene], 0)


def _blocks(
    corners: tuple[NDArray[np.float64], NDArray[np.float64]],
    scene: NDArray[np.int64],
    scenes: int,
    size: int,
) -> NDArray[np.int64]:
    """Return how many distinct blocks of one band each scene's frames touch."""
    edge = BLOCK_PIXELS * size
    far = SIZE_M - size
    x, y = corners
    codes = [
        (scene << 40)
        + ((((x + dx) // edge).astype(np.int64) + _SHIFT) << 20)
        + (((y + dy) // edge).astype(np.int64) + _SHIFT)
        for dx in (0.0, far)
        for dy in (0.0, far)
    ]
    distinct = np.unique(np.concatenate(codes))
    counts: NDArray[np.int64] = np.bincount(distinct >> 40, minlength=scenes)
    return counts


def _block_pixels(scene: Scene, size: int) -> int:
    """Return the pixels of a block: a whole one, or the whole file where that is smaller."""
    if scene.grid is None or abs(scene.grid.transform[0]) < 1:
        return BLOCK_PIXELS**2
    shrink = max(1.0, size / abs(scene.grid.transform[0]))
    width = min(BLOCK_PIXELS, round(scene.grid.width / shrink))
    return width * min(BLOCK_PIXELS, round(scene.grid.height / shrink))
