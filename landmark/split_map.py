"""The map of a corpus: patch footprints by split, one panel per UTM zone."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

#: Colours (apart also for colour-blind readers), in drawing order.
COLOURS: dict[str, str] = {
    "planned": "#7b8a92",
    "dropped": "#c9ced1",
    "train": "#3b7dd8",
    "val": "#e3a008",
    "corpus": "#0b8a6b",
}
#: Footprints drawn per zone at most: beyond that they lie on each other on any screen.
_MAX_DRAWN = 20_000
_SEAMS = 2_500


@dataclass(frozen=True)
class ZonePatches:
    """The patches of one zone, each frame once per split.

    Attributes:
        epsg: The UTM zone.
        splits: Split of each footprint; `dropped` by a split's buffer, or `planned` before splits.
        corners: (n, 4, 2) longitude, latitude of each footprint's corners, degrees.
    """

    epsg: int
    splits: tuple[str, ...]
    corners: npt.NDArray[np.float64]

    @classmethod
    def of(cls, epsg: int, plan: pa.Table, index: pa.Table | None) -> ZonePatches:
        """Return the patches of a zone.

        Args:
            epsg: The zone.
            plan: Its rows of the plan: `patch_id`, `frame`, `geometry`.
            index: `patch_id` and `split` of all patches, or None before there are splits.
        """
        if index is None:
            split = pa.array(["planned"] * plan.num_rows, pa.string())
        else:
            # Null: planned, but filtered or a hole, so in no split.
            split = pc.fill_null(index["split"], "").take(
                pc.index_in(plan["patch_id"], index["patch_id"])
            )
            split = pc.if_else(pc.equal(split, ""), "dropped", split)
        rows = pa.table({name: plan[name] for name in ("frame", "geometry")} | {"split": split})
        rows = rows.filter(pc.is_valid(rows["split"]))
        each = rows.group_by(["frame", "split"], use_threads=False).aggregate(
            [("geometry", "first")]
        )
        step = max(1, math.ceil(each.num_rows / _MAX_DRAWN))
        drawn = each.take(np.arange(0, each.num_rows, step))
        outlines = shapely.from_wkb(drawn["geometry_first"].to_pylist())
        corners = shapely.get_coordinates(outlines).reshape(-1, 5, 2)[:, :4]
        return cls(epsg, tuple(drawn["split"].to_pylist()), corners)

    def summary(self) -> str:
        """Return the zone's counts in words, for readers who do not see the map."""
        counts = {name: self.splits.count(name) for name in COLOURS if name in self.splits}
        words = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"zone EPSG:{self.epsg}: {words}"


def draw(zones: Sequence[ZonePatches]) -> bytes:
    """Return the map as PNG; equal patches give equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(zones))
    rows = math.ceil(len(zones) / columns)
    figure = Figure(figsize=(10.5 if columns > 1 else 7.5, 4.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for i, zone in enumerate(zones):
        _panel(figure.add_subplot(rows, columns, i + 1), zone)
    names = [name for name in COLOURS if any(name in zone.splits for zone in zones)]
    from matplotlib.patches import Patch

    figure.legend(
        handles=[Patch(color=COLOURS[name], label=name) for name in names],
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()


def _panel(axes: object, zone: ZonePatches) -> None:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection

    assert isinstance(axes, Axes)
    splits = np.array(zone.splits)
    for name, colour in COLOURS.items():
        own = zone.corners[splits == name]
        if len(own):
            # Few footprints are told apart by white seams; among many, an edge of their own
            # colour keeps them visible on the map of a continent.
            edge = "white" if len(splits) <= _SEAMS else colour
            axes.add_collection(PolyCollection(own, facecolor=colour, edgecolor=edge, lw=0.5))
    low, high = zone.corners.min(axis=(0, 1)), zone.corners.max(axis=(0, 1))
    margin = np.maximum((high - low) * 0.04, 0.005)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    # A degree of longitude shrinks with latitude: the map keeps ground shapes.
    axes.set_aspect(1 / max(math.cos(math.radians((low[1] + high[1]) / 2)), 0.05))
    axes.set_title(f"EPSG:{zone.epsg}", fontsize=10)
    axes.tick_params(labelsize=8, color="#9aa3a8")
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(nbins=5)
    axes.set_xlabel("longitude", fontsize=8)
    axes.set_ylabel("latitude", fontsize=8)
    for spine in axes.spines.values():
        spine.set_color("#c9ced1")
