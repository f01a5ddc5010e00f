"""Blocks of the score matrix: every pair in exactly one block, and the same blocks when the matrix grows."""

import re

import pytest
from hypothesis import given, strategies as st

from iclscope.matrix import blocks

SIZES = st.integers(1, 500)


@given(total=st.integers(0, 5000), size=SIZES)
def test_every_number_lies_in_exactly_one_block(total, size):
    ranges = blocks.cut(total, size)
    assert [number for start, end in ranges for number in range(start, end)] == list(range(total))
    assert all(0 < end - start <= size for start, end in ranges)


@given(total=st.integers(1, 5000), size=SIZES, more=st.integers(0, 5000))
def test_growth_keeps_the_whole_blocks(total, size, more):
    before, after = blocks.cut(total, size), blocks.cut(total + more, size)
    whole = [block for block in before if block[1] - block[0] == size]
    assert after[: len(whole)] == whole
    if total % size == 0:
        assert after[: len(before)] == before


RANGES = st.tuples(st.integers(0, 2_000_000), st.integers(0, 2_000_000)).map(lambda pair: tuple(sorted(pair)))


@given(candidates=RANGES, items=RANGES)
def test_a_name_tells_its_ranges_and_fits_the_wildcard(candidates, items):
    name = blocks.Block(candidates, items).name
    assert blocks.parse(name) == blocks.Block(candidates, items)
    assert re.fullmatch(blocks.NAME, name)


def test_names_sort_as_the_blocks_do():
    names = [blocks.Block(c, i).name for c in blocks.cut(99_999, 9_000) for i in blocks.cut(1_200, 400)]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert names[0] == "c00000-09000_i00000-00400"


@pytest.mark.parametrize("text", ["c0-1", "c0-1_i0-", "c-1-2_i0-1", "../c0-1_i0-1", "c0-1_i0-1.parquet", ""])
def test_other_texts_are_no_block_names(text):
    assert not re.fullmatch(blocks.NAME, text)


def test_blocks_have_the_size_of_their_data_set_where_it_names_one():
    common, own = {"candidates": 8, "items": 3}, {"candidates": 5, "items": 2}
    config = {"evaluation": {"block": common}, "datasets": {"a": {}, "b": {"block": own}}}
    assert (blocks.size(config, "a"), blocks.size(config, "b")) == (common, own)


def test_grid_covers_every_pair_once():
    pairs = [
        (candidate, item)
        for (first, last), (start, end) in blocks.grid(11, 7, {"candidates": 4, "items": 3})
        for candidate in range(first, last)
        for item in range(start, end)
    ]
    assert sorted(pairs) == [(candidate, item) for candidate in range(11) for item in range(7)]
