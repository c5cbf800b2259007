from __future__ import annotations

import base64
from html.parser import HTMLParser

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landmark import pages, pictures
from landmark.pages import Card, Cards, Facts, Figure, Page, Paragraph, Section, Table

PNG = pictures.png_bytes(np.zeros((4, 4, 3), np.uint8))
HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7 * 7 }} & http://evil.test/"
)


def whole_page(text: str) -> Page:
    return Page(
        text,
        text,
        (
            Section(text, (Paragraph(text), Facts(((text, text),)))),
            Section(
                text,
                (
                    Table((text, "score"), ((text, 0.5), ("b", None)), text),
                    Figure(PNG, text, text),
                    Cards((Card(PNG, text, text, (text, text)),)),
                ),
            ),
        ),
    )


class Reader(HTMLParser):
    """Collects what a browser would see: elements, addresses, text."""

    VOID = frozenset({"meta", "link", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert self.open == [], "elements left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_hostile_text_stays_text() -> None:
    reader = Reader(pages.render(whole_page(HOSTILE)))
    assert reader.all("script") == []
    assert not any(name.startswith("on") for _, attrs in reader.elements for name in attrs)
    assert reader.text.count(HOSTILE) == 17
    assert all((img["src"] or "").startswith("data:image/png;base64,") for img in reader.all("img"))


def test_nothing_outside_is_referred_to() -> None:
    html = pages.render(whole_page("plain"))
    reader = Reader(html)
    for tag, attributes in reader.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "background"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), (tag, address)
    assert "url(" not in html
    assert "@import" not in html
    policy = [m["content"] for m in reader.all("meta") if "http-equiv" in m]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_page_is_accessible() -> None:
    reader = Reader(pages.render(whole_page("plain")))
    assert reader.all("html")[0]["lang"] == "en"
    assert all(img["alt"] == "plain" for img in reader.all("img"))
    assert [h["scope"] for h in reader.all("th")] == ["col", "col", "row", "row"]
    regions = [d for d in reader.all("div") if d.get("role") == "region"]
    assert [(d["tabindex"], d["aria-label"]) for d in regions] == [("0", "plain")]
    identifiers = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(set(identifiers)) == len(identifiers)
    links = [a["href"] for a in reader.all("a")]
    assert links == ["#content", "#part-1", "#part-2"]
    assert {link[1:] for link in links if link} <= set(identifiers)


def test_cells_and_alignment() -> None:
    table = Table(
        ("run", "map", "count", "note"),
        (("a", 0.123456, 12345, "x"), ("b", None, 3, None), ("c", float("nan"), 4, None)),
    )
    html = pages.render(Page("t", "", (Section("s", (table,)),)))
    assert '<td class="number">0.1235</td>' in html
    assert '<td class="number">12345</td>' in html
    assert html.count('<td class="number">–</td>') == 2
    assert "<td>–</td>" in html  # the column of texts is not aligned as numbers
    assert "<caption>" not in html


def test_pictures_are_embedded_unchanged() -> None:
    reader = Reader(pages.render(whole_page("plain")))
    for image in reader.all("img"):
        assert base64.b64decode((image["src"] or "").split(",")[1]) == PNG


@given(st.text(max_size=40))
def test_any_text_gives_a_well_formed_page(text: str) -> None:
    Reader(pages.render(whole_page(text)))
