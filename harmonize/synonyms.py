"""Other words for the classes: the texts of paraphrase queries. Data, not code.

None of them may hold the name of a class, so that a model cannot answer by matching the label.
"""

from __future__ import annotations

from types import MappingProxyType

#: Class -> other ways a person would ask for it.
SYNONYMS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "Water": ("a lake or river", "open sea", "reservoir"),
        "Trees": ("forest", "woodland", "wooded area"),
        "Grass": ("meadow", "pasture", "lawn or turf"),
        "Flooded Vegetation": ("wetland", "marsh or swamp", "peat bog"),
        "Crops": ("farmland", "arable fields", "agricultural plots"),
        "Shrub and Scrub": ("heath and moorland", "bushes", "maquis"),
        "Built": ("urban area", "houses and roads", "town or city"),
        "Bare": ("exposed soil", "sand or rock", "quarry or gravel pit"),
        "Snow and Ice": ("glacier", "frozen white mountain tops", "snowfield"),
        "Flooded Area": ("inundated land", "land submerged by a river", "overflowing river"),
        "Burned Area": ("wildfire scar", "charred land after a fire", "fire-affected land"),
        "Earthquake Damage": (
            "collapsed buildings after a tremor",
            "seismic destruction",
            "rubble in a disaster zone",
        ),
    }
)
