"""The hits of a search as pictures: one self-contained page, or the cards of a report."""

from __future__ import annotations

from pathlib import Path

from baselines.hits import Hit
from baselines.search import SearchResult
from baselines.understanding import lines_of
from landmark.pages import Block, Card, Cards, Facts, Page, Paragraph, Section
from landmark.pictures import picture_of, png_bytes, upscale
from landmark.shards import ShardReader

#: Patches are 120 px; twice that is easy to look at.
_ENLARGED = 2


def gallery_page(root: Path, result: SearchResult) -> Page:
    """Return a page with the hits of a search.

    Sentinel-2 is shown in true colour, Sentinel-1 as VV / VH / VV - VH; each with rank, score,
    labels, date and place.

    Args:
        root: Dataset directory the search was made in.
        result: What it found.

    Raises:
        LandmarkError: A shard is damaged.
    """
    facts = [
        ("Run", f"{result.run} (recipe {result.recipe})"),
        ("Searched", f"{result.gallery} patches, sensor {result.sensor}"),
        (
            "Filters",
            "; ".join(result.filters.shown()) or "none: split corpus, all dates and places",
        ),
    ]
    if result.request is not None:
        lines = lines_of(result.request, result.kind)
        facts.append(("Understood", "; ".join(lines)))
    elif result.understood:
        facts.append(("Understood as", ", ".join(result.understood)))
    blocks: list[Block] = [Facts(tuple(facts))]
    if result.like is not None:
        blocks.append(Paragraph("The patch asked with:"))
        blocks.append(Cards((_card(root, result.like, _ENLARGED, "asked with"),)))
        blocks.append(Paragraph("The patches most like it:"))
    blocks.append(Cards(hit_cards(root, result, _ENLARGED)))
    title = f"Like {result.text}" if result.like is not None else f"“{result.text}”"
    hits = Section("Hits", tuple(blocks))
    return Page(title, f"The {len(result.rows)} best patches", (hits,))


def hit_cards(root: Path, result: SearchResult, factor: int = 1) -> tuple[Card, ...]:
    """Return one card per hit, pictures enlarged by a whole factor."""
    return tuple(_card(root, hit, factor, f"score {hit.score:.3f}") for hit in result.rows)


def _card(root: Path, hit: Hit, factor: int, first: str) -> Card:
    with ShardReader(root / hit.shard) as reader:
        picture = picture_of(reader.image(hit.row), reader.layout)
    labels = ", ".join(hit.labels) or "no class"
    kind = "Sentinel-2, true colour" if hit.sensor == "s2" else "Sentinel-1, VV / VH / VV - VH"
    return Card(
        png=png_bytes(upscale(picture, factor)),
        alt=f"{kind}: {labels}",
        title=f"{hit.rank}. {labels}" if hit.rank else labels,
        lines=(
            first,
            f"{kind}, {hit.acquired[:10]}",
            f"{_degrees(hit.lat, 'N', 'S')} {_degrees(hit.lon, 'E', 'W')}",
            hit.patch_id,
        ),
    )


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.4f}° {positive if value >= 0 else negative}"
