"""How long work reports itself: a small protocol the commands fill with bars or lines."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What long-running functions call; the command decides how it looks."""

    def start(self, label: str, total: int) -> None:
        """Begin a stage of `total` units (patches, files, steps)."""

    def advance(self, units: int = 1, holes: int = 0) -> None:
        """Report units done, and holes among them."""

    def note(self, message: str) -> None:
        """Show one line without ending the stage."""

    def finish(self) -> None:
        """End the stage."""


class Silent:
    """A progress that shows nothing."""

    def start(self, label: str, total: int) -> None:
        """Do nothing."""

    def advance(self, units: int = 1, holes: int = 0) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
