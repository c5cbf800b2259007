"""BigEarthNet's label names: what a list of them says, and what it cannot say.

The 43 names are CORINE's, so the crosswalk `corine` reads them. The 19 names drop eleven CORINE
classes: that none of them is listed does not mean that the ground lacks them.
"""

from __future__ import annotations

from harmonize.crosswalks import Crosswalk, load_crosswalk
from landmark.taxonomy import mask_of

#: CORINE codes that have no name among the 19 (BigEarthNet's own class table).
DROPPED = (122, 123, 124, 131, 132, 133, 141, 142, 332, 334, 423)


def undecided(crosswalk: Crosswalk) -> int:
    """Return the classes whose absence a list of labels cannot prove, as a mask."""
    if crosswalk.source != "ben-19":
        return 0
    rows = load_crosswalk("corine", "corine").rows
    return mask_of({row.label for row in rows if row.code in DROPPED and row.label is not None})
