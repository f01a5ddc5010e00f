"""The blocks of the score matrix: fixed ranges of candidates and items, so that a larger matrix has the same ones."""

import re
from collections.abc import Mapping
from itertools import product, starmap
from typing import Any, NamedTuple

NAME = r"c\d+-\d+_i\d+-\d+"

Range = tuple[int, int]


class Block(NamedTuple):
    """The candidates and the items of a block: ranges of their ids, end exclusive."""

    candidates: Range
    items: Range

    @property
    def name(self) -> str:
        """Its file name, for example c00000-00024_i00000-00048."""
        return "c{:05d}-{:05d}_i{:05d}-{:05d}".format(*self.candidates, *self.items)


def cut(total: int, size: int) -> list[Range]:
    """Ranges (end exclusive) of `size` that cover 0 … total; the last may be shorter."""
    return [(start, min(start + size, total)) for start in range(0, total, size)]


def size(config: Mapping[str, Any], dataset: str) -> Mapping[str, int]:
    """Candidates and items of a block: the data set's own `block`, else that of the evaluation."""
    own: Mapping[str, int] | None = config["datasets"][dataset].get("block")
    return own or config["evaluation"]["block"]


def grid(candidates: int, items: int, block: Mapping[str, int]) -> list[Block]:
    """All blocks of a score matrix."""
    return list(starmap(Block, product(cut(candidates, block["candidates"]), cut(items, block["items"]))))


def parse(name: str) -> Block:
    """The block of this name."""
    first, last, start, end = (int(number) for number in re.findall(r"\d+", name))
    return Block((first, last), (start, end))
