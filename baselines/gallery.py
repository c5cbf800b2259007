"""The hits of a search as pictures: one self-contained page, or the cards of a report."""

from __future__ import annotations

from pathlib import Path

from baselines.search import Hit, SearchResult
from landmark.pages import Card, Cards, Facts, Page, Section
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
        ("Searched", f"{result.gallery} patches of split corpus, sensor {result.sensor}"),
    ]
    if result.understood:
        facts.append(("Understood as", ", ".join(result.understood)))
    hits = Section("Hits", (Facts(tuple(facts)), Cards(hit_cards(root, result, _ENLARGED))))
    return Page(f"“{result.text}”", f"The {len(result.rows)} best patches", (hits,))


def hit_cards(root: Path, result: SearchResult, factor: int = 1) -> tuple[Card, ...]:
    """Return one card per hit, pictures enlarged by a whole factor."""
    return tuple(_card(root, hit, factor) for hit in result.rows)


def _card(root: Path, hit: Hit, factor: int) -> Card:
    with ShardReader(root / hit.shard) as reader:
        picture = picture_of(reader.image(hit.row), reader.layout)
    labels = ", ".join(hit.labels) or "no class"
    kind = "Sentinel-2, true colour" if hit.sensor == "s2" else "Sentinel-1, VV / VH / VV - VH"
    return Card(
        png=png_bytes(upscale(picture, factor)),
        alt=f"{kind}: {labels}",
        title=f"{hit.rank}. {labels}",
        lines=(
            f"score {hit.score:.3f}",
            f"{kind}, {hit.acquired[:10]}",
            f"{_degrees(hit.lat, 'N', 'S')} {_degrees(hit.lon, 'E', 'W')}",
            hit.patch_id,
        ),
    )


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.4f}° {positive if value >= 0 else negative}"
