"""Ctrl-C and SIGTERM as a flag that a loop asks for between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupt:
    """Holds the number of the first signal that came, or 0."""

    def __init__(self) -> None:
        self.signal = 0

    def take(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal (a signal handler)."""
        self.signal = self.signal or number


@contextlib.contextmanager
def listening() -> Iterator[Interrupt]:
    """Catch SIGINT and SIGTERM while the context lasts (only from the main thread)."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, interrupt.take) for number in numbers]
    try:
        yield interrupt
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
