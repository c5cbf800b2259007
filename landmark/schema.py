"""The columns of patches/, labels/ and shards/, and how an image frame is laid out.

Column meanings are docs/architecture.md's; this module fixes names, types and order.
`SCHEMA_VERSION` changes whenever a column or the frame layout does.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from landmark.errors import LandmarkError
from landmark.grid import PIXELS

#: 2: several codecs (`landmark.profiles`), and quantised planes (`ImageLayout.step`).
SCHEMA_VERSION = 2
#: Rows per row group: one page of frames each, small enough to stream (measured best trade).
ROW_GROUP_ROWS = 64
METADATA_KEY = b"landmark"
#: What compresses frames; version 1 knew the first only. All are lossless, and each name stands
#: for one exact way of writing (`landmark.codec`): another way is another name.
BITSHUFFLE_LZ4 = "blosc2:bitshuffle+lz4"
BITSHUFFLE_LZ4HC = "blosc2:bitshuffle+lz4hc"
SHUFFLE_LZ4 = "blosc2:shuffle+lz4"
SHUFFLE_ZSTD = "blosc2:shuffle+zstd"

#: Native pixel size of the Sentinel-2 bands, m (ESA Sentinel-2 User Handbook).
S2_RESOLUTION: dict[str, int] = {
    "B01": 60,
    "B02": 10,
    "B03": 10,
    "B04": 10,
    "B05": 20,
    "B06": 20,
    "B07": 20,
    "B08": 10,
    "B8A": 20,
    "B09": 60,
    "B11": 20,
    "B12": 20,
    "SCL": 20,
}

PROVENANCE = pa.struct(
    [
        ("provider", pa.string()),
        ("collection", pa.string()),
        ("item", pa.string()),
        ("hrefs", pa.list_(pa.string())),
        ("baseline", pa.string()),
        ("offset", pa.int32()),
        ("offset_evidence", pa.string()),
        ("quantity", pa.string()),
        ("unit_source", pa.string()),
        ("resampling", pa.string()),
        ("licence", pa.string()),
        ("notes", pa.list_(pa.string())),
    ]
)
LABEL_SOURCE = pa.struct(
    [
        ("source", pa.string()),
        ("version", pa.string()),
        ("crosswalk", pa.string()),
        ("crosswalk_sha256", pa.string()),
        ("covered_fraction", pa.float32()),
        ("confidence", pa.float32()),
    ]
)
EVENT = pa.struct(
    [
        ("type", pa.string()),
        ("id", pa.string()),
        ("start", pa.string()),
        ("end", pa.string()),
        ("phase", pa.string()),
        ("days", pa.float32()),
        ("fraction", pa.float32()),
        ("analysed_fraction", pa.float32()),
        ("source", pa.string()),
    ]
)

PATCH_FIELDS: tuple[pa.Field, ...] = (
    pa.field("patch_id", pa.string(), nullable=False),
    pa.field("sensor", pa.string(), nullable=False),
    pa.field("platform", pa.string()),
    pa.field("orbit_state", pa.string()),
    pa.field("relative_orbit", pa.int32()),
    pa.field("polarisations", pa.string()),
    pa.field("mgrs", pa.string()),
    pa.field("image", pa.binary(), nullable=False),
    pa.field("image_nbytes", pa.uint32(), nullable=False),
    pa.field("image_xxh3", pa.uint64(), nullable=False),
    pa.field("scl", pa.binary()),
    pa.field("datetime", pa.timestamp("us", tz="UTC"), nullable=False),
    pa.field("lon", pa.float64(), nullable=False),
    pa.field("lat", pa.float64(), nullable=False),
    pa.field("epsg", pa.int32(), nullable=False),
    pa.field("transform", pa.list_(pa.float64(), 6), nullable=False),
    pa.field("geometry", pa.binary(), nullable=False),
    pa.field("pair_id", pa.string()),
    pa.field("pair_gap_s", pa.float64()),
    pa.field("cloud_fraction", pa.float32()),
    pa.field("valid_fraction", pa.float32()),
    pa.field("clipped_fraction", pa.float32()),
    # An archive's own array, where `image` cannot give it back bit for bit (docs/archives).
    pa.field("original", pa.binary()),
    pa.field("provenance", PROVENANCE),
)
LABEL_FIELDS: tuple[pa.Field, ...] = (
    pa.field("label_mask", pa.uint16(), nullable=False),
    pa.field("known_mask", pa.uint16(), nullable=False),
    pa.field("labels", pa.list_(pa.string()), nullable=False),
    pa.field("fractions", pa.list_(pa.float32(), 12), nullable=False),
    pa.field("label_sources", pa.list_(LABEL_SOURCE), nullable=False),
    pa.field("native_labels", pa.list_(pa.string()), nullable=False),
    pa.field("events", pa.list_(EVENT), nullable=False),
)
TEXT_FIELDS: tuple[pa.Field, ...] = (
    pa.field("caption", pa.string(), nullable=False),
    pa.field("caption_long", pa.string(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
)


@dataclass(frozen=True)
class ImageLayout:
    """How the planes of one image lie in its frame.

    Attributes:
        sensor: `s1` or `s2`.
        dtype: `uint16` (S2: reflectance x 10000, offset removed) or `float32` (S1: dB).
        bands: Band names in order.
        shapes: (rows, columns) of each band's native plane.
        scale: Physical value per stored unit (reflectance 0.0001; dB 1).
        nodata: Stored value that means no data: 0, or NaN as None.
        codec: What compresses the frame, e.g. `blosc2:bitshuffle+lz4hc`.
        step: None: values are stored as they are. Else they are stored as int16 multiples of
            `step` (-32768 = no data), which is lossy; readers still get `dtype`.
    """

    sensor: str
    dtype: str
    bands: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    scale: float
    nodata: int | None
    codec: str = BITSHUFFLE_LZ4
    step: float | None = None

    @property
    def content(self) -> tuple[object, ...]:
        """What readers get, however it is stored: all fields but `codec` and `step`."""
        return (self.sensor, self.dtype, self.bands, self.shapes, self.scale, self.nodata)

    @functools.cached_property
    def values(self) -> int:
        """Number of stored values of one frame."""
        return sum(rows * columns for rows, columns in self.shapes)

    @functools.cached_property
    def sides(self) -> NDArray[np.intp]:
        """`shapes` as an array (bands, 2), for compiled loops."""
        return np.array(self.shapes, dtype=np.intp).reshape(-1, 2)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "sensor": self.sensor,
            "dtype": self.dtype,
            "bands": list(self.bands),
            "shapes": [list(shape) for shape in self.shapes],
            "scale": self.scale,
            "nodata": self.nodata,
            "codec": self.codec,
            "step": self.step,
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ImageLayout:
        """Return the layout `to_dict` wrote."""
        return cls(
            sensor=raw["sensor"],
            dtype=raw["dtype"],
            bands=tuple(raw["bands"]),
            shapes=tuple((int(r), int(c)) for r, c in raw["shapes"]),
            scale=float(raw["scale"]),
            nodata=raw["nodata"],
            codec=raw["codec"],
            step=raw.get("step"),  # version 1 has none
        )


def s2_layout(bands: tuple[str, ...]) -> ImageLayout:
    """Return the frame layout of Sentinel-2 patches with these bands, each at native size."""
    sides = [PIXELS * 10 // S2_RESOLUTION[band] for band in bands]
    return ImageLayout(
        sensor="s2",
        dtype="uint16",
        bands=bands,
        shapes=tuple((side, side) for side in sides),
        scale=1e-4,
        nodata=0,
        codec=BITSHUFFLE_LZ4HC,
    )


def s1_layout(bands: tuple[str, ...] = ("VV", "VH")) -> ImageLayout:
    """Return the frame layout of Sentinel-1 patches: float32 dB, NaN where there is no data."""
    return ImageLayout(
        sensor="s1",
        dtype="float32",
        bands=bands,
        shapes=tuple((PIXELS, PIXELS) for _ in bands),
        scale=1.0,
        nodata=None,
        codec=SHUFFLE_LZ4,
    )


def schema_metadata(layout: ImageLayout | None) -> dict[bytes, bytes]:
    """Return the Arrow schema metadata of a file: ours, and GeoParquet's for `geometry`.

    `layout` is None for files without images (labels).
    """
    own: dict[str, Any] = {"schema": SCHEMA_VERSION}
    metadata = {}
    if layout is not None:
        own["image"] = layout.to_dict()
        own["scl"] = {"dtype": "uint8", "shape": [60, 60], "codec": BITSHUFFLE_LZ4}
        metadata[b"geo"] = json.dumps(geo_metadata(("Polygon",)), sort_keys=True).encode()
    metadata[METADATA_KEY] = json.dumps(own, sort_keys=True).encode()
    return metadata


def geo_metadata(geometry_types: tuple[str, ...]) -> dict[str, Any]:
    """Return GeoParquet 1.1 file metadata for a WKB column `geometry` in OGC:CRS84."""
    return {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": list(geometry_types)}},
    }


def layout_of(metadata: dict[bytes, bytes] | None, origin: str = "schema") -> ImageLayout:
    """Return the image layout a file's schema metadata states.

    Raises:
        LandmarkError: The metadata is missing, or of a newer schema version.
    """
    raw = (metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise LandmarkError(f"{origin}: holds no landmark schema metadata")
    own = json.loads(raw)
    if own["schema"] > SCHEMA_VERSION:
        raise LandmarkError(
            f"{origin}: schema version {own['schema']} is newer than this program's "
            f"{SCHEMA_VERSION}; update landmark"
        )
    return ImageLayout.from_dict(own["image"])


def patch_schema(layout: ImageLayout) -> pa.Schema:
    """Return the schema of patches/ files."""
    return pa.schema(PATCH_FIELDS, metadata=schema_metadata(layout))


def label_schema() -> pa.Schema:
    """Return the schema of labels/ files: `patch_id` and the columns after `provenance`."""
    return pa.schema((PATCH_FIELDS[0], *LABEL_FIELDS), metadata=schema_metadata(None))


def shard_schema(layout: ImageLayout) -> pa.Schema:
    """Return the full schema of shards/ files."""
    return pa.schema((*PATCH_FIELDS, *LABEL_FIELDS, *TEXT_FIELDS), metadata=schema_metadata(layout))
