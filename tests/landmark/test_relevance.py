from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landmark.relevance import jaccard, judged, relevant

MASK = st.integers(0, 4095)
BITS = range(12)


def classes(mask: int) -> set[int]:
    return {bit for bit in BITS if mask >> bit & 1}


@given(st.lists(st.tuples(MASK, MASK), max_size=20), MASK, MASK)
def test_against_sets(patches: list[tuple[int, int]], wanted: int, absent: int) -> None:
    labels = np.array([p & k for p, k in patches], dtype=np.uint16)
    known = np.array([k for _, k in patches], dtype=np.uint16)
    absent &= ~wanted
    plain = relevant(labels, wanted, absent)
    strict = relevant(labels, wanted, absent, known)
    graded = jaccard(labels, wanted)
    refusing = jaccard(labels, wanted, absent, known)
    decided = judged(labels, known, wanted, absent)
    for i, (label, knows) in enumerate(zip(labels.tolist(), known.tolist(), strict=True)):
        has, knows_of = classes(label), classes(knows)
        want, lack = classes(wanted), classes(absent)
        assert plain[i] == (want <= has and not lack & has)
        assert strict[i] == (plain[i] and lack <= knows_of)
        assert graded[i] == (len(want & has) / len(want | has) if want | has else 0)
        assert refusing[i] == (graded[i] if not lack & has and lack <= knows_of else 0)
        surely_not = bool(want & (knows_of - has)) or bool(lack & has)
        assert decided[i] == (want | lack <= knows_of or surely_not)


def test_dtypes() -> None:
    assert relevant(np.zeros(3, np.uint16), 1).dtype == bool
    assert jaccard(np.array([3], np.uint16), 1).tolist() == [0.5]
