"""Windows of many images at once: few reads under way together, each block decoded once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmark.cog.blocks import Windows, needed_blocks, scatter
from landmark.cog.decoding import Buffer, DamagedBlockError, block_buffer, decode_block
from landmark.cog.faults import ReadError
from landmark.cog.files import ByteFile
from landmark.cog.layouts import BlockImage
from landmark.cog.ranges import Block, Range, merge, single

#: Times a block that came damaged from a server is fetched again.
_REFETCHES = 2


@dataclass(frozen=True)
class Wanted:
    """Windows to read from one image.

    Attributes:
        file: Where its bytes are.
        image: Its header.
        windows: What to read, and where the pixels go.
    """

    file: ByteFile
    image: BlockImage
    windows: Windows


@dataclass(frozen=True)
class _Job:
    """One read, and what to do with its blocks."""

    wanted: Wanted
    range: Range
    members: dict[int, list[int]]


Failures = dict[int, str]


def read_windows(wanted: Sequence[Wanted], threads: int) -> list[Failures]:
    """Read all windows of all images.

    Args:
        wanted: What to read; the arrays of their windows are filled.
        threads: Reads under way at once, each decoded by the thread that reads it; 1 reads one
            after the other in the calling thread.

    Returns:
        Per image: window -> why it could not be read. Its pixels are then not to be used.
    """
    failures: list[Failures] = [{} for _ in wanted]
    jobs = []
    for one, failed in zip(wanted, failures, strict=True):
        jobs.append([(job, failed) for job in _plan(one, failed)])
    # Files take turns, so that no server or file is asked for everything first.
    turns = [pair for group in itertools.zip_longest(*jobs) for pair in group if pair]
    if threads <= 1 or len(turns) <= 1:
        for job, failed in turns:
            failed.update(_run(job))
        return failures
    with ThreadPoolExecutor(min(threads, len(turns)), thread_name_prefix="landmark-read") as pool:
        futures = [(pool.submit(_run, job), failed) for job, failed in turns]
        try:
            for future, failed in futures:
                failed.update(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def _plan(wanted: Wanted, failed: Failures) -> list[_Job]:
    """Return the reads for an image; blocks that are not stored are filled at once."""
    image, windows = wanted.image, wanted.windows
    per_band = image.grid.across * image.grid.down
    samples = sorted(windows.planes)
    needed: dict[int, list[int]] = {}
    blocks = []
    for block, members in needed_blocks(image.grid, windows.corners, windows.side).items():
        for sample in samples if image.planar else samples[:1]:
            index = block + (sample * per_band if image.planar else 0)
            start, count = int(image.offsets[index]), int(image.counts[index])
            if start == 0 or count == 0:
                for band in [sample] if image.planar else samples:
                    part, value = image.grid.part(block), image.sparse_value
                    scatter(part, value, members, windows, windows.planes[band])
            elif count > image.most_bytes:
                cause = f"{wanted.file.name}: cannot be read: block {index} claims {count} bytes"
                failed.update(dict.fromkeys(members, cause))
            else:
                needed[index] = members
                blocks.append(Block(index, start, start + count))
    return [
        _Job(wanted, part, {block.index: needed[block.index] for block in part.blocks})
        for part in merge(blocks)
    ]


def _run(job: _Job, *, retry: bool = True) -> Failures:
    """Read and decode; return the windows that cannot be made."""
    file, image = job.wanted.file, job.wanted.image
    try:
        data = memoryview(file.read(job.range.start, job.range.stop, retry=retry))
    except ReadError as error:
        if len(job.range.blocks) > 1 and not error.final:
            # A file that ends early or a bad stretch of disk costs only the blocks it hits.
            return _one_by_one(job)
        return {window: str(error) for members in job.members.values() for window in members}
    buffer = block_buffer(image)
    failed: Failures = {}
    for block in job.range.blocks:
        part = data[block.start - job.range.start : block.stop - job.range.start]
        try:
            _put(job, block, _decoded(file, image, block, part, buffer))
        except ReadError as error:
            failed.update(dict.fromkeys(job.members[block.index], str(error)))
    return failed


def _one_by_one(job: _Job) -> Failures:
    failed: Failures = {}
    for block in job.range.blocks:
        members = {block.index: job.members[block.index]}
        failed.update(_run(_Job(job.wanted, single(block), members), retry=False))
    return failed


def _decoded(
    file: ByteFile, image: BlockImage, block: Block, data: Buffer, buffer: NDArray[np.uint8]
) -> NDArray[Any]:
    """Return the pixels of a block; what came damaged over the network is fetched again."""
    per_band = image.grid.across * image.grid.down
    for attempt in itertools.count():
        try:
            return decode_block(image, block.index % per_band, data, buffer)
        except DamagedBlockError as error:
            if not file.remote or attempt == _REFETCHES:
                raise ReadError(
                    f"{file.name}: cannot be read: block {block.index} is damaged: {error}"
                ) from None
            data = file.read(block.start, block.stop)
    raise AssertionError("unreachable")


def _put(job: _Job, block: Block, pixels: NDArray[Any]) -> None:
    image, windows = job.wanted.image, job.wanted.windows
    sample, position = divmod(block.index, image.grid.across * image.grid.down)
    part, members = image.grid.part(position), job.members[block.index]
    if image.planar or image.samples == 1:
        scatter(part, pixels[:, :, 0], members, windows, windows.planes[sample])
        return
    for band, plane in windows.planes.items():
        scatter(part, pixels[:, :, band], members, windows, plane)
