"""The whole demo in small, and its report in a real browser."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.commands import leftovers, run, run_json

pytestmark = pytest.mark.integration

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # Whatever the page asked of the network could not be answered.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("demo") / "d"
    answer = run_json("demo", folder, "--quick")
    assert isinstance(answer, dict)
    return answer


def browse(chromium: Path, page: Path, profile: Path, *options: str) -> str:
    done = subprocess.run(
        [str(chromium), *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_answers_with_everything_to_look_at(demo: dict[str, Any]) -> None:
    root = Path(demo["dataset"])
    assert Path(demo["report"]) == root / "report.html"
    assert {score["run"] for score in demo["scores"]} >= {
        "clip",
        "baseline:random",
        "baseline:label_frequency",
        "baseline:source_shortcut",
        "baseline:multilabel",
    }
    assert {score["sensor"] for score in demo["scores"]} >= {"s1", "s2"}
    assert len(demo["searches"]) == 2
    for search in demo["searches"]:
        assert [hit["rank"] for hit in search["hits"]] == list(range(1, 11))
        assert Path(search["html"]).is_file()
    for name in ("shards/README.md", "shards/queries.jsonl", "runs/clip/curves.png"):
        assert (root / name).is_file()
    assert leftovers(root) == []


def test_a_second_demo_repeats_no_work(demo: dict[str, Any]) -> None:
    root = Path(demo["dataset"])
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*.parquet") if "cache" not in p.parts}
    shown = run("demo", root, "--quick", "--quiet")
    assert "Where to look" in shown
    assert str(root / "report.html") in shown
    kept = {p: p.stat().st_mtime_ns for p in before}
    views = {root / "ledger.parquet", root / "failures.parquet"}
    assert {p for p in before if before[p] != kept[p]} <= views


def test_the_report_holds_all_its_parts(demo: dict[str, Any]) -> None:
    html = Path(demo["report"]).read_text()
    for text in ("What was asked", "Where the patches lie", "Run times", "train-baseline"):
        assert text in html
    assert html.count("data:image/png") >= 10
    assert "http://" not in html
    assert "https://" not in html
    assert str(Path(demo["dataset"]).parent) not in html


@pytest.mark.parametrize("width", [1280, 500])
def test_the_report_is_drawn_by_a_browser(
    demo: dict[str, Any],
    width: int,
    require_tool: Callable[[str, str], Path],
    tmp_path: Path,
) -> None:
    chromium = require_tool("chromium", "chromium")
    picture = tmp_path / "page.png"
    options = (f"--window-size={width},3000", f"--screenshot={picture}")
    browse(chromium, Path(demo["report"]), tmp_path / "profile", *options)
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape == (3000, width, 3)
    # A page that was laid out has text and colour over all its height, and margins left free.
    bands = pixels.reshape(10, 300, width, 3)
    assert (bands.reshape(10, -1).std(axis=1) > 2).all()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500
    # The last columns hold the margin: ground, and the faint end of a panel's shadow.
    margin = np.abs(pixels[:, -6:].astype(int) - pixels[0, -1])
    assert margin.max() <= 12, "the page is wider than the window"


def test_the_browser_finds_every_picture_and_section(
    demo: dict[str, Any], require_tool: Callable[[str, str], Path], tmp_path: Path
) -> None:
    chromium = require_tool("chromium", "chromium")
    for page in (demo["report"], demo["searches"][0]["html"]):
        dom = browse(chromium, Path(page), tmp_path / "profile", "--dump-dom")
        source = Path(page).read_text()
        for tag in ("<section", "<img", "<table", '<li class="card"', "<dt>"):
            assert dom.count(tag) == source.count(tag), tag


def test_progress_and_json_do_not_mix(demo: dict[str, Any]) -> None:
    assert json.loads(run("verify", demo["dataset"], "--json"))["ok"] is True
