from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landmark import clusters, dask_jobs, jobs
from landmark.errors import InputError


def square(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number * number


@pytest.mark.parametrize("workers", [1, 4, 100])
def test_every_task_once_with_its_error(workers: int) -> None:
    outcomes = list(jobs.run(square, list(range(20)), workers=workers))
    assert sorted(o.task for o in outcomes) == list(range(20))
    for outcome in outcomes:
        if outcome.task == 3:
            assert str(outcome.error) == "three"
        else:
            assert outcome.value == outcome.task**2
            assert outcome.error is None


def test_no_tasks() -> None:
    assert list(jobs.run(square, [], cluster="nowhere.yaml")) == []


def test_closing_early_drops_what_has_not_begun() -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def task(number: int) -> int:
        with lock:
            begun.append(number)
        return number

    runner = jobs.run(task, list(range(1000)), workers=2)
    next(runner)
    runner.close()  # type: ignore[attr-defined]
    assert len(begun) < 20


def test_workers_must_be_positive() -> None:
    with pytest.raises(InputError, match="--workers 0"):
        list(jobs.run(square, [1], workers=0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("class: [", "cannot be read as YAML"),
        ("jobs: 2", "must hold the keys"),
        ("class: SLURMCluster\nwalltime: 1", "must hold the keys"),
        ("class: SLURMCluster\njobs: 0", "whole number from 1"),
        ("class: SLURMCluster\noptions: [1]", "options a mapping"),
    ],
)
def test_cluster_file_errors(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "cluster.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        clusters.read_cluster_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cluster_class_must_be_dask_jobqueues(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    path = tmp_path / "cluster.yaml"
    path.write_text("class: os\n")
    with pytest.raises(InputError, match="not one of dask_jobqueue's clusters"):
        list(jobs.run(square, [1], cluster=str(path)))


class Batch:
    """What a watch sees of a dask-jobqueue cluster: which jobs are wanted, which workers live."""

    def __init__(self, **groups: list[str]) -> None:
        self.worker_spec: dict[str, dict[str, Any]] = {
            name: {"group": group} if group else {} for name, group in groups.items()
        }
        self.scheduler_info: dict[str, dict[str, dict[str, str]]] = {"workers": {}}
        self.workers: dict[str, object] = dict.fromkeys(groups)

    def live(self, *names: str) -> None:
        self.scheduler_info = {"workers": {f"tcp://{name}": {"name": name} for name in names}}


def test_a_job_is_lost_when_all_its_workers_stay_away() -> None:
    batch = Batch(a=[], b=["-0", "-1"], c=[])
    watch = clusters.JobWatch(batch, 3, lambda message: None)
    batch.live("a", "b-0", "b-1")
    assert watch.lost_jobs(5.0) == []
    batch.live("a", "b-1")  # one of two processes of b
    assert watch.lost_jobs(clusters.LOST_S) == []
    batch.live("a")
    assert watch.lost_jobs(clusters.LOST_S - 1) == []
    batch.live("a", "b-0")  # a nanny restarted it
    assert watch.lost_jobs(5.0) == []
    batch.live()
    assert watch.lost_jobs(clusters.LOST_S - 1) == []
    # c never came: it waits in the queue, and is not lost.
    assert watch.lost_jobs(5.0) == ["a", "b"]


def test_a_job_that_came_and_went_unseen_is_lost() -> None:
    batch = Batch(a=[], b=[])
    watch = clusters.JobWatch(batch, 2, lambda message: None)
    batch.live("a")
    assert watch.lost_jobs(5.0) == []
    assert watch.lost_jobs(clusters.LOST_S) == []  # b may wait in the queue
    del batch.workers["b"]  # as dask does some time after its worker went away
    assert watch.lost_jobs(clusters.LOST_S - 1) == []
    assert watch.lost_jobs(5.0) == ["b"]


def test_jobs_of_which_no_worker_comes_are_spoken_of_again_and_again() -> None:
    batch = Batch(a=[], b=[])
    said: list[str] = []
    watch = clusters.JobWatch(batch, 2, said.append, "logs")
    step = clusters.SILENT_S / 2
    for _ in range(5):
        watch.lost_jobs(step)
        watch.tell_silence(step)
    assert len(said) == 2
    assert "there has been no worker" in said[0]
    assert "logs: logs" in said[0]
    batch.live("a")
    for _ in range(4):
        watch.lost_jobs(step)
        watch.tell_silence(step)
    assert len(said) == 2  # one came: the others may wait as long as they have to
    batch.live()
    for _ in range(2):
        watch.lost_jobs(step)
        watch.tell_silence(step)
    assert len(said) == 3  # it left, and what was asked for in its place has not come


def test_a_refusal_comes_home_as_it_was() -> None:
    assert dask_jobs._guarded(square, 4, 1) == 16

    def refuse(task: int) -> int:
        raise InputError(f"field {task}")

    refusal = dask_jobs._guarded(refuse, 7, 3)

    class Done:
        def exception(self) -> None:
            return None

        def result(self) -> Any:
            return refusal

    value, error = dask_jobs._result(Done())
    assert value is None
    assert isinstance(error, InputError)
    assert str(error) == "field 7"


def test_items_are_taken_only_a_few_ahead_and_come_back_in_order() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    def slow_if_even(number: int) -> int:
        time.sleep(0.002 * (number % 2 == 0))
        return number

    found = jobs.map_ahead(slow_if_even, endless(), 4)
    assert list(itertools.islice(found, 30)) == list(range(30))
    found.close()  # type: ignore[attr-defined]
    assert len(taken) <= 30 + 8
    assert list(jobs.map_ahead(str, [], 4)) == []


def test_what_an_item_raises_comes_in_its_turn() -> None:
    found = jobs.map_ahead(lambda number: 6 // number, [3, 2, 0, 1], 2)
    assert [next(found), next(found)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(found)
