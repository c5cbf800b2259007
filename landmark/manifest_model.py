"""What all parts of the manifest are made of: the strict model, and areas."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Model(BaseModel):
    """Base of all manifest parts: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Area(Model):
    """Where: a box in degrees, or a vector file."""

    bbox: tuple[float, float, float, float] | None = Field(
        None,
        description="West, south, east, north, degrees; west > east crosses the 180th meridian.",
    )
    file: str | None = Field(
        None, description="Vector file (any format GDAL reads) whose union is the area."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.bbox is None) == (self.file is None):
            raise ValueError("give either bbox or file")
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (-180 <= west <= 180 and -180 <= east <= 180):
                raise ValueError(f"bbox longitude out of range -180..180: {west}, {east}")
            if not (-90 <= south <= 90 and -90 <= north <= 90):
                raise ValueError(f"bbox latitude out of range -90..90: {south}, {north}")
            # A box that crosses the 180th meridian has west > east; so has one typed wrongly.
            crosses = west > 0 > east and east + 360 - west <= 180
            if not (west < east or crosses) or south >= north:
                raise ValueError(
                    "bbox must be west, south, east, north with west < east (or less than half "
                    "way round across the 180th meridian) and south < north"
                )
        return self
