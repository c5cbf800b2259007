"""How a query was understood, in lines for people."""

from __future__ import annotations

from collections.abc import Iterable

from baselines.closp import Kind
from baselines.translation import Reading, Request

_BY: dict[str, str] = {"synonym": "synonym", "meaning": "by meaning", "guess": "a guess"}


def lines_of(request: Request, kind: Kind) -> tuple[str, ...]:
    """Return what a search says of its text: what is what, what is free text, what is ignored.

    Args:
        request: The text in classes.
        kind: Of the run asked: one without an embedding cannot be asked free text.
    """
    lines = []
    wanted = [reading for reading in request.readings if reading.classes and not reading.absent]
    excluded = [reading for reading in request.readings if reading.absent]
    if wanted:
        lines.append(f"looking for {_listed(wanted)}")
    if excluded:
        lines.append(f"without {_listed(excluded)}")
    free = [f'"{reading.words}"' for reading in request.readings if not reading.classes]
    if free:
        how = (
            "left out: this run knows classes only"
            if kind == "classes"
            else "asked as free text, which counts for less"
        )
        lines.append(f"near no class: {', '.join(free)} ({how})")
    for why in dict.fromkeys(ignored.why for ignored in request.ignored):
        words = dict.fromkeys(f'"{i.words}"' for i in request.ignored if i.why == why)
        lines.append(f"ignored {', '.join(words)}: {why}")
    return tuple(lines)


def _listed(readings: Iterable[Reading]) -> str:
    return ", ".join(_shown(reading) for reading in readings)


def _shown(reading: Reading) -> str:
    names = " or ".join(reading.classes)
    if reading.how not in _BY:
        return names
    return f'{names} ("{reading.words}": {_BY[reading.how]})'
