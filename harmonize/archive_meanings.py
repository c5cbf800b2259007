"""What the codes and words of archives mean: tables, no logic."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class MaskMeaning:
    """What the codes of an archive's masks mean.

    Attributes:
        label: Class of the positive code.
        positive: Code of pixels that show it.
        negative: Code of pixels that were looked at and do not; every other code is unknown.
    """

    label: str
    positive: int
    negative: int


#: Archive -> what its masks mean. Sen1Floods11 marks all surface water, permanent water too.
MASKS: MappingProxyType[str, MaskMeaning] = MappingProxyType(
    {
        "mmflood": MaskMeaning("Flooded Area", 1, 0),
        "cabuar": MaskMeaning("Burned Area", 1, 0),
        "sen1floods11": MaskMeaning("Water", 1, 0),
    }
)
#: Archive -> tag -> (class, whether it is present).
TAGS: MappingProxyType[str, MappingProxyType[str, tuple[str, bool]]] = MappingProxyType(
    {
        "sen12flood": MappingProxyType(
            {"flooding": ("Flooded Area", True), "no-flooding": ("Flooded Area", False)}
        ),
        "quakeset": MappingProxyType(
            {"affected": ("Earthquake Damage", True), "not-affected": ("Earthquake Damage", False)}
        ),
        "cabuar": MappingProxyType({"pre-fire": ("Burned Area", False)}),
    }
)
#: Archives whose tags are names of CORINE or of the taxonomy.
NAMED = ("bigearthnet-v1", "crisislandmark")
#: Archives whose tags (BigEarthNet's 19 names) say less than the map they ship with each patch:
#: kept as words where the map is there.
MAPPED = ("reben",)
#: Source of a published key -> the crisis class its images were judged for.
JUDGED: MappingProxyType[str, str] = MappingProxyType(
    {
        "mmflood": "Flooded Area",
        "sen1flood": "Flooded Area",
        "sen2flood": "Flooded Area",
        "cabuar": "Burned Area",
        "quakeset": "Earthquake Damage",
    }
)
