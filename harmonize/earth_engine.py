"""Dynamic World for the patches of a dataset, from Earth Engine: one raster per square and day.

    python -m harmonize.earth_engine DATASET FOLDER --project PROJECT [--window-days 15]

Needs the extra `earth-engine` and an account (`earthengine authenticate`). This command was not run
where landmark is developed: there was no account. What it asks for is tested, the answers are not.

Each request covers 5 x 5 lattice cells and one acquisition day of the plan. It holds the nine
probabilities, averaged over the Dynamic World images within the window, as float32 bands in the
cells' own UTM grid, all 0 where no image is clear: what a source of kind `dynamic-world` reads
as probabilities. The file's name carries the day, so `window_days` works.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from landmark.commits import atomic_path
from landmark.dataset import Dataset
from landmark.errors import InputError, LandmarkError
from landmark.grid import RESOLUTION_M, SIZE_M

COLLECTION = "GOOGLE/DYNAMICWORLD/V1"
#: Bands of an image in the order of the labels (Earth Engine catalogue).
BANDS = (
    *("water", "trees", "grass", "flooded_vegetation", "crops"),
    *("shrub_and_scrub", "built", "bare", "snow_and_ice"),
)
#: Cells along an edge of a request: 600 x 600 px of nine float32 bands are 13 MB, under the 48 MB
#: one `computePixels` answer may hold.
_CELLS = 5


@dataclass(frozen=True, order=True)
class Request:
    """One raster to ask for.

    Attributes:
        epsg: UTM zone.
        x_min: Western edge, m.
        y_max: Northern edge, m.
        day: Acquisition day, UTC.
    """

    epsg: int
    x_min: float
    y_max: float
    day: dt.date

    @property
    def name(self) -> str:
        """File name; the day in it dates the map."""
        return f"dw_{self.day:%Y%m%d}_{self.epsg}_{self.x_min:.0f}_{self.y_max:.0f}.tif"

    @property
    def side(self) -> float:
        """Edge length, m."""
        return _CELLS * SIZE_M

    def grid(self) -> dict[str, Any]:
        """Return the pixel grid as Earth Engine takes it."""
        pixels = round(self.side / RESOLUTION_M)
        return {
            "dimensions": {"width": pixels, "height": pixels},
            "affineTransform": {
                "scaleX": RESOLUTION_M,
                "shearX": 0,
                "translateX": self.x_min,
                "shearY": 0,
                "scaleY": -RESOLUTION_M,
                "translateY": self.y_max,
            },
            "crsCode": f"EPSG:{self.epsg}",
        }


def plan_requests(dataset: Dataset) -> tuple[Request, ...]:
    """Return the rasters that cover all kept patches of a plan, in order.

    Raises:
        InputError: The dataset has no plan.
    """
    dataset.require(dataset.plan, "fetch MANIFEST --out DATASET")
    columns = ["epsg", "x_min", "y_max", "datetime"]
    kept = pq.read_table(dataset.plan, columns=columns, filters=[("status", "=", "keep")])
    side = _CELLS * SIZE_M
    found = {
        Request(
            epsg=row["epsg"],
            x_min=x // side * side,
            y_max=-(-y // side) * side,
            day=row["datetime"].date(),
        )
        for row in kept.to_pylist()
        # A frame that is not on the lattice may reach into the next square.
        for x in (row["x_min"], row["x_min"] + SIZE_M - RESOLUTION_M)
        for y in (row["y_max"], row["y_max"] - SIZE_M + RESOLUTION_M)
    }
    return tuple(sorted(found))


def export(
    dataset: Dataset, folder: Path, project: str, window_days: int
) -> Iterator[tuple[Request, bool]]:
    """Fetch every raster that is not there yet; yield each request and whether it was fetched.

    Raises:
        InputError: The package or the account is missing.
        LandmarkError: Earth Engine refuses a request.
    """
    try:
        import ee
    except ImportError:
        raise InputError(
            "Earth Engine's package is missing: pip install 'landmark[earth-engine]'"
        ) from None
    try:
        ee.Initialize(project=project)
    except Exception as error:
        raise InputError(
            f"Earth Engine refuses project {project!r} ({error}); run `earthengine authenticate`"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    for request in plan_requests(dataset):
        path = folder / request.name
        if path.exists():
            yield request, False
            continue
        try:
            data = ee.data.computePixels(
                {
                    "expression": _mean(ee, request, window_days),
                    "fileFormat": "GEO_TIFF",
                    "grid": request.grid(),
                }
            )
        except ee.EEException as error:
            raise LandmarkError(f"{request.name}: Earth Engine answers: {error}") from None
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
        yield request, True


def _mean(ee: Any, request: Request, window_days: int) -> Any:
    """Return the mean of the probabilities around a day; 0 where no image is clear."""
    day = ee.Date(request.day.isoformat())
    square = ee.Geometry.Rectangle(
        [
            request.x_min,
            request.y_max - request.side,
            request.x_min + request.side,
            request.y_max,
        ],
        f"EPSG:{request.epsg}",
        False,
    )
    images = (
        ee.ImageCollection(COLLECTION)
        .filterBounds(square)
        .filterDate(day.advance(-window_days, "day"), day.advance(window_days + 1, "day"))
        .select(list(BANDS))
    )
    # An empty image last: without one, a window without images would have no bands.
    none = ee.Image.constant([0] * len(BANDS)).rename(list(BANDS)).toFloat().updateMask(0)
    return images.merge(ee.ImageCollection([none])).mean().unmask(0).toFloat()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description="Fetch Dynamic World for a dataset's patches.")
    parser.add_argument("dataset", type=Path, help="dataset directory with a plan")
    parser.add_argument("folder", type=Path, help="where the rasters go")
    parser.add_argument("--project", required=True, help="Google Cloud project of the account")
    parser.add_argument("--window-days", type=int, default=15, help="images this far from the day")
    parser.add_argument("--list", action="store_true", help="only list what would be fetched")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.list:
            for request in plan_requests(Dataset(parsed.dataset)):
                print(request.name)
            return 0
        for request, fetched in export(
            Dataset(parsed.dataset), parsed.folder, parsed.project, parsed.window_days
        ):
            print(f"{request.name}: {'fetched' if fetched else 'there already'}", file=sys.stderr)
    except LandmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
