"""Whole numbers in texts of strangers: catalogs, archives, environment variables."""

from __future__ import annotations

#: As many always fit into 64 bits; Python refuses to convert some thousand of them.
_MOST = 18


def whole_number(text: str) -> int | None:
    """Return the number that a text of ASCII digits (at most 18) stands for, or None.

    `str.isdigit` alone is no check: it accepts `²`, which is no number to `int`.
    """
    return int(text) if len(text) <= _MOST and text.isascii() and text.isdigit() else None
