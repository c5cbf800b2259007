"""Several processes as one: the torchrun environment, and gathering vectors with gradient."""

from __future__ import annotations

import atexit
import datetime as dt
import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from landmark.errors import InputError

#: A process that waits this long for another takes it for dead: longer than any checkpoint takes.
_PATIENCE = dt.timedelta(minutes=30)


@dataclass(frozen=True)
class Processes:
    """This process among those of a run.

    Attributes:
        rank: From 0; rank 0 writes the files.
        count: How many there are.
        device: Where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def part(self) -> tuple[int, int]:
        """(rank, count): this process's share of every step."""
        return self.rank, self.count

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def any(self, flag: int) -> int:
        """Return the largest flag of all processes (one small exchange)."""
        return int(self._reduce(torch.tensor(flag, device=self.device), dist.ReduceOp.MAX))

    def mean(self, value: Tensor) -> float:
        """Return the mean of a scalar over all processes."""
        total = self._reduce(value.detach().clone(), dist.ReduceOp.SUM)
        return float(total) / self.count

    def share_buffers(self, module: nn.Module) -> None:
        """Give all processes the first one's buffers (BatchNorm counts its own share on a CPU)."""
        if self.count > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.count > 1:
            dist.barrier()

    def _reduce(self, value: Tensor, how: Any) -> Tensor:
        if self.count > 1:
            dist.all_reduce(value, op=how)
        return value


def join(device: str | None) -> Processes:
    """Return this process's place; under torchrun, join the process group.

    The group lasts as long as the process. Ending it after a training and joining again for the
    next hangs: while the first process still writes its files, its old meeting point listens on
    the same port, the others join that one, and the new one waits for them in vain.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, ...; None: CUDA where there is one.

    Raises:
        InputError: No such device here.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and count > 1:
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        place = torch.device(name)
    except RuntimeError:
        raise InputError(f"device {name!r} is not one torch knows: use cpu or cuda") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r}: no CUDA device is usable here; use cpu")
    if count > 1 and not dist.is_initialized():
        backend = "nccl" if place.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
        atexit.register(_leave)
    return Processes(rank, count, place)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def gather_rows(own: Tensor, sizes: list[int]) -> Tensor:
    """Return the rows of all processes, in rank order; gradients flow back to their owners.

    Args:
        own: (n, d) of this process.
        sizes: Rows of each process; n is this one's.
    """
    if len(sizes) == 1:
        return own
    gathered: Tensor = _Gather.apply(own, sizes)
    return gathered


class _Gather(torch.autograd.Function):
    """All-gather of unequal numbers of rows; backward sums the gradients of all processes."""

    @staticmethod
    def forward(context: Any, own: Tensor, sizes: list[int]) -> Tensor:
        context.sizes = sizes
        padded = own.new_zeros(max(sizes), own.shape[1])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        rank = dist.get_rank()
        start = sum(context.sizes[:rank])
        return total[start : start + context.sizes[rank]], None
