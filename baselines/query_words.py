"""Words of queries that name nothing: what connects, excludes, places, asks, dates.

English only. Lists of words, kept apart from how they are applied (`baselines.phrases`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping


def any_of(words: Iterable[str]) -> str:
    """Return a pattern of any of these, the longest first."""
    return "|".join(sorted(words, key=len, reverse=True))


#: Class -> other spellings of its name.
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "Shrub and Scrub": ("shrub & scrub", "shrub/scrub"),
    "Snow and Ice": ("snow & ice", "snow/ice"),
    "Built": ("built up", "built-up", "built area", "built-up area", "built up area"),
    "Burned Area": ("burnt area",),
}

_SIDES = "(?:north|south|east|west|northeast|northwest|southeast|southwest)"
_PLACE = (
    "right next to", "next to", "close to", "adjacent to", "adjoining", "near to", "near", "nearby",
    "besides?", "alongside", "along", "between", "among", "amongst", "amid", "all around",
    "around", "surrounded by", "surrounding", "enclosed by", "encircled by", "bordered by",
    "bordering", "(?:at|on) the edges? of", "at the foot of", "opposite", "touching",
    f"(?:to the |just )?{_SIDES} of", "(?:to the )?(?:left|right) of",
    "in front of", "in the middle of", "above", "below", "behind", "beyond", "inside of",
    "inside", "within",
)  # fmt: skip
_NOT_THERE = ("far away from", "far from", "away from", "outside of", "outside")
#: These exclude everything up to the next mark, over "and": without trees and water = neither.
_NONE_OF = (
    "without any", "without", "excluding", "except for", "except", "apart from", "other than",
    "free of", "free from", "devoid of", "lacking", "neither", "(?:everything|anything|all) but",
)  # fmt: skip
#: These exclude what follows, over "or" only: no trees and water = water without trees.
_NOT = ("but not any", "but not", "but no", "not any", "not", "no", "nor any", "nor")
#: What may stand between "not" and a word of place.
_NOT_AT_ALL = "(?:located|situated|lying|found|anywhere|directly|immediately|even|too|very|so)"
#: These exclude nothing: not only trees = trees and more, not without trees = with trees.
_NOT_ONLY = "(?:but )?not (?:only|just|merely|simply|solely|without)"
_AND = (
    "but also", "as well as", "together with", "along with", "combined with", "and also", "and",
    "plus", "but",
)  # fmt: skip

#: Where a query falls apart; the group says how the parts are joined.
CONNECTORS = re.compile(
    r"(?P<mark>[.,;:/|&+?!()\[\]\"“”\n]+)"
    rf"|\b(?:(?P<also>{_NOT_ONLY})"
    rf"|(?P<far>{any_of(_NOT_THERE)})|(?P<place>{any_of(_PLACE)})|(?P<none>{any_of(_NONE_OF)})"
    rf"|(?P<no>(?:{any_of(_NOT)})(?:(?<=not)(?: {_NOT_AT_ALL})+)?)"
    rf"|(?P<both>{any_of(_AND)})|(?P<either>or))\b",
    re.IGNORECASE,
)
#: Where a phrase may fall apart, if its parts mean more than the whole.
LOOSE = re.compile(
    r"\s+(?:with|in|on|by|at|under|over|after|before|from|into|through|across|where|that)\s+",
    re.IGNORECASE,
)

_SMALL = r"(?:an?|the|this|these|those|some|any|many|several|few|all|only|just|with|of|in|on|at|by)"
_SENSORS = r"(?:satellite|sentinel(?:[- ]?[12])?|radar|sar|optical|aerial|multispectral|s[12])"
_MEDIA = r"(?:images?|imagery|scenes?|pictures?|photos?|photographs?|patch(?:es)?|tiles?|views?)"
_ASKING = (
    r"please|can you|could you|i am|i'm|we are|i want(?: to see)?|i need|show|find|give|get|"
    r"search|looking|look|display|retrieve|list|me|us|for|there (?:is|are)|where (?:is|are)|"
    r"are there|is there|which|what|that|shows?|showing|contains?|containing|"
    r"covered (?:by|with|in)|lots of|"
    r"(?:areas?|regions?|places?)(?= (?:of|with|where|that|containing|covered|showing)\b)"
)
#: What a phrase may begin with before its first word of weight.
LEAD_IN = re.compile(rf"(?:(?:{_ASKING}|{_SMALL}|{_SENSORS}|{_MEDIA})(?:\s+|$))+", re.IGNORECASE)
#: What it may end with.
LEAD_OUT = re.compile(
    rf"(?:^|\s+)(?:please|(?:in|on|of) (?:the |this |these |an? )?(?:{_SENSORS} )?{_MEDIA}|"
    r"(?:seen )?from (?:space|above))$",
    re.IGNORECASE,
)
#: Articles and the like: left out without a word.
SMALL = re.compile(rf"(?:{_SMALL}(?:\s+|$))+", re.IGNORECASE)
ENDS_SMALL = re.compile(rf"(?:(?:^|\s+){_SMALL})+$", re.IGNORECASE)
NAMES_SENSOR = re.compile(r"\b(?:sentinel[- ]?[12]|radar|sar|optical|s[12])\b", re.IGNORECASE)

_SEASONS = (
    "january|february|march|april|may|june|july|august|september|october|november|december|"
    "spring|summer|autumn|winter"
)
#: What excludes a date or clouds goes with them, or it would exclude what comes next.
_NONE = rf"(?:\b(?:{any_of((*_NONE_OF, *_NOT))})\s+)?"
#: Dates. A month or season counts only after a preposition: "march", "may" and "spring" are words.
TIMES = re.compile(
    rf"{_NONE}\b(?:in|during|since|last|this|next)\s+(?:early |late |the )?(?:{_SEASONS})"
    r"(?:\s+(?:of\s+)?(?:19|20)\d\d)?\b"
    rf"|{_NONE}(?:\b(?:in|of|from|since|during|until)\s+)?\b(?:19|20)\d\d(?:-\d\d(?:-\d\d)?)?\b",
    re.IGNORECASE,
)

#: Clouds are in everyone's queries and in no class.
CLOUDS = re.compile(
    rf"{_NONE}(?:\b(?:few|with few|with no|too|very)\s+)?"
    r"\b(?:clouds?(?:[- ](?:free|cover))?|cloudless|cloudy|haze|hazy)\b",
    re.IGNORECASE,
)

#: One word for two things: snow-covered hills = snow with hills; treeless, ice-free = without.
COVERED = re.compile(
    r"\b(\w+)-(?:covered|capped|clad|lined|dotted|strewn|filled|fringed)\s+", re.IGNORECASE
)
LACKING = re.compile(r"\b(tree|snow|water|grass|crop|plant|house)less\b\s*", re.IGNORECASE)
FREE_OF = re.compile(r"\b(\w+)-free\b\s*", re.IGNORECASE)


def plural(words: str) -> str:
    """Return a pattern of these words, each in the singular or plural, at any spacing."""
    return r"\s+".join(_number(word) for word in words.split())


def _number(word: str) -> str:
    if re.search("[^aeiou]y$", word):
        return re.escape(word[:-1]) + "(?:y|ies)"
    if re.search("[^su]s$", word):
        return re.escape(word[:-1]) + "s?"
    return re.escape(word) + "(?:s|es)?"
