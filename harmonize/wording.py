"""Every word of a caption with what it follows from: the heart of `landmark explain`."""

from __future__ import annotations

from collections.abc import Sequence

from harmonize.captions import PatchFacts, caption, phrases
from harmonize.explanation import SourceFindings
from landmark.taxonomy import names_of


def explained_words(
    facts: PatchFacts,
    sources: Sequence[SourceFindings],
    crises: Sequence[tuple[str, str, str]],
    template: str,
) -> tuple[tuple[str, str], ...]:
    """Return (label as the short caption has it, what it follows from), in the caption's order.

    Args:
        facts: Of the patch.
        sources: What each land-cover source says, with the classes taken from it.
        crises: (crisis class, state, reason).
        template: Of the short caption.
    """
    reasons = {name: reason for name, state, reason in crises if state == "present"}
    words = []
    for name in names_of(facts.label_mask):
        own = [source for source in sources if name in source.decided]
        why = [_derivation(name, source) for source in own] or [reasons.get(name, "")]
        words.append((name.lower(), "; ".join(why)))
    joint = ", " if template == "list" else ". "
    assert joint.join(word for word, _ in words) == caption(facts.label_mask, template)
    return tuple(words)


def sentence_words(facts: PatchFacts, template: str) -> tuple[tuple[str, str], ...]:
    """Return (piece of the long caption, what it follows from); joined they are the caption."""
    return tuple((phrase.text, phrase.why) for phrase in phrases(facts, template))


def _derivation(name: str, source: SourceFindings) -> str:
    """Return `dynamic-world: dw:1 trees 61.2 % x 1 = 61.2 % >= 2 %`."""
    parts = [
        (code, weight) for code in source.codes for label, weight in code.classes if label == name
    ]
    if source.tagged:
        listed = ", ".join(f"{code.native} {code.name}" for code, _ in parts)
        return f"{source.source}: lists {listed}"
    terms = " + ".join(
        f"{code.native} {code.name} {100 * code.share:.3g} % x {weight:g}" for code, weight in parts
    )
    total = sum(code.share * weight for code, weight in parts)
    return (
        f"{source.source}: {terms} = {100 * total:.3g} % >= {100 * source.threshold:g} % of the "
        "area it maps"
    )
