"""Fetch as batch jobs: a real Slurm, asked for through dask-jobqueue and a YAML file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.commands import contents, run, run_json
from tests.integration.slurm import private_slurm

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def slurm(
    require_tool: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    for program in ("slurmctld", "slurmd", "sbatch"):
        require_tool(program, "slurm-wlm")
    require_tool("munged", "munge")
    with private_slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def test_slurm_jobs_write_the_same_bytes(
    slurm: dict[str, str],
    small_manifest: Path,
    new_dataset: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    cluster = tmp_path / "slurm.yaml"
    cluster.write_text(
        yaml.safe_dump(
            {
                "class": "SLURMCluster",
                "jobs": 2,
                "options": {
                    "queue": "debug",
                    "cores": 1,
                    "processes": 1,
                    "memory": "2GB",
                    "walltime": "00:10:00",
                    "interface": "lo",
                    "python": sys.executable,
                    "local_directory": str(tmp_path / "dask"),
                    "log_directory": str(tmp_path / "logs"),
                    "death_timeout": 60,
                },
            }
        )
    )
    batch, alone = new_dataset("batch"), new_dataset("alone")
    written = run_json("fetch", small_manifest, "--out", batch, "--cluster", cluster)
    run("fetch", small_manifest, "--out", alone, "--quiet")
    assert written["shards"] > 4
    assert contents(batch) == contents(alone)
    # dask-jobqueue leaves a log per job: that the work went through Slurm is seen here.
    assert list((tmp_path / "logs").glob("*"))
