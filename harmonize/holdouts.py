"""What train and val must never see: regions, events and years set aside for the gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from harmonize.places import Places
from harmonize.ties import Tie
from landmark.errors import InputError
from landmark.manifest_splits import HoldOut
from landmark.stac_items import open_area


def held_places(places: Places, ties: Sequence[Tie], rules: HoldOut) -> NDArray[np.bool_]:
    """Return (n,) which patches lie in a region held out or have to do with an event held out.

    Raises:
        InputError: A region cannot be read, or an event touches no patch.
    """
    held = np.zeros(len(places), dtype=bool)
    for region in rules.regions:
        shape = open_area(region)
        assert shape is not None
        held |= shape.contains(places.lon, places.lat)
    for event in rules.events:
        rows = _rows_of(event, ties)
        if not rows.size:
            raise InputError(
                f"splits.hold_out.events: no patch has to do with event {event!r}; the ids are "
                "those of the event files (column `events` of labels/)"
            )
        held[rows] = True
    return held


def held_years(years: NDArray[np.int64] | None, rules: HoldOut, patches: int) -> NDArray[np.bool_]:
    """Return (n,) which patches were acquired in a year held out."""
    if years is None or not rules.years:
        return np.zeros(patches, dtype=bool)
    return np.isin(years, rules.years)


def _rows_of(event: str, ties: Sequence[Tie]) -> NDArray[np.int64]:
    found = [np.empty(0, dtype=np.int64)]
    for tie in ties:
        if tie.kind == "event":
            # Keys are `type:id`; a manifest may name either.
            ids = pc.replace_substring_regex(tie.names, pattern="^[^:]*:", replacement="")
            same = pc.or_(pc.equal(ids, event), pc.equal(tie.names, event))
            keys = np.flatnonzero(same.to_numpy(zero_copy_only=False))
            found.append(tie.rows[np.isin(tie.keys, keys)])
    return np.concatenate(found)
