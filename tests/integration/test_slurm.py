"""Batch jobs on a real Slurm: through dask-jobqueue with a job that is lost, and as job arrays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from landmark import jobs
from tests.commands import command, contents, leftovers, run
from tests.integration.slurm import private_slurm

# Generous: what is waited for takes seconds on an idle machine, minutes on one that is not.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
MakeDataset = Callable[[str], Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def slurm(
    require_tool: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Start a Slurm for this module's tests and point this process's environment to it."""
    for program in ("slurmctld", "slurmd", "sbatch"):
        require_tool(program, "slurm-wlm")
    require_tool("munged", "munge")
    with (
        private_slurm(tmp_path_factory.mktemp("slurm")) as environment,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        # Jobs inherit the environment: this checkout, and the commands of this interpreter.
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv(
            "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        )
        yield


@pytest.fixture
def cluster(slurm: None, tmp_path: Path) -> Path:
    """A cluster file of two jobs on loopback."""
    path = tmp_path / "slurm.yaml"
    options = {
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
    }
    path.write_text(yaml.safe_dump({"class": "SLURMCluster", "jobs": 2, "options": options}))
    return path


def running_jobs() -> list[str]:
    done = subprocess.run(
        ["squeue", "-h", "-t", "running", "-o", "%A"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def cancel(job: str) -> None:
    subprocess.run(["scancel", "--signal=KILL", "--full", job], check=True)


def run_and_lose_a_job(arguments: tuple[str | Path, ...], marks: Path) -> None:
    """Run a command to its end; kill one of its jobs once both run and a shard is committed."""
    before = set(marks.glob("*.json"))
    process = subprocess.Popen(command(*arguments, "--quiet"))
    try:
        deadline = time.monotonic() + 600
        while not (set(marks.glob("*.json")) - before and len(running_jobs()) == 2):
            assert process.poll() is None, "ended before a job could be cancelled"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        cancel(running_jobs()[-1])
        assert process.wait(timeout=600) == 0
    finally:
        process.kill()
        process.wait()


def test_jobs_of_which_one_is_lost_write_the_same_bytes(
    cluster: Path,
    undisturbed: Path,
    small_manifest: Path,
    new_dataset: MakeDataset,
    tmp_path: Path,
) -> None:
    root = new_dataset("batch")
    run("fetch", small_manifest, "--out", root, "--plan", "--quiet")
    fetch = ("fetch", small_manifest, "--out", root, "--cluster", cluster)
    run_and_lose_a_job(fetch, root / "patches")
    run_and_lose_a_job(("harmonize", root, "--cluster", cluster), root / "labels")
    assert contents(root) == contents(undisturbed)
    assert leftovers(root) == []
    # dask-jobqueue leaves a log per job: that the work went through Slurm is seen here.
    assert len(list((tmp_path / "logs").glob("*"))) >= 4


def wait_for_a_third_job(task: tuple[str, int]) -> str:
    """Sign in as a task of this job; go on when tasks of three jobs have signed in."""
    folder, _ = task
    job = os.environ["SLURM_JOB_ID"]
    (Path(folder) / job).touch()
    deadline = time.monotonic() + 600
    while len(list(Path(folder).iterdir())) < 3:
        assert time.monotonic() < deadline, "no third job came"
        time.sleep(0.1)
    return job


def test_a_lost_job_is_asked_for_again(cluster: Path, tmp_path: Path) -> None:
    signed_in = tmp_path / "jobs"
    signed_in.mkdir()
    lost: list[str] = []

    def lose_one_of_two() -> None:
        while len(found := list(signed_in.iterdir())) < 2:
            time.sleep(0.1)
        lost.append(found[0].name)
        cancel(found[0].name)

    said: list[str] = []
    thread = threading.Thread(target=lose_one_of_two, daemon=True)
    thread.start()
    tasks = [(str(signed_in), number) for number in range(6)]
    outcomes = list(jobs.run(wait_for_a_third_job, tasks, cluster=str(cluster), note=said.append))
    thread.join()
    assert [outcome.error for outcome in outcomes] == [None] * 6
    # The third job is one that was not asked for at first: there were two.
    assert len(list(signed_in.iterdir())) == 3
    assert lost[0] not in {outcome.value for outcome in outcomes}
    assert any("1 batch jobs were lost and are asked for again" in line for line in said)
    assert any("2 SLURMCluster jobs" in line and "2GB" in line for line in said)


def array(step: str, parts: int, **exported: Path) -> None:
    """Run the documented job array to its end."""
    names = ",".join(["ALL", *(f"{name}={value}" for name, value in exported.items())])
    subprocess.run(
        [
            "sbatch", "--wait", f"--array=1-{parts}", "--cpus-per-task=1", "--mem=1500M",
            f"--export={names}", f"--output={exported['DATASET'].parent}/%A-%a.log",
            str(ROOT / "docs" / "array.sbatch"), step,
        ],
        check=True,
        timeout=900,
    )  # fmt: skip


def test_job_arrays_write_the_same_bytes(
    slurm: None, undisturbed: Path, small_manifest: Path, new_dataset: MakeDataset
) -> None:
    root = new_dataset("array")
    run("fetch", small_manifest, "--out", root, "--plan", "--quiet")
    array("fetch", 3, MANIFEST=small_manifest, DATASET=root)
    made = {path.name for path in (root / "patches").glob("*.json")}
    assert made == {path.name for path in (undisturbed / "patches").glob("*.json")}
    run("fetch", small_manifest, "--out", root, "--quiet")
    array("harmonize", 3, DATASET=root)
    assert len(list((root / "labels").glob("*.json"))) == len(made)
    run("harmonize", root, "--quiet")
    assert contents(root) == contents(undisturbed)
    assert leftovers(root) == []
