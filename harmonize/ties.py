"""What ties patches together besides the ground: scenes, passes, events and S1-S2 pairs.

Patches of one scene share its air, its sun and its processing; those of one event the same flood.
A model that saw some of them has seen something of the others, however far apart they lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Kind = Literal["scene", "datatake", "event", "pair"]
#: All kinds, in the order in which they are given up where patches cannot be split otherwise,
#: last one first: an S1-S2 pair shows the same ground at the same time, a pass may be as long as
#: a continent.
KINDS: tuple[Kind, ...] = ("pair", "event", "scene", "datatake")


@dataclass(frozen=True)
class Tie:
    """All ties of one kind: patch `rows[i]` carries key `keys[i]`, and equal keys are tied.

    Attributes:
        kind: What ties.
        rows: (m,) int64, patches.
        keys: (m,) int64, position in `names`.
        names: Names of the keys (scene, pass, event, or a patch of the pair).
    """

    kind: Kind
    rows: NDArray[np.int64]
    keys: NDArray[np.int64]
    names: pa.Array

    def within(self, rows: NDArray[np.bool_]) -> Tie:
        """Return the ties of some of the patches (which keep their numbers)."""
        kept = rows[self.rows]
        return Tie(self.kind, self.rows[kept], self.keys[kept], self.names)


def ties_of(table: pa.Table) -> tuple[Tie, ...]:
    """Return the ties of all kinds between the rows of an index.

    Args:
        table: With the columns `patch_id`, `scene`, `datatake`, `event_ids` and `partner_id`.
    """
    return (
        _pairs(table["patch_id"], table["partner_id"]),
        _events(table["event_ids"]),
        _column("scene", table["scene"]),
        _column("datatake", table["datatake"]),
    )


def components(
    units: NDArray[np.int64], count: int, ties: Iterable[Tie]
) -> tuple[int, NDArray[np.int64]]:
    """Return how many connected components units form, and the component of each.

    Args:
        units: (n,) int64, unit of each patch.
        count: Number of units.
        ties: What connects the units of patches that share a key.
    """
    edges: list[NDArray[np.int64]] = [np.empty((2, 0), dtype=np.int64)]
    nodes = count
    for tie in ties:
        edges.append(np.stack([units[tie.rows], nodes + tie.keys]))
        nodes += len(tie.names)
    ends = np.concatenate(edges, axis=1)
    graph = coo_matrix((np.ones(ends.shape[1], dtype=np.int8), ends), shape=(nodes, nodes))
    _, label = connected_components(graph, directed=False)
    # Keys that no patch carries are components of their own; count those of units only.
    used, member = np.unique(label[:count], return_inverse=True)
    return used.size, member.astype(np.int64)


def passes(
    platform: Sequence[str | None], orbit: NDArray[np.float64], time: NDArray[np.datetime64]
) -> list[str]:
    """Return the name of the pass (datatake) of each patch, as `S2A_R022_2021-07-14`.

    A satellite flies a relative orbit once per repeat cycle (10 days or 12), so that platform,
    relative orbit and day name a pass; one that crosses midnight is named by its first day where
    both days occur. Without a relative orbit the second of acquisition names it, which all tiles
    of a Sentinel-2 datatake share.

    Args:
        platform: Platform, None where not known.
        orbit: Relative orbit, NaN where not known.
        time: datetime64[us], UTC.
    """
    days = time.astype("datetime64[D]").astype(np.int64)
    lacking = np.flatnonzero(np.isnan(orbit))
    moments = np.datetime_as_string(time[lacking].astype("datetime64[s]")).tolist()
    seconds = dict(zip(lacking.tolist(), moments, strict=True))
    known = {
        (name, number, day)
        for name, number, day in zip(platform, orbit.tolist(), days.tolist(), strict=True)
        if number == number
    }
    names = []
    shared: dict[str, str] = {}  # each name once in memory, however many patches carry it
    for row, (name, number, day) in enumerate(
        zip(platform, orbit.tolist(), days.tolist(), strict=True)
    ):
        if number != number:
            own = f"{name or 'unknown'}_{seconds[row]}"
        else:
            first = day - 1 if (name, number, day - 1) in known else day
            own = f"{name or 'unknown'}_R{int(number):03d}_{np.datetime64(first, 'D')}"
        names.append(shared.setdefault(own, own))
    return names


def _column(kind: Kind, values: pa.ChunkedArray) -> Tie:
    codes, names = _encode(values)
    rows = np.flatnonzero(codes >= 0)
    return Tie(kind, rows, codes[rows], names)


def _events(values: pa.ChunkedArray) -> Tie:
    rows = np.asarray(pc.list_parent_indices(values), dtype=np.int64)
    codes, names = _encode(pc.list_flatten(values))
    return Tie("event", rows, codes, names)


def _pairs(patch_ids: pa.ChunkedArray, pair_ids: pa.ChunkedArray) -> Tie:
    """Tie each patch to its partner; the pair has the name of that of them that comes first."""
    ids = patch_ids.combine_chunks()
    partner = pc.fill_null(pc.index_in(pair_ids, value_set=ids), -1).to_numpy().astype(np.int64)
    own = np.flatnonzero(partner >= 0)
    low, high = np.minimum(own, partner[own]), np.maximum(own, partner[own])
    # A pair that both of its patches name is one pair.
    pairs = np.unique(low * max(len(ids), 1) + high)
    low, high = np.divmod(pairs, max(len(ids), 1))
    keys = np.arange(pairs.size)
    names = ids.take(pa.array(low))
    return Tie("pair", np.concatenate([low, high]), np.concatenate([keys, keys]), names)


def _encode(values: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.Array]:
    encoded = pa.chunked_array([values.combine_chunks()]).dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return np.empty(0, dtype=np.int64), pa.array([], pa.string())
    chunk = encoded.combine_chunks()
    chunk = chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk
    codes = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, chunk.dictionary
