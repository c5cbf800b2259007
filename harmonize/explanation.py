"""The answer of `landmark explain`: frozen values, and how they read in a terminal or a page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from landmark.pages import Block, Facts, Figure, Page, Paragraph, Section, Table
from landmark.rasters import FRAME_PIXELS


@dataclass(frozen=True)
class CodeShare:
    """One code of a source on the patch.

    Attributes:
        native: `clc:311`.
        name: In the source's nomenclature.
        pixels: How many of 14,400.
        share: Of the area the source covers.
        classes: (class, weight) of its crosswalk rows; empty: counts to none.
        notes: What the crosswalk says of these rows.
    """

    native: str
    name: str
    pixels: int
    share: float
    classes: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ClassSum:
    """The weighted shares of a class, summed over codes."""

    name: str
    share: float
    present: bool


@dataclass(frozen=True)
class SourceFindings:
    """What one land-cover source says of the patch.

    Attributes:
        source: Kind, e.g. `corine`.
        version: As the manifest gives it.
        files: Names of its rasters; empty for maps shipped with the patches.
        crosswalk: Its name.
        crosswalk_sha256: Of its bytes.
        threshold: Share from which a class is present.
        covered: Share of the patch it covers.
        decides: Whether a class of the patch is taken from it.
        decided: Classes taken from it.
        tagged: Whether its codes are tags of the whole patch, without shares.
        codes: Codes found, most pixels first.
        sums: Classes found, largest share first.
    """

    source: str
    version: str
    files: tuple[str, ...]
    crosswalk: str
    crosswalk_sha256: str
    threshold: float
    covered: float
    decides: bool
    decided: tuple[str, ...]
    tagged: bool
    codes: tuple[CodeShare, ...]
    sums: tuple[ClassSum, ...]


@dataclass(frozen=True)
class Explanation:
    """Where every word about one patch comes from.

    Attributes:
        patch_id: The patch.
        sensor: `s1` or `s2`.
        acquired: ISO time, UTC.
        lon: Of the centre, degrees.
        lat: Of the centre, degrees.
        shard: Patch shard that holds it.
        sources: Land-cover sources in order of priority.
        merge: Rule for several sources on one patch.
        min_covered: Share of the patch a source must cover to decide.
        events: Entries of the `events` column, with `hectares` and `lasts_days`.
        crises: (crisis class, `present`, `absent` or `unknown`, reason).
        unknown: (class, reason) of everything not decided.
        labels: Classes present, in taxonomy order.
        caption: Short caption, or "" before the dataset is harmonized.
        caption_long: Sentence, or "".
        words: (word of the short caption, what it follows from).
        sentence: (piece of the long caption, what it follows from; "" for words that only join).
        notes: Warnings, e.g. that stored labels are out of date.
        map_source: The map whose classes the picture shows, or None where no map decides.
        picture: PNG: the patch, its classes, and the patch with the outlines of events.
    """

    patch_id: str
    sensor: str
    acquired: str
    lon: float
    lat: float
    shard: str
    sources: tuple[SourceFindings, ...]
    merge: str
    min_covered: float
    events: tuple[dict[str, Any], ...]
    crises: tuple[tuple[str, str, str], ...]
    unknown: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]
    caption: str
    caption_long: str
    words: tuple[tuple[str, str], ...]
    sentence: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    map_source: str | None
    picture: bytes

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values (without the pictures)."""
        return {k: v for k, v in asdict(self).items() if k != "picture"}

    def lines(self) -> tuple[str, ...]:
        """Return the explanation for a terminal, one line each."""
        lines = [
            f"{self.patch_id}: {self.sensor}, acquired {self.acquired}, "
            f"at {_place(self)}, in {self.shard}",
            f"caption: {self.caption or '(not harmonized yet)'}",
        ]
        if self.caption_long:
            lines.append(f"         {self.caption_long}")
        lines += [f"note: {note}" for note in self.notes]
        lines += ["", "the words of the caption:"]
        lines += [f"  {word}: {why}" for word, why in self.words]
        lines += ["the sentence:"]
        lines += [f"  {text.strip(' ,;')}: {why}" for text, why in self.sentence if why]
        for source in self.sources:
            lines += ["", *_source_lines(source, self.min_covered)]
        lines += ["", *_crisis_lines(self)]
        if self.unknown:
            lines += ["", "not known (neither present nor absent):"]
            lines += [f"  {name}: {reason}" for name, reason in self.unknown]
        return tuple(lines)

    def page(self) -> Page:
        """Return the explanation as a page with the patch and its classes as pictures."""
        facts = Facts(
            (
                ("Caption", self.caption or "(not harmonized yet)"),
                ("In a sentence", self.caption_long or "(not harmonized yet)"),
                ("Acquired", self.acquired),
                ("Centre", _place(self)),
                ("Patch shard", self.shard),
            )
        )
        notes = tuple(Paragraph(note) for note in self.notes)
        return Page(
            title=self.patch_id,
            subtitle="Where every word of the caption comes from",
            sections=(
                Section("Patch", (facts, _figure(self), *notes)),
                Section("Words", (_words_table(self), _sentence_table(self))),
                *(_source_section(source, self.min_covered) for source in self.sources),
                Section("Crises", _crisis_blocks(self)),
                Section("Not known", _unknown_blocks(self)),
            ),
        )


def _figure(explanation: Explanation) -> Figure:
    parts = ["the patch"]
    if explanation.map_source is not None:
        parts.append(f"its classes by {explanation.map_source} (of a split code the heaviest)")
    events = "outlines of events in the colour of their class, of what was looked at in white"
    parts.append(events if explanation.events else "no event here")
    return Figure(
        explanation.picture, "Patch, classes and events", f"From left: {'; '.join(parts)}."
    )


def _words_table(explanation: Explanation) -> Table:
    return Table(("word", "what it follows from"), explanation.words, caption="The caption.")


def _sentence_table(explanation: Explanation) -> Table:
    rows = tuple((text.strip(" ,;"), why) for text, why in explanation.sentence if why)
    return Table(("words", "what they follow from"), rows, caption="The sentence.")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _place(explanation: Explanation) -> str:
    return f"longitude {explanation.lon:.5f}, latitude {explanation.lat:.5f}"


def _weights(code: CodeShare) -> str:
    if not code.classes:
        return "no class"
    return ", ".join(
        name if weight == 1 else f"{name} x {weight:g}" for name, weight in code.classes
    )


def _role(source: SourceFindings, min_covered: float) -> str:
    if source.decides:
        return f"decides {', '.join(source.decided)}"
    if source.covered < min_covered:
        return f"covers less than {_percent(min_covered)}: does not decide"
    return "does not decide: a source before it does"


def _source_lines(source: SourceFindings, min_covered: float) -> list[str]:
    version = f" {source.version}" if source.version else ""
    lines = [
        f"{source.source}{version} covers {_percent(source.covered)}; "
        f"{_role(source, min_covered)} (crosswalk {source.crosswalk}, "
        f"sha256 {source.crosswalk_sha256[:12]})"
    ]
    for code in source.codes:
        lines.append(
            f"  {code.native} {code.name}: {code.pixels} px, {_percent(code.share)} "
            f"-> {_weights(code)}"
        )
        lines += [f"      {note}" for note in code.notes]
    for total in source.sums:
        sign = ">=" if total.present else "< "
        lines.append(
            f"  {total.name}: {_percent(total.share)} {sign} {_percent(source.threshold)} -> "
            f"{'present' if total.present else 'absent'}"
        )
    return lines


def _crisis_lines(explanation: Explanation) -> list[str]:
    lines = [f"{name}: {state} ({reason})" for name, state, reason in explanation.crises]
    for event in explanation.events:
        days = "" if event["days"] is None else f", {event['days']:.1f} days from its start"
        lines.append(
            f"  {event['type']} {event['id']}, {event['start'] or '?'} to {event['end'] or '?'}: "
            f"{event['phase']}{days}; covers {event['hectares']:.2f} ha "
            f"({_percent(event['fraction'])}), looked at {_percent(event['analysed_fraction'])} "
            f"[{event['source']}]"
        )
    return lines


def _source_section(source: SourceFindings, min_covered: float) -> Section:
    version = f" {source.version}" if source.version else ""
    facts = Facts(
        (
            ("Covers", f"{_percent(source.covered)} of the patch; {_role(source, min_covered)}"),
            ("Crosswalk", f"{source.crosswalk} (sha256 {source.crosswalk_sha256})"),
            ("Files", ", ".join(source.files) or "shipped with the patch"),
        )
    )
    codes = Table(
        ("code", "name", "pixels", "share", "classes", "why"),
        tuple(
            (c.native, c.name, c.pixels, _percent(c.share), _weights(c), "; ".join(c.notes))
            for c in source.codes
        ),
        caption=f"Codes found, of {FRAME_PIXELS} pixels; shares are of the covered ones.",
    )
    sums = Table(
        ("class", "share", "threshold", "verdict"),
        tuple(
            (
                total.name,
                _percent(total.share),
                _percent(source.threshold),
                "present" if total.present else "absent",
            )
            for total in source.sums
        ),
        caption="Weighted shares per class.",
    )
    return Section(f"{source.source}{version}", (facts, codes, sums))


def _crisis_blocks(explanation: Explanation) -> tuple[Block, ...]:
    verdicts = Table(("class", "verdict", "reason"), explanation.crises)
    if not explanation.events:
        return (verdicts, Paragraph("No event touches this patch."))
    events = Table(
        ("event", "from", "to", "phase", "days", "ha", "share", "looked at", "source"),
        tuple(
            (
                f"{e['type']} {e['id']}",
                e["start"],
                e["end"],
                e["phase"],
                None if e["days"] is None else round(e["days"], 1),
                round(e["hectares"], 2),
                _percent(e["fraction"]),
                _percent(e["analysed_fraction"]),
                e["source"],
            )
            for e in explanation.events
        ),
        caption="Events whose affected or analysed area touches the patch; days from their start.",
    )
    return (verdicts, events)


def _unknown_blocks(explanation: Explanation) -> tuple[Block, ...]:
    if not explanation.unknown:
        return (Paragraph("All twelve classes were decided."),)
    return (Table(("class", "why"), explanation.unknown),)
