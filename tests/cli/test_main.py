from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import main
from landmark.errors import (
    InputError,
    InterruptedRunError,
    LandmarkError,
    TooManyHolesError,
)

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "fetch",
    "harmonize",
    "train-baseline",
    "evaluate",
    "search",
    "report",
    "explain",
    "verify",
    "demo",
)


def fake_verify(monkeypatch: pytest.MonkeyPatch, action: Any) -> None:
    monkeypatch.setitem(sys.modules, "landmark.verifying", SimpleNamespace(verify=action))


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("start", ["import landmark", "from cli.main import run; run(['--help'])"])
def test_start_imports_nothing_heavy(start: str) -> None:
    done = python(
        f"""
        {start}
        import sys
        heavy = {{"torch", "timm", "transformers", "geopandas", "pandas", "rasterio", "numba",
                  "pyarrow", "dask", "distributed", "matplotlib", "numpy", "xarray", "pydantic"}}
        print("HEAVY", sorted(heavy & set(sys.modules)))
        """
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout + done.stderr


def test_help_answers_in_under_a_second_of_cpu() -> None:
    def cost() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = python("from cli.main import run; run(['--help'])")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "train-baseline" in done.stdout
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cost() for _ in range(2)) < 1.0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in ("--json", "--quiet", "--debug"):
        assert option in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("landmark 0.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fetch"], "MANIFEST"),
        (["fetch", "demo"], "--out"),
        (["fech"], "fetch"),
        (["fetch", "demo", "--out", "d", "--plann"], "--plan"),
        (["fetch", "demo", "--out", "d", "--workers", "0"], "--workers"),
        (["fetch", "demo", "--out", "d", "--limit", "many"], "--limit"),
        (["fetch", "demo", "--out", "d", "--part", "4/3"], "--part 4/3: give I/N"),
        (["harmonize", "d", "--part", "0/3"], "--part 0/3: give I/N"),
        (["search", "d", "text", "--sensor", "s3"], "--sensor"),
        (["search", "d", "text", "--html", "no/such/folder.html"], "--html no/such/folder.html"),
        (["explain", "d", "x", "--html", "/"], "--html /: not a file"),
        (["verify"], "DATASET"),
        (["verify", "no-such-dataset"], "no-such-dataset: no such dataset directory"),
        (["report", "no-such-dataset"], "no-such-dataset: no such dataset directory"),
        (["fetch", "demmo", "--out", "d"], "did you mean 'demo'"),
    ],
)
def test_wrong_input_is_one_line_and_makes_nothing(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert expected in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("m.yaml:3: s2: wrong\nreally"), 2, "error: m.yaml:3: s2: wrong really\n"),
        (LandmarkError("disk full"), 1, "error: disk full\n"),
        (TooManyHolesError("7 holes"), 3, "error: 7 holes\n"),
        (InterruptedRunError("stopped; add --resume", signal.SIGTERM), 143, "error: stopped;"),
        (ZeroDivisionError("oh"), 1, "internal error: ZeroDivisionError: oh; this is a fault"),
    ],
)
def test_errors_become_exit_codes(
    error: Exception,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any) -> None:
        raise error

    fake_verify(monkeypatch, fail)
    assert main.run(["verify", "d", "--json"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    assert main.run(["verify", "d", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


def test_json_is_alone_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def noisy(root: Path, progress: Any) -> Any:
        print("a library talks")
        warnings.warn("a library warns", stacklevel=1)
        progress.start("verify", 2)
        progress.note("half way")
        progress.advance(2)
        document = {"ok": True, "shards": 2, "bad": []}
        return SimpleNamespace(to_dict=lambda: document, ok=True, bad=(), shards=2)

    fake_verify(monkeypatch, noisy)
    assert main.run(["verify", "d", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"ok": True, "shards": 2, "bad": []}
    assert captured.err == "a library talks\nhalf way\n"
    assert main.run(["verify", "d", "--json", "--quiet"]) == 0
    assert capsys.readouterr().err == "a library talks\n"


def test_damage_is_exit_1_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = SimpleNamespace(file="patches/s1-00000.parquet", cause="is missing")
    summary = SimpleNamespace(to_dict=lambda: {"ok": False}, ok=False, bad=(bad,), shards=3)
    fake_verify(monkeypatch, lambda *_: summary)
    assert main.run(["verify", "d"]) == 1
    assert "damaged: patches/s1-00000.parquet is missing" in capsys.readouterr().out
    assert main.run(["verify", "d", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_with_a_line_and_unwind(number: signal.Signals, tmp_path: Path) -> None:
    code = """
        import sys, time
        from types import SimpleNamespace
        def verify(root, progress):
            try:
                print("ready", flush=True)
                time.sleep(60)
            finally:
                print("dropped", flush=True)
        sys.modules["landmark.verifying"] = SimpleNamespace(verify=verify)
        from cli.main import main
        main()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), "verify", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"  # work's own prints go to stderr
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert out == ""
    assert err == (
        f"dropped\ninterrupted ({number.name}); to resume, run the same command again; whole "
        "shards are kept\n"
    )


def test_a_second_signal_ends_at_once() -> None:
    code = """
        import sys, time
        from types import SimpleNamespace
        def verify(root, progress):
            try:
                print("ready", flush=True)
                time.sleep(60)
            finally:
                print("waiting", flush=True)
                time.sleep(60)
        sys.modules["landmark.verifying"] = SimpleNamespace(verify=verify)
        from cli.main import main
        main()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), "verify", "d"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    for line in ("ready\n", "waiting\n"):
        assert process.stderr.readline() == line
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT


def test_a_reader_that_went_away_is_no_internal_error() -> None:
    command = f"{sys.executable} -m cli.main --help | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert "error" not in done.stderr.lower()
