"""What a plan means in requests, bytes and time: estimates from its scenes' headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from landmark.choosing import KEEP
from landmark.grid import PIXELS, SIZE_M
from landmark.plan_map import text_map
from landmark.scenes import Scene
from landmark.schema import S2_RESOLUTION
from landmark.sources import is_url
from landmark.throttle import KNOWN_RATES, host_of

#: What a summary reads of a plan.
SUMMARY_COLUMNS = (
    "sensor", "status", "scene", "epsg", "x_min", "y_max", "lon", "lat", "resampling",
)  # fmt: skip
#: Block edge assumed where the header does not say (GDAL's COG driver writes 512).
BLOCK_PIXELS = 512
# Stored bytes per raw byte: Deflate with predictor on real Sentinel-2 pieces takes about 0.7,
# float32 radar about 0.9; our own frames of real patches take 0.66 and 0.79
# (benchmarks/size.py, profile `training`: 105.9 of 160.0 KB, 90.7 of 115.2 KB).
_SOURCE_RATIO = {"s1": 0.9, "s2": 0.7}
_KEPT_RATIO = {"s1": 0.79, "s2": 0.66}
_PIXEL_BYTES = {"s1": 4, "s2": 2}
# Rough costs on one 2020s core: decoding a block, encoding a patch, warping a patch; and for
# servers the wait per request with this many in flight per worker.
_BLOCK_S, _PATCH_S, _WARP_S = 0.005, 0.002, 0.02
_REQUEST_S, _IN_FLIGHT = 0.1, 8
_WORKERS = (1, 2, 4, 8, 16, 32)
#: Harmonize copies the image frames as bytes and adds labels, captions and an index: bytes a
#: patch in the synthetic demo dataset. Patches that the split's buffer drops are not known here.
_LABEL_BYTES = 300
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
        bytes_kept: Estimated size of `patches/`.
        bytes_corpus: Estimated size of `shards/` after harmonize, which holds the images again.
        plan_seconds: How long planning took; 0 for a plan that was there already.
        estimate: Workers -> estimated seconds.
        statuses: Sensor -> status -> candidate patches.
        map: Lines that show where the kept patches lie.
    """

    patches: int
    scenes: int
    requests: int
    bytes_read: int
    bytes_kept: int
    bytes_corpus: int
    plan_seconds: float
    estimate: dict[str, float]
    statuses: dict[str, dict[str, int]]
    map: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name, as `fetch --plan --json` shows them."""
        return {
            "patches": self.patches,
            "scenes": self.scenes,
            "requests": self.requests,
            "bytes_read": self.bytes_read,
            "bytes_kept": self.bytes_kept,
            "bytes_corpus": self.bytes_corpus,
            "plan_seconds": round(self.plan_seconds, 3),
            "estimate": self.estimate,
            "statuses": self.statuses,
        }


@dataclass(frozen=True)
class _Cost:
    """What some scenes of a plan cost; costs of different scenes add up."""

    patches: int = 0
    warped: int = 0
    scenes: int = 0
    blocks: int = 0
    requests: int = 0
    bytes_read: float = 0.0
    bytes_kept: float = 0.0
    asked: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(
            patches=self.patches + other.patches,
            warped=self.warped + other.warped,
            scenes=self.scenes + other.scenes,
            blocks=self.blocks + other.blocks,
            requests=self.requests + other.requests,
            bytes_read=self.bytes_read + other.bytes_read,
            bytes_kept=self.bytes_kept + other.bytes_kept,
            asked=Counter(self.asked) + Counter(other.asked),
        )

    def seconds(self, workers: int) -> float:
        """Return the estimated time of so many workers."""
        work = self.blocks * _BLOCK_S + self.patches * _PATCH_S + self.warped * _WARP_S
        waiting = sum(self.asked.values()) * _REQUEST_S / _IN_FLIGHT
        # Workers share what a host allows: no number of them is faster than that.
        limits = [n / KNOWN_RATES[host] for host, n in self.asked.items() if host in KNOWN_RATES]
        return max((work + waiting) / workers, *limits, 0.0)


def summarise(groups: Iterable[pa.Table], plan_seconds: float = 0.0) -> PlanSummary:
    """Return what a plan means.

    Args:
        groups: The plan's rows with `SUMMARY_COLUMNS`, scene by scene, in parts of any size.
        plan_seconds: How long making it took.
    """
    statuses: Counter[tuple[str, str]] = Counter()
    cost = _Cost()
    lon, lat = [np.empty(0)], [np.empty(0)]
    for kept in _whole_scenes(_kept(groups, statuses)):
        cost += _cost(kept)
        lon.append(kept["lon"].to_numpy())
        lat.append(kept["lat"].to_numpy())
    return PlanSummary(
        patches=cost.patches,
        scenes=cost.scenes,
        requests=cost.requests,
        bytes_read=round(cost.bytes_read),
        bytes_kept=round(cost.bytes_kept),
        bytes_corpus=round(cost.bytes_kept + cost.patches * _LABEL_BYTES),
        plan_seconds=plan_seconds,
        estimate={str(n): round(cost.seconds(n), 1) for n in _WORKERS},
        statuses=_by_sensor(statuses),
        map=text_map(np.concatenate(lon), np.concatenate(lat)),
    )


def _kept(groups: Iterable[pa.Table], statuses: Counter[tuple[str, str]]) -> Iterator[pa.Table]:
    """Yield the rows that are kept, counting all by sensor and status."""
    for table in groups:
        counted = table.select(["sensor", "status"]).group_by(["sensor", "status"])
        for row in counted.aggregate([([], "count_all")]).to_pylist():
            statuses[row["sensor"], row["status"]] += row["count_all"]
        yield table.filter(pc.equal(table["status"], KEEP))


def _by_sensor(statuses: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    counted: dict[str, dict[str, int]] = {}
    for (sensor, status), count in sorted(statuses.items()):
        counted.setdefault(sensor, {})[status] = count
    return counted


def _whole_scenes(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield rows that come scene by scene cut anew, so that no scene is in two parts."""
    held: pa.Table | None = None
    for part in parts:
        if not part.num_rows:
            continue
        rows = part if held is None else pa.concat_tables([held, part]).unify_dictionaries()
        scene = rows["scene"].combine_chunks().indices.to_numpy()
        others = np.flatnonzero(scene != scene[-1])
        cut = int(others[-1]) + 1 if len(others) else 0
        if cut:
            yield rows.slice(0, cut)
        held = _of_one_scene(rows.slice(cut))
    if held is not None:
        yield held


def _of_one_scene(rows: pa.Table) -> pa.Table:
    """Return rows of one scene without the texts of others, which would be carried on and on."""
    text = rows["scene"][0].as_py()
    scene = pa.DictionaryArray.from_arrays(np.zeros(rows.num_rows, dtype=np.int32), [text])
    return rows.set_column(rows.schema.get_field_index("scene"), rows.schema.field("scene"), scene)


def _cost(kept: pa.Table) -> _Cost:
    """Return the cost of the kept rows of some scenes, each of them whole."""
    texts = kept["scene"].combine_chunks()
    used, scene = np.unique(texts.indices.to_numpy(), return_inverse=True)
    scenes = [Scene.from_json(text) for text in texts.dictionary.take(used).to_pylist()]
    corners = _corners(kept, scenes, scene)
    per_scene = np.bincount(scene, minlength=len(scenes))
    edges = np.array([_block_edge(one) for one in scenes])
    counts = {size: _blocks(corners, scene, edges, size) for size in (10, 20, 60)}
    blocks, nbytes, requests, keep_bytes = 0, 0.0, 0, 0.0
    asked: Counter[str] = Counter()
    for number, one in enumerate(scenes):
        for asset in (*one.bands, *((one.scl,) if one.scl else ())):
            size = S2_RESOLUTION.get(asset.band, 10)
            count = int(counts[size][number])
            blocks += count
            requests += count + 1
            if is_url(asset.href):
                asked[host_of(asset.href)] += count + 1
            pixel_bytes = 1 if asset.band == "SCL" else _PIXEL_BYTES[one.sensor]
            nbytes += count * _block_pixels(one, size) * pixel_bytes * _SOURCE_RATIO[one.sensor]
            side = PIXELS * 10 // size
            keep_bytes += per_scene[number] * side**2 * pixel_bytes * _KEPT_RATIO[one.sensor]
    return _Cost(
        patches=kept.num_rows,
        warped=int(pc.sum(pc.equal(kept["resampling"], "bilinear")).as_py() or 0),
        scenes=len(scenes),
        blocks=blocks,
        requests=requests,
        bytes_read=nbytes,
        bytes_kept=float(keep_bytes),
        asked=asked,
    )


def _block_edge(scene: Scene) -> int:
    return (scene.grid.block if scene.grid is not None else 0) or BLOCK_PIXELS


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
    edges: NDArray[np.int64],
    size: int,
) -> NDArray[np.int64]:
    """Return how many distinct blocks (of `edges` pixels by scene) of one band frames touch."""
    edge = edges[scene] * size
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
    counts: NDArray[np.int64] = np.bincount(distinct >> 40, minlength=len(edges))
    return counts


def _block_pixels(scene: Scene, size: int) -> int:
    """Return the pixels of a block: a whole one, or the whole file where that is smaller."""
    edge = _block_edge(scene)
    if scene.grid is None or abs(scene.grid.transform[0]) < 1:
        return edge**2
    shrink = max(1.0, size / abs(scene.grid.transform[0]))
    width = min(edge, round(scene.grid.width / shrink))
    return width * min(edge, round(scene.grid.height / shrink))
