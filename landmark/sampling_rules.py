"""The manifest's part on which cells are sampled, and which looks at a cell are kept."""

from __future__ import annotations

import datetime as dt
from typing import Literal, Self

from pydantic import Field, model_validator

from landmark.manifest_model import Model


class Looks(Model):
    """Which of several looks of one sensor at one cell are kept."""

    keep: Literal["all", "least_cloud", "nearest"] = Field(
        "all",
        description=(
            "`all`; `least_cloud`: the least cloudy scene of each period (then the one nearest to "
            "`date`, then the first); `nearest`: the one nearest to `date`. Ties: the item id."
        ),
    )
    per: Literal["all", "year", "month"] = Field(
        "all", description="One look is kept of all time, of each year, or of each month (UTC)."
    )
    date: dt.date | None = Field(None, description="The day (its noon, UTC) to be near to.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.keep == "nearest" and self.date is None:
            raise ValueError("keep: nearest needs date")
        return self


class AroundEvents(Model):
    """Cells near events, and looks in a window of time around each."""

    file: str = Field(description="Vector file of polygons or points, one feature an event.")
    radius_m: float = Field(
        0.0, ge=0, description="Buffer around polygons, radius around points, m."
    )
    start_field: str = Field("", description="Attribute with the first day; empty: undated.")
    end_field: str = Field("", description="Attribute with the last day; empty: the first day.")
    before_days: tuple[float, float] | None = Field(
        None,
        description="Keep looks from so many to so many days before the first day: [30, 1].",
    )
    after_days: tuple[float, float] | None = Field(
        None,
        description="Keep looks from so many to so many days after the last day: [1, 20].",
    )
    during: bool = Field(True, description="Keep looks between the first and the last day.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        windows = self.before_days or self.after_days
        if windows is not None and not self.start_field:
            raise ValueError("before_days and after_days need start_field")
        if self.before_days is not None and not self.before_days[0] >= self.before_days[1] >= 0:
            raise ValueError("before_days is [furthest, nearest], both 0 or more: [30, 1]")
        if self.after_days is not None and not 0 <= self.after_days[0] <= self.after_days[1]:
            raise ValueError("after_days is [nearest, furthest], both 0 or more: [1, 20]")
        return self


class Strata(Model):
    """Cells by the codes of a label raster, rare codes first."""

    rasters: tuple[str, ...] = Field(
        min_length=1, description="Categorical rasters; the first that covers a pixel decides."
    )
    nodata: tuple[int, ...] = Field((), description="Further codes that mean `not mapped`.")
    per_code: int = Field(ge=1, description="Cells wanted of each code.")
    min_share: float = Field(
        0.05, gt=0, le=1, description="Share of a cell from which a code counts as there."
    )


class Sampling(Model):
    """Which cells of the area are sampled. Rules apply in the order of these fields."""

    cells: tuple[str, ...] = Field((), description="Names of the cells (or patch ids) wanted.")
    cells_file: str | None = Field(None, description="Text file with one such name a line.")
    events: tuple[AroundEvents, ...] = Field((), description="Only around these events.")
    every: int = Field(1, ge=1, description="Only each n-th column and row of the grid.")
    strata: Strata | None = Field(None, description="Stratified by a label raster.")
    count: int | None = Field(
        None, ge=1, description="At most so many cells, drawn by a hash of name and seed."
    )
