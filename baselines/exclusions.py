"""How far words of exclusion reach: from connector to connector of a query, what is not wanted.

"Without" and the like wait for what they exclude over words of place, an opening quote or bracket
and other marks: lakes not surrounded by trees, without "trees", without: trees. Once they have it,
they reach to the next connector, some over "or" and "and".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Marks that may stand around what is excluded.
_OPENING, _CLOSING = '(["“', ')]"”'


@dataclass(frozen=True)
class Exclusion:
    """What holds for the part after a connector.

    Attributes:
        absent: Whether that part is excluded.
        place: The connector's words, those of exclusion right before it included.
    """

    absent: bool = False
    place: str = ""
    _reaching: bool = False  # over "and" as well
    _awaits: str = ""  # the kind of connector after which nothing excluded was written yet
    _negation: str = ""  # that connector's words, if they exclude, and words of place after them
    _opened: str = ""  # quotes and brackets opened after the words of exclusion
    _closed: bool = False  # and closed: only "and" and "or" take the exclusion up again

    def after(self, joint: str | None, words: str) -> Exclusion:
        """Return what holds after a connector.

        Args:
            joint: Its kind, a group of `query_words.CONNECTORS`; None: the beginning of the text.
            words: As written.
        """
        words = words.lower()
        place = f"{self._negation} {words}".strip()
        match joint:
            case "far" if self._negation:  # not far from: there after all
                return Exclusion(place=place)
            case "none" | "no" | "far":
                return Exclusion(True, words, joint == "none", joint, words)
            case "place" if self._awaits and self._awaits != "both":
                # "Between" has its "and" in any case. After "and" a place begins a new thing:
                # without trees and near water.
                reaching = self._reaching or words == "between"
                return replace(self, place=place, _reaching=reaching, _negation=place)
            case "mark":
                return self._after_mark(words)
            case "either":
                return self._again(joint)
            case "both" if self._reaching:
                return self._again(joint)
        return Exclusion(place=words)

    def met(self) -> Exclusion:
        """Return what holds once there are words of weight before the next connector."""
        return replace(self, _awaits="", _negation="", _closed=False)

    def _again(self, joint: str) -> Exclusion:
        absent = self.absent or self._closed
        return Exclusion(absent, _reaching=self._reaching, _awaits=joint if absent else "")

    def _after_mark(self, words: str) -> Exclusion:
        # A quote that looks the same on both sides closes only what a quote has opened.
        closes = words[0] in _CLOSING and (words[0] in self._opened or words[0] not in _OPENING)
        if self._opened and closes:
            if len(words) <= len(self._opened) and not words.strip(_CLOSING):
                return Exclusion(_reaching=self._reaching, _closed=True)
            return Exclusion()
        if self._awaits:
            opened = words[len(words.rstrip(_OPENING)) :]
            return replace(self, _opened=self._opened + opened)
        return Exclusion()
