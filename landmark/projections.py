"""Transformers between CRSs, made once per thread.

A Transformer is a pure function of its two CRSs, but making one opens PROJ's database (about
0.1 s, four fifths of the time of labelling a shard), and pyproj does not allow threads to share
one. So each thread keeps those it made; nothing but time depends on it.
"""

from __future__ import annotations

import threading
from typing import Any

#: Enough for all UTM zones of a continent and a few label CRSs.
_KEPT = 64
_made = threading.local()


def transformer(source: int | str, target: int | str) -> Any:
    """Return the pyproj Transformer between two CRSs, x before y.

    Args:
        source: EPSG code, WKT or another text PROJ reads.
        target: The same.
    """
    import pyproj

    kept: dict[tuple[int | str, int | str], Any] = _made.__dict__.setdefault("transformers", {})
    key = (source, target)
    if key not in kept:
        if len(kept) >= _KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return kept[key]


def same_crs(one: int | str, other: int | str) -> bool:
    """Tell whether two CRSs are one, whatever the order of their axes."""
    import pyproj

    return pyproj.CRS.from_user_input(one).equals(
        pyproj.CRS.from_user_input(other), ignore_axis_order=True
    )


def is_geographic(crs: int | str) -> bool:
    """Tell whether a CRS has degrees."""
    import pyproj

    return bool(pyproj.CRS.from_user_input(crs).is_geographic)
