"""What reading processes are given in tests: apart from them, to be imported in a moment."""

from __future__ import annotations

import os
import signal
import time

import numpy as np


class Slow:
    """Stands for a split: writes row numbers, in the middle of a slot's time, slowly."""

    def read(self, rows: np.ndarray, *, out: np.ndarray, packed: bool) -> np.ndarray:
        for place, row in enumerate(rows):
            if row < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            out[place] = row
            time.sleep(0.0005)
        return out


class Struck(Slow):
    """Is sent signals while the process that reads from it is not yet ready."""

    def __getstate__(self) -> dict:
        return {"something": "to restore"}

    def __setstate__(self, state: dict) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)


class Stuck(Slow):
    """Does not come to an end of a step."""

    def read(self, rows: np.ndarray, *, out: np.ndarray, packed: bool) -> np.ndarray:
        time.sleep(600)
        return out
