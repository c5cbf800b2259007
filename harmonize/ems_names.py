"""Names of the layers in a Copernicus EMS Rapid Mapping delivery, old and new.

EMSR715_AOI01_FEP_PRODUCT_observedEventA_v1           since about 2023
EMSR390_AOI01_GRA_PRODUCT_observedEventA_r1_v2        2019 to 2023
EMSR332_08PORDENONE_DEL_MONIT01_v1_observed_event_a   2018
EMSR258_05PATOS_01DELINEATION_MAP_v3_observed_event_a before
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NEW = re.compile(
    r"(?P<code>EMSR\d{3,4})_AOI(?P<aoi>\d{2})_(?P<product>REF|FEP|DEL|GRA|GRM)"
    r"_(?P<round>PRODUCT|MONIT\d{2})_(?P<layer>[A-Za-z]+?)(?P<shape>[ALP])?"
    r"(?:_r(?P<release>\d+))?_v(?P<version>\d+)"
)
_OLD = re.compile(
    r"(?P<code>EMSR\d{3,4})_(?P<aoi>\d{2})[A-Z0-9-]*_(?:\d{2})?"
    r"(?P<product>REFERENCE|DELINEATION|GRADING|REF|FEP|DEL|GRA)"
    r"(?:_(?:MAP|OVERVIEW|DETAIL\d*))*(?:_(?P<round>MONIT\d{2}))?(?:_(?:MAP|OVERVIEW|DETAIL\d*))*"
    r"(?:_r(?P<release>\d+))?_v(?P<version>\d+)_(?P<layer>[a-z_]+?)(?:_(?P<shape>[apl]))?",
)
_PRODUCTS = {"REFERENCE": "REF", "DELINEATION": "DEL", "GRADING": "GRA", "GRM": "GRA"}
#: Layers by the name without signs and case -> the name we use.
_LAYERS = {
    "observedevent": "observed",
    "crisisinformation": "observed",
    "areaofinterest": "area",
    "notanalysed": "blind",
    "notanalyzed": "blind",
    "builtup": "built",
    "settlements": "built",
    "source": "source",
}
#: A product that maps more closely comes first; reference maps show the state before.
RANKS = {"GRA": 3, "DEL": 2, "FEP": 1}


@dataclass(frozen=True, order=True)
class LayerName:
    """What the name of a layer says.

    Attributes:
        code: Activation, `EMSR332`.
        aoi: Area of interest, `08`.
        product: `REF`, `FEP` (first estimate), `DEL` (delineation) or `GRA` (grading).
        round: 0 for the first mapping, else the monitoring round.
        layer: `observed`, `area`, `blind` (not analysed), `built`, `source`; "" for any other.
        shape: `A`, `L`, `P`, or "".
        release: Of the product.
        version: Of the product.
    """

    code: str
    aoi: str
    product: str
    round: int
    layer: str
    shape: str
    release: int
    version: int


def parse_layer_name(text: str) -> LayerName | None:
    """Return what a layer's or file's name (without suffix) says; None for another name."""
    match = _NEW.fullmatch(text) or _OLD.fullmatch(text)
    if match is None:
        return None
    found = match.groupdict()
    product = _PRODUCTS.get(found["product"], found["product"])
    round_name = found["round"] or "PRODUCT"
    return LayerName(
        code=found["code"],
        aoi=found["aoi"],
        product=product,
        round=0 if round_name == "PRODUCT" else int(round_name.removeprefix("MONIT")),
        layer=_LAYERS.get(found["layer"].replace("_", "").lower(), ""),
        shape=(found["shape"] or "").upper(),
        release=int(found["release"] or 0),
        version=int(found["version"]),
    )
