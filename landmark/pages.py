"""One self-contained HTML page from frozen sections: what every report and gallery is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names and values, shown as a definition list."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table; cells are shown as they are, numbers aligned right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture, PNG bytes, embedded in the page."""

    png: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Card:
    """A picture with lines of text under it."""

    png: bytes
    alt: str
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cards:
    """A grid of cards: a contact sheet, a gallery of hits."""

    cards: tuple[Card, ...]


Block = Paragraph | Facts | Table | Figure | Cards


@dataclass(frozen=True)
class Section:
    """A titled part of a page."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
