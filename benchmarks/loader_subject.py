"""One subject of `benchmarks/loader.py` in a process of its own, told what to do line by line.

    python -m benchmarks.loader_subject NAME FOLDER

Reads JSON lines from stdin ({"write": "samples.npy"} or an epoch) and answers each with one JSON
line on stdout. Own processes keep the subjects' memory, threads and libraries apart.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.loader_epochs import BATCH, Epoch
from benchmarks.loader_ours import SUBJECTS
from benchmarks.recording import peak_mb, timed


def main() -> None:
    """Serve until stdin ends."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    # Libraries print: answers go to the real stdout, everything else to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    subject = SUBJECTS[name]()
    opened = False
    # Memory of numpy's, as ours has it: it asks the system for large pages, torch does not.
    float_batch = torch.from_numpy(np.empty((BATCH, 12, 120, 120), np.float32))
    for line in sys.stdin:
        order = json.loads(line)
        if "write" in order:
            subject.write(np.load(order["write"], mmap_mode="r"), folder)
            answer: dict[str, Any] = {"bytes": _size(folder)}
        else:
            if not opened:
                subject.open(folder)
                opened = True
            answer = _run(subject, order, float_batch)
        print(json.dumps(answer), file=answers, flush=True)


def _run(subject: Any, order: dict[str, Any], target: torch.Tensor) -> dict[str, Any]:
    epoch = Epoch(order["number"], order["shuffled"], order["workers"])
    totals = {"sum": 0}
    if hasattr(subject, "want"):
        subject.want(order["dtype"])

    def work() -> float:
        count = 0
        for batch in subject.batches(epoch):
            tensor = batch
            if order["dtype"] == "float32" and batch.dtype != torch.float32:
                # One cast of the whole batch into memory that is taken again, for all alike.
                tensor = target[: len(batch)].copy_(batch)
            if order["check"]:
                totals["sum"] += int(tensor.numpy().astype(np.int64).sum())
            count += len(tensor)
        return count

    living = _living_children_cpu_s()
    measured = timed(work)()
    # Worker processes live on from epoch to epoch; those that ended `timed` has seen already.
    cpu_s = measured.cpu_s + _living_children_cpu_s() - living
    return {
        "amount": measured.amount,
        "cpu_s": cpu_s,
        "wall_s": measured.wall_s,
        "values": {"sum": totals["sum"], "peak_mb": peak_mb()},
    }


def _living_children_cpu_s() -> float:
    """Return the CPU seconds so far of all living descendants and of what these waited for."""
    parents, used = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        number = int(status.parent.name)
        parents[number] = int(fields[1])
        used[number] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    ours, found = {os.getpid()}, 0
    while len(ours) > found:
        found = len(ours)
        ours |= {number for number, parent in parents.items() if parent in ours}
    return sum(used[number] for number in ours - {os.getpid()})


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
