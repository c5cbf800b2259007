"""What a run tells while it goes on: metrics.jsonl, and the same for TensorBoard.

metrics.jsonl is written line by line. After a kill it may be ahead of the checkpoint; the resumed
run cuts it back to the checkpoint's number of lines and goes on, so that the file ends as that of
an undisturbed run (it holds no times). TensorBoard's files are a view of it, made anew then.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from landmark.commits import write_atomic
from landmark.errors import InputError

Row = dict[str, Any]


class Logbook:
    """The metrics of one run.

    Args:
        path: metrics.jsonl.
        events: Folder for TensorBoard, or None.
    """

    def __init__(self, path: Path, events: Path | None = None) -> None:
        self._path = path
        self._events = events
        self._writer: Any = None
        self.rows = 0

    def start(self, rows: int = 0) -> None:
        """Keep the first rows of an earlier sitting and open the files for more.

        Raises:
            InputError: TensorBoard is wanted, but not installed.
        """
        kept = read_metrics(self._path)[:rows] if rows else []
        if self._events is not None:
            self._writer = _open_events(self._events)
        write_atomic(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self.rows = len(kept)
        self._stream = self._path.open("a", encoding="utf-8", buffering=1)
        for row in kept:
            self._show(row)

    def add(self, row: Row) -> None:
        """Write a row."""
        self._stream.write(json.dumps(row) + "\n")
        self.rows += 1
        self._show(row)

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        if self._writer is not None:
            self._writer.close()

    def _show(self, row: Row) -> None:
        if self._writer is None:
            return
        step = row["step"]
        if row["kind"] == "step":
            self._writer.add_scalar("train/loss", row["loss"], step)
            self._writer.add_scalar("train/lr", row["lr"], step)
            return
        for sensor, score in row["val"].items():
            self._writer.add_scalar(f"val/map_{sensor}", score, step)
        for name in ("val_map", "temperature"):
            if row.get(name) is not None:
                self._writer.add_scalar(f"val/{name}", row[name], step)


def read_metrics(path: Path) -> list[Row]:
    """Return the rows of a metrics.jsonl; a last line that a kill cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _open_events(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "TensorBoard is not installed: pip install 'landmark[tensorboard]'"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    return SummaryWriter(str(folder))
