"""The exceptions that end a command with one clear line instead of a traceback."""

from __future__ import annotations


class LandmarkError(Exception):
    """A fault at run time that could not be healed: the command ends with exit code 1.

    The message is shown to the user as it is: one line, naming what failed and what to do.
    """

    exit_code = 1


class InputError(LandmarkError):
    """The input is wrong (file, field, option): exit code 2, and nothing was made."""

    exit_code = 2


class TooManyHolesError(LandmarkError):
    """The run is complete, but holds more holes than `--max-failed` allows: exit code 3."""

    exit_code = 3


class InterruptedRunError(LandmarkError):
    """The run was stopped by a signal and can be resumed: exit code 128 + signal number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
