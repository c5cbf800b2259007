"""Few reads for many blocks: neighbours in the file are read together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: No read is longer, so that many can be under way and one that breaks off costs little.
MAX_BYTES = 4 << 20
#: Bytes between two blocks that are read along rather than asked around: GDAL's COGs have 8 of
#: them between any two blocks. More would save few requests and cost bytes.
MAX_GAP = 4096


@dataclass(frozen=True)
class Block:
    """A block as it lies in the file.

    Attributes:
        index: Its position in the image's tables.
        start: First byte.
        stop: Byte after the last.
    """

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class Range:
    """One read.

    Attributes:
        start: First byte.
        stop: Byte after the last.
        blocks: What lies in it, in the order of the file.
    """

    start: int
    stop: int
    blocks: tuple[Block, ...]


def merge(blocks: Iterable[Block], max_bytes: int = MAX_BYTES, gap: int = MAX_GAP) -> list[Range]:
    """Return the reads that bring all blocks, in the order of the file.

    A block longer than `max_bytes` is read alone; blocks may overlap (a writer may share equal
    ones).
    """
    ranges: list[Range] = []
    open_: list[Block] = []
    stop = 0
    for block in sorted(blocks, key=lambda block: (block.start, block.stop)):
        longer = max(stop, block.stop)
        if open_ and block.start <= stop + gap and longer - open_[0].start <= max_bytes:
            open_.append(block)
            stop = longer
            continue
        if open_:
            ranges.append(Range(open_[0].start, stop, tuple(open_)))
        open_, stop = [block], block.stop
    if open_:
        ranges.append(Range(open_[0].start, stop, tuple(open_)))
    return ranges


def single(block: Block) -> Range:
    """Return the read of one block alone."""
    return Range(block.start, block.stop, (block,))
