"""The program `landmark`: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from types import FrameType
from typing import Annotated

import typer
from typer.main import get_command

from cli import (
    check,
    demo,
    evaluate,
    explain,
    export,
    fetch,
    harmonize,
    migrate,
    report,
    search,
    train_baseline,
    verify,
)
from cli.console import Session
from landmark.errors import LandmarkError

app = typer.Typer(
    name="landmark",
    help="Build text-and-satellite corpora from Sentinel-1 and Sentinel-2, and search them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fetch")(fetch.fetch)
app.command("harmonize")(harmonize.harmonize)
app.command("check")(check.check)
app.command("train-baseline")(train_baseline.train_baseline)
app.command("evaluate")(evaluate.evaluate)
app.command("search")(search.search)
app.command("report")(report.report)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("migrate")(migrate.migrate)
app.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"landmark {metadata.version('landmark')}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


class InterruptedBySignal(BaseException):
    """SIGINT or SIGTERM came: unwinds the work, which drops or finishes its shards in flight."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every error is shown as one line.

    Exit codes: 0 done; 1 the run failed; 2 the input is wrong; 3 too many holes; 130 and 143
    interrupted, resumable.
    """
    session = Session(debug="--debug" in arguments)
    with _signals(), _library_voices(session.debug):
        try:
            result = get_command(app).main(
                args=list(arguments), prog_name="landmark", standalone_mode=False, obj=session
            )
            sys.stdout.flush()
        except InterruptedBySignal as stop:
            name = signal.Signals(stop.number).name
            return _fail(
                session, f"interrupted ({name}); to resume, {session.resume}", 128 + stop.number
            )
        except LandmarkError as error:
            return _fail(session, f"error: {error}", error.exit_code)
        except BrokenPipeError:
            return 1  # The reader of our answer went away (`| head`): nothing to say to it.
        except Exception as error:
            if hasattr(error, "format_message"):  # typer's usage errors, whichever click it holds
                return _usage(error)
            return _fail(
                session,
                f"internal error: {type(error).__name__}: {error}; this is a fault of landmark, "
                "please report it with the output of the same command and --debug",
                1,
            )
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def _fail(session: Session, message: str, code: int) -> int:
    if session.debug:
        traceback.print_exc()
    print(" ".join(message.split()), file=sys.stderr, flush=True)
    return code


def _usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    message = str(error.format_message()).strip()  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)
        return 2
    path = context.command_path if context is not None else "landmark"
    print(
        f"error: {' '.join(message.split()).rstrip('.')} (see {path} --help)",
        file=sys.stderr,
        flush=True,
    )
    return 2


@contextmanager
def _signals() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into an exception; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)

    def take(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        raise InterruptedBySignal(number)

    previous = [signal.signal(number, take) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


@contextmanager
def _library_voices(debug: bool) -> Iterator[None]:
    """Keep warnings and log lines of libraries to --debug: people get our own words."""
    root = logging.getLogger()
    handler = logging.StreamHandler() if debug else logging.NullHandler()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            if not debug and not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)


if __name__ == "__main__":
    main()
