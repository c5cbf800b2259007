from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from baselines.filters import Filters
from cli import main
from landmark.errors import TooManyHolesError
from landmark.pages import Page, Paragraph, Section, Table
from landmark.plan_summary import PlanSummary


class Call:
    """Stands for an engine function: remembers how it was called, returns what it is told."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.arguments: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.arguments, self.options = arguments, options
        return self.result


def module(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    fake = ModuleType(name)
    fake.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, fake)
    package, _, attribute = name.rpartition(".")
    monkeypatch.setattr(importlib.import_module(package), attribute, fake, raising=False)


def plan() -> PlanSummary:
    return PlanSummary(
        patches=9,
        scenes=2,
        requests=30,
        bytes_read=2_000_000,
        bytes_kept=900_000,
        bytes_corpus=910_000,
        plan_seconds=0.5,
        estimate={"1": 12.0, "8": 2.0},
        statuses={"s1": {"keep": 4}, "s2": {"cloud": 70, "keep": 5}},
        map=("|█ ·|", "8.00..9.00 E, 45.00..46.00 N; █ = 3 patches"),
    )


def fetched(error: Exception | None = None, planned: PlanSummary | None = None) -> Any:
    facts = {
        "patches": 8,
        "shards": 2,
        "shards_skipped": 1,
        "filtered": {"cloud": 3},
        "failures": 1,
        "seconds": 1.5,
    }

    def raise_for_holes() -> None:
        if error:
            raise error

    return SimpleNamespace(to_dict=lambda: facts, raise_for_holes=raise_for_holes, plan=planned)


def test_fetch_hands_its_options_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from landmark import fetching

    call = Call(fetched())
    monkeypatch.setattr(fetching, "fetch", call)
    options = "--locked --retry-failed --max-failed 2% --part 2/3 --workers 4 --cluster local"
    assert main.run(["fetch", "demo", "--out", str(tmp_path / "d"), *options.split()]) == 0
    manifest, root, given, _ = call.arguments
    assert manifest.name == "demo"
    assert root == tmp_path / "d"
    assert given == fetching.FetchOptions(
        locked=True,
        retry_failed=True,
        max_failed="2%",
        part=(2, 3),
        workers=4,
        cluster="local",
    )
    shown = capsys.readouterr().out
    assert "8 patches written in 2 shards (1 were there already), 1.5 s" in shown
    assert "filtered: 3 cloud; holes: 1" in shown


def test_fetch_plan_shows_costs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from landmark import fetching

    call = Call(fetched(planned=plan()))
    monkeypatch.setattr(fetching, "fetch", call)
    assert main.run(["fetch", "demo", "--out", str(tmp_path), "--plan", "--limit", "9"]) == 0
    assert call.arguments[2] == fetching.FetchOptions(plan_only=True, limit=9)
    shown = capsys.readouterr().out
    for part in (
        "9 patches from 2 scenes",
        "2 MB in 30 requests",
        "12 s with 1, 2.0 s with 8",
        "█ = 3 patches",
    ):
        assert part in shown
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.splitlines()]
    assert "keep 4 5" in lines
    assert "cloud 0 70" in lines
    assert main.run(["fetch", "demo", "--out", str(tmp_path), "--plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == plan().to_dict()


def test_too_many_holes_answer_and_end_with_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from landmark import fetching

    monkeypatch.setattr(fetching, "fetch", Call(fetched(TooManyHolesError("1 of 9 are holes"))))
    assert main.run(["fetch", "demo", "--out", str(tmp_path), "--json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["failures"] == 1
    assert captured.err == "error: 1 of 9 are holes\n"


def test_harmonize(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = SimpleNamespace(
        patches=10,
        labelled=9,
        shards=4,
        shards_skipped=1,
        splits={"s1": {"train": 6, "corpus": 3}},
        dropped={"buffer": 1},
        queries=7,
        warnings=("few patches",),
        seconds=2.0,
        to_dict=lambda: {"patches": 10},
    )
    call = Call(summary)
    module(monkeypatch, "harmonize.pipeline", harmonize=call)
    assert main.run(["harmonize", str(tmp_path), "--labels-only", "--part", "1/2"]) == 0
    assert call.arguments == (tmp_path,)
    progress = call.options.pop("progress")
    assert progress is not None
    assert call.options == {
        "labels_only": True,
        "part": (1, 2),
        "workers": None,
        "cluster": None,
    }
    captured = capsys.readouterr()
    assert "9 of 10 patches with labels" in captured.out
    assert "s1: train 6, corpus 3" in captured.out
    assert "in no split: buffer 1" in captured.out
    assert captured.err == "few patches\n"


def train_result() -> Any:
    return SimpleNamespace(
        run="clip",
        recipe="clip",
        model="m",
        epochs=3,
        best_epoch=2,
        val_map=0.5,
        seconds=3.0,
        complete_before=False,
        to_dict=lambda: {"run": "clip"},
    )


def test_train_baseline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = Call(train_result())
    module(monkeypatch, "baselines.training", train=call, TrainOptions=dict)
    options = (
        "--recipe multilabel --model resnet50 --run mine --resume --epochs 3 --batch 8 --seed 5 "
        "--set pooling=cls --set lr=1e-4 --weights ssl4eo --tensorboard --checkpoint-every 60 "
        "--reading-processes 2"
    )
    assert main.run(["train-baseline", str(tmp_path), *options.split()]) == 0
    given = {key: value for key, value in call.arguments[1].items() if value is not None}
    assert given == {
        "recipe": "multilabel",
        "model": "resnet50",
        "run": "mine",
        "resume": True,
        "epochs": 3,
        "batch": 8,
        "seed": 5,
        "settings": {"pooling": "cls", "lr": 1e-4},
        "weights": "ssl4eo",
        "tensorboard": True,
        "checkpoint_seconds": 60.0,
        "reading_processes": 2,
    }
    assert "kept epoch 2, val mAP 0.500" in capsys.readouterr().out


def test_only_the_first_process_of_torchrun_speaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module(monkeypatch, "baselines.training", train=Call(train_result()), TrainOptions=dict)
    for rank, expected in (("0", '{\n "run": "clip"\n}\n'), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        assert main.run(["train-baseline", str(tmp_path), "--json"]) == 0
        assert capsys.readouterr().out == expected


def search_result() -> Any:
    hit = SimpleNamespace(rank=1, score=0.75, patch_id="p1", labels=("Water", "Trees"))
    row = {"rank": 1, "score": 0.75, "patch_id": "p1", "sensor": "s2", "labels": ["Water"]}
    return SimpleNamespace(
        text="a lake", run="clip", gallery=40, rows=(hit,), to_list=lambda: [row], request=None
    )


def test_search_shows_hits_and_writes_a_gallery(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = Call(search_result())
    page = Page("hits", "", (Section("s", (Paragraph("a picture book"),)),))
    module(monkeypatch, "baselines.search", search=call, search_like=call)
    module(monkeypatch, "baselines.gallery", gallery_page=Call(page))
    html = tmp_path / "hits.html"
    options = ["--run", "r", "--sensor", "s2", "--top", "3", "--html", str(html)]
    assert main.run(["search", str(tmp_path), "a lake", *options]) == 0
    assert call.arguments[:5] == (tmp_path, "a lake", "r", Filters("s2"), 3)
    shown = capsys.readouterr().out
    for part in ('"a lake": run clip, 40 patches searched', "0.750", "p1", "Water. Trees"):
        assert part in shown
    assert "a picture book" in html.read_text()
    assert main.run(["search", str(tmp_path), "a lake", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["patch_id"] == "p1"
    assert call.arguments[:5] == (tmp_path, "a lake", None, Filters(), 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either TEXT or --like"),
        (["water", "--like", "p"], "give either TEXT or --like"),
        (["--like", "p", "--beta", "0.5"], "--like searches by an image"),
        (["water", "--from", "June"], "--from is 'June'; give a day such as 2023-06-01"),
    ],
)
def test_a_search_that_asks_wrongly_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main.run(["search", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


def test_evaluate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"run": "clip", "value": 0.5}]
    result = SimpleNamespace(
        rows=(), path=tmp_path / "e.json", notes=("a note",), to_list=lambda: rows
    )
    module(monkeypatch, "baselines.evaluation", evaluate=Call(result))
    module(
        monkeypatch,
        "baselines.headline",
        headline=Call(()),
        headline_table=Call(Table(("run", "mAP s1"), (("clip", 0.5),))),
        kinds_table=Call(Table(("queries", "run", "low"), (("paraphrase", "clip", 0.4),))),
    )
    assert main.run(["evaluate", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "clip" in captured.out
    assert "paraphrase" in captured.out
    assert captured.err == "a note\n"
    assert main.run(["evaluate", str(tmp_path), "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == rows
    assert captured.err == ""


def test_evaluate_classifies_chips(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = SimpleNamespace(to_dict=lambda: {"task": "probe", "accuracy": 0.6})
    result = SimpleNamespace(rows=(row,), path=tmp_path / "chips.json", notes=("few chips",))
    classify = Call(result)
    module(
        monkeypatch,
        "baselines.chips",
        classify_chips=classify,
        chips_table=Call(Table(("run", "accuracy"), (("clip", 0.6),))),
        class_table=Call(Table(("class", "probe"), (("Forest", 0.9),))),
    )
    command = ["evaluate", str(tmp_path), "--run", "clip", "--chips", str(tmp_path / "EuroSAT")]
    assert main.run([*command, "--chip-bands", "B02, B03"]) == 0
    captured = capsys.readouterr()
    assert "Forest" in captured.out
    assert "few chips" in captured.err
    bands = ("B02", "B03")
    assert classify.arguments[:5] == (tmp_path, tmp_path / "EuroSAT", "clip", bands, None)
    assert main.run([*command, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"task": "probe", "accuracy": 0.6}]
    assert main.run(["evaluate", str(tmp_path), "--chip-bands", "B02"]) == 2
    assert "go with --chips DIR" in capsys.readouterr().err


def test_explain(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Page("p1", "", (Section("s", (Paragraph("why"),)),))
    explanation = SimpleNamespace(
        lines=lambda: ("Water: 60 %", "clc:512"),
        page=lambda: page,
        to_dict=lambda: {"patch_id": "p1"},
    )
    module(monkeypatch, "harmonize.explaining", explain=Call(explanation))
    html = tmp_path / "p.html"
    assert main.run(["explain", str(tmp_path), "p1", "--html", str(html)]) == 0
    assert capsys.readouterr().out == f"Water: 60 %\nclc:512\npage: {html}\n"
    assert "why" in html.read_text()
    assert main.run(["explain", str(tmp_path), "p1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"patch_id": "p1"}


def test_report_joins_the_three_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from landmark import reporting

    monkeypatch.setattr(reporting, "heading", Call(("my corpus", "small")))
    monkeypatch.setattr(reporting, "sections", Call((Section("corpus part", ()),)))
    for name in ("harmonize", "baselines"):
        parts = Call((Section(f"{name} part", ()),))
        module(monkeypatch, f"{name}.reporting", sections=parts)
    assert main.run(["report", str(tmp_path), "--json"]) == 0
    path = tmp_path / "report.html"
    assert json.loads(capsys.readouterr().out) == {"report": str(path)}
    html = path.read_text()
    positions = [html.index(f">{name} part</h2>") for name in ("corpus", "harmonize", "baselines")]
    assert positions == sorted(positions)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
