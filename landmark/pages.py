"""One self-contained HTML page from frozen sections: what every report and gallery is made of."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib import resources

import jinja2


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
    """A table; columns of numbers are aligned right, floats shown to 4 digits, None as a dash."""

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


def render(page: Page) -> str:
    """Return a page as one HTML document that needs nothing else.

    Style and pictures are inside; text is escaped; the page forbids itself every network access
    (content security policy) and follows the reader's light or dark setting.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["cell"] = cell_text
    environment.filters["numeric_columns"] = numeric_columns
    environment.filters["png_uri"] = _png_uri
    source = (resources.files("landmark") / "page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).render(page=page)


def cell_text(value: str | int | float | None) -> str:
    """Return a table cell as shown: floats to 4 digits, None and NaN (not known) as a dash."""
    if value is None or value != value:  # NaN
        return "\N{EN DASH}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def numeric_columns(table: Table) -> frozenset[int]:
    """Return the positions of the columns that hold numbers, and perhaps unknown values."""
    return frozenset(
        i
        for i in range(len(table.columns))
        if any(isinstance(row[i], int | float) for row in table.rows)
        and not any(isinstance(row[i], str) for row in table.rows)
    )


def _png_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
