"""Running the real commands in tests, and comparing what they wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

#: Views and caches: rebuilt at will, not part of what is promised to be bit-identical.
NOT_COMPARED = ("cache", "runs", "report.html")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "cli.main", *map(str, arguments)]


def run(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> str:
    """Run a command to its end, check its exit code, return its standard output."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    if code == 2:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        assert len(lines) == 1, done.stderr
        assert "Traceback" not in done.stderr
        return lines[0]
    return done.stdout


def run_json(*arguments: str | Path, code: int = 0) -> Any:
    """Run a command with --json and return its one document."""
    return json.loads(run(*arguments, "--json", code=code))


def contents(root: Path) -> dict[str, bytes]:
    """Return every file of a dataset that must be bit-identical, by relative path."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in NOT_COMPARED
    }


def leftovers(root: Path) -> list[str]:
    """Return temporary and dot files a run left behind."""
    return [
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.name.startswith(".") or path.suffix in {".tmp", ".moving", ".lock"}
    ]


def write_manifest(path: Path, **changes: Any) -> Path:
    """Write a manifest over the small sandbox, with top-level keys changed or added."""
    manifest: dict[str, Any] = {
        "name": "small",
        "seed": 3,
        "catalog": {"kind": "sandbox", "size": "small"},
        "s1": {"collections": ["sentinel-1-rtc"]},
        "s2": {"collections": ["sentinel-2-l2a"]},
        "labels": [
            {"kind": "corine", "rasters": ["sandbox:labels/corine.tif"]},
            {
                "kind": "dynamic-world",
                "rasters": [
                    "sandbox:labels/dynamic_world_32632.tif",
                    "sandbox:labels/dynamic_world_32736.tif",
                ],
            },
        ],
        "events": [
            {
                "type": kind,
                "file": f"sandbox:events/{kind}.geojson",
                "analysed": f"sandbox:events/{kind}_analysed.geojson",
            }
            for kind in ("flood", "fire", "earthquake")
        ],
        "label_rules": {"outside_events": "absent"},
        "splits": {"block_km": 2.4, "buffer_cells": 0},
        "shards": {"rows": 16},
    }
    path.write_text(yaml.safe_dump(manifest | changes, sort_keys=False))
    return path
