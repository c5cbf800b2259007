"""A span of days, as manifests write it."""

from __future__ import annotations

import datetime as dt
from typing import Self

from pydantic import Field, model_validator

from landmark.manifest_model import Model


class Period(Model):
    """When: both days are included (UTC)."""

    start: dt.date = Field(description="First day, YYYY-MM-DD.")
    end: dt.date = Field(description="Last day, YYYY-MM-DD.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}: swap the two dates")
        return self
