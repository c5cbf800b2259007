"""The parts of a manifest that say how patches are split and what is asked of them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from landmark.manifest_model import Area, Model


class HoldOut(Model):
    """What train and val must never see."""

    regions: tuple[Area, ...] = Field(
        (), description="Areas; the groups of patches that touch them go to corpus whole."
    )
    events: tuple[str, ...] = Field(
        (), description="Event ids; the groups of patches they touch go to corpus whole."
    )
    years: tuple[int, ...] = Field(
        (), description="Years of acquisition; their patches are in corpus or in no split."
    )


class Splits(Model):
    """Train, val and corpus (the retrieval gallery)."""

    method: Literal["blocks", "random", "source"] = Field(
        "blocks",
        description="Spatial blocks with a buffer, at random (leaks), or as an archive has them.",
    )
    train: float = Field(0.6, ge=0, le=1, description="Share of train.")
    val: float = Field(0.1, ge=0, le=1, description="Share of val.")
    corpus: float = Field(0.3, ge=0, le=1, description="Share of corpus.")
    block_km: float = Field(12.0, gt=0, description="Edge of a spatial block, km.")
    buffer_cells: int = Field(
        1, ge=0, description="Patches within this many cells of another split are dropped."
    )
    groups: tuple[Literal["scene", "datatake", "event", "pair"], ...] = Field(
        ("scene", "datatake", "event", "pair"),
        description="What no two splits may share besides the ground; it ties blocks together.",
    )
    relax: bool = Field(
        True,
        description=(
            "Where groups are too few or too large for the shares: give up datatakes, then "
            "scenes, then events, with a warning; false: keep them, whatever the shares become."
        ),
    )
    tolerance: float = Field(
        0.1,
        gt=0,
        le=1,
        description="How far the share of a split, or of a class in it, may stray unsaid.",
    )
    hold_out: HoldOut = Field(HoldOut(), description="What train and val must never see.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = self.train + self.val + self.corpus
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"train + val + corpus is {total:g}, not 1")
        if self.method == "source" and self.hold_out != HoldOut():
            raise ValueError("hold_out does not go with method source: the archives have dealt")
        return self


class Queries(Model):
    """Text queries with relevance."""

    source: Literal["made", "published"] = Field(
        "made", description="Make queries from the labels, or take over an archive's own."
    )
    min_relevant: int = Field(
        5, ge=1, description="Combinations with fewer relevant corpus patches are left out."
    )
    max_combinations: int = Field(40, ge=0, description="How many combinations at most.")
    negations: bool = Field(
        False, description="Also ask for one class without another (`water without trees`)."
    )
    qrels: Literal["auto", "always"] = Field(
        "auto", description="Write qrels files under 5 million lines, or always."
    )
