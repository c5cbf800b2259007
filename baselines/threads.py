"""How many threads torch computes with on a CPU."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def computing(threads: int | None = None) -> Iterator[None]:
    """Compute with a number of threads while the context lasts.

    Args:
        threads: None: half of the cores this process may use. The small operations of these models
            meet at a barrier thousands of times a second, and a barrier waits for the slowest
            core: where one core is busy otherwise (decoding, other users), two threads were
            measured at a quarter of the speed of one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or max(1, len(os.sched_getaffinity(0)) // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)
