import json
import time
from dataclasses import fields

import pytest

from benchmarks import recording
from benchmarks.recording import Measurement, Options, Report, Row

COLUMNS = [
    "benchmark",
    "case",
    "subject",
    "peer",
    "metric",
    "ours_median",
    "peer_median",
    "ratio_median",
    "ratio_min",
    "ratio_max",
    "runs",
    "date",
    "versions",
    "machine",
]


def fixed(*cpu):
    runs = iter(cpu)
    return lambda: Measurement(amount=10, cpu_s=next(runs), wall_s=1.0)


def per_cpu(measurement):
    return measurement.per_cpu_s


def test_ratios_pair_the_rounds_and_take_the_median_of_ratios():
    measured = recording.interleaved(
        {"ours": fixed(1, 2, 5), "slow": fixed(2, 8, 5)}, runs=3, warm_up=0
    )
    (row,) = recording.compare("b", "c", measured, "samples_per_cpu_s", per_cpu)
    # Rates 10, 5, 2 against 5, 1.25, 2: ratios 2, 4, 1. The ratio of medians would be 2.5.
    assert (row.ratio_median, row.ratio_min, row.ratio_max) == (2, 1, 4)
    assert (row.ours_median, row.peer_median, row.runs) == (5, 2, 3)
    assert tuple(f.name for f in fields(Row)) == tuple(COLUMNS)


def test_every_peer_has_its_row_and_a_lone_subject_one_without_peer():
    measured = {name: [Measurement(1, 1, 1)] for name in ("ours", "a", "b")}
    assert [r.peer for r in recording.compare("b", "c", measured, "m", per_cpu)] == ["a", "b"]
    (alone,) = recording.compare("b", "c", {"ours": measured["ours"]}, "m", per_cpu)
    assert (alone.peer, alone.peer_median, alone.ratio_median) == (None, None, None)


def test_subjects_take_turns_and_warm_up_does_not_count():
    order: list[str] = []

    def subject(name):
        def run():
            order.append(name)
            return Measurement(1, 1, 1)

        return run

    measured = recording.interleaved({n: subject(n) for n in "abc"}, runs=2, warm_up=1)
    assert "".join(order) == "abc" + "bca" + "cab"
    assert all(len(runs) == 2 for runs in measured.values())


def test_a_failing_subject_ends_the_benchmark():
    def broken():
        raise RuntimeError("peer is not installed")

    with pytest.raises(RuntimeError, match="not installed"):
        recording.interleaved({"ours": fixed(1, 1), "peer": broken}, runs=1)


def test_cpu_time_is_work_and_not_sleep():
    def sleep():
        time.sleep(0.2)
        return 1

    def work():
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        return 2, {"bytes": 7.0}

    slept, worked = recording.timed(sleep)(), recording.timed(work)()
    assert slept.wall_s >= 0.2 > slept.cpu_s
    assert worked.cpu_s >= 0.19
    assert (worked.amount, worked.values) == (2, {"bytes": 7.0})


def test_results_are_rows_and_a_section(tmp_path, capsys):
    measured = {"ours": [Measurement(10, 1, 1)], "peer": [Measurement(10, 4, 1)]}
    versions = recording.package_versions("numpy")
    rows = recording.compare("x", "c", measured, "m_per_cpu_s", per_cpu, versions=versions)
    report = Report("x", "A title", rows, "What ran.", "Why.", ("cold cache", "GPU"))
    recording.write_results(report, Options(quick=False, runs=1, out=tmp_path))
    (stored,) = json.loads((tmp_path / "x.json").read_text())
    assert list(stored) == COLUMNS
    assert stored["ratio_median"] == 4
    section = (tmp_path / "x.md").read_text()
    wanted = ("## A title", "What ran.", "Why.", "cold cache; GPU", "numpy ", "**4**", rows[0].date)
    assert all(part in section for part in wanted)
    assert section in capsys.readouterr().out


def test_a_quick_run_keeps_nothing_unless_told_where(tmp_path):
    quick = recording.parse_options("Title.", arguments=["--quick"])
    assert (quick.out, quick.runs) == (None, 2)
    told = recording.parse_options(None, arguments=["--quick", "--out", str(tmp_path)])
    assert told.out == tmp_path
    full = recording.parse_options("Title.", runs=7, arguments=[])
    assert (full.out, full.runs, full.quick) == (recording.RESULTS, 7, False)
    recording.write_results(Report("x", "t", []), quick)
