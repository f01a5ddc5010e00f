"""Attention in rows: what it gives, and what it leaves behind."""

from contextlib import suppress
from functools import partial

import pytest
import torch

from iclscope.engine.attention.copies import attend_in_rows
from iclscope.engine.attention.products import attend_by_products
from iclscope.engine.attention.replacing import NAME, replaced
from iclscope.engine.attention.rows import Rows


@pytest.mark.parametrize("attend", [attend_in_rows, attend_by_products])
def test_rows_equal_separate_sequences(attend, tiny_model):
    """Two rows of three and two tokens, the second with a place to spare, are what each would be alone."""
    causal = torch.full((3, 3), torch.finfo(tiny_model.dtype).min).triu(1).expand(2, 1, 3, 3)
    layout = torch.tensor([[0, 1, 2], [3, 4, 4]])
    rows = Rows(layout, layout, torch.tensor([0, 1, 2, 3, 4]), [(0, 1, 3), (1, 2, 3)])
    positions = torch.tensor([[0, 1, 2, 0, 1]])
    with torch.inference_mode():
        with replaced(tiny_model, partial(attend, rows)) as use:
            ids = torch.tensor([[5, 6, 7, 8, 9]])
            logits = tiny_model(input_ids=ids, attention_mask=causal, position_ids=positions, use_cache=False).logits[0]
        apart = [tiny_model(input_ids=torch.tensor([ids])).logits[0] for ids in ([5, 6, 7], [8, 9])]
    torch.testing.assert_close(logits, torch.cat(apart), atol=1e-5, rtol=0)
    assert use.layers == tiny_model.config.num_hidden_layers


@pytest.mark.parametrize(("groups", "most"), [([(0, 1, 3), (1, 2, 4)], 99), ([(0, 2, 4)], 99), ([(0, 2, 4)], 1)])
@pytest.mark.parametrize("softcap", [None, 0.5])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_products_are_the_formula_of_attention(dtype, error, softcap, groups, most, monkeypatch):
    """Six query heads of three and four keys in a cache of two heads, written out in float64."""
    monkeypatch.setattr("iclscope.engine.attention.products.MOST_SCORES", most)
    draw = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(1, heads, 9, 8, generator=draw).to(dtype) for heads in (6, 2, 2))
    queries, keys = torch.tensor([[2, 3], [8, 5]]), torch.tensor([[7, 0, 1, 2], [4, 5, 6, 8]])
    hidden = torch.tensor([[[True, False, False, True], [True, False, False, False]], [[False] * 4] * 2])
    mask = torch.zeros(2, 1, 2, 4, dtype=dtype).masked_fill(hidden[:, None], torch.finfo(dtype).min)
    rows = Rows(queries, keys, torch.tensor([3, 0, 1]), groups)
    found = attend_by_products(rows, query, key, value, mask, 0.3, softcap)
    for place, (row, column) in enumerate([(1, 1), (0, 0), (0, 1)]):
        for head in range(6):
            seen = keys[row][~hidden[row, column]]
            scores = 0.3 * key[0, head // 3, seen].double() @ query[0, head, queries[row, column]].double()
            weights = (scores if softcap is None else softcap * (scores / softcap).tanh()).softmax(0)
            wanted = weights @ value[0, head // 3, seen].double()
            torch.testing.assert_close(found[0, place, head].double(), wanted, atol=error, rtol=0)


def test_a_models_own_attention_comes_back(tiny_model):
    before = tiny_model.config._attn_implementation
    rows = Rows(torch.tensor([[0]]), torch.tensor([[0]]), torch.tensor([0]), [(0, 1, 1)])
    seen = []
    with suppress(IndexError), replaced(tiny_model, partial(attend_in_rows, rows)):
        seen.append(tiny_model.config._attn_implementation)
        tiny_model(input_ids=torch.tensor([[10**6]]))
    assert (seen, tiny_model.config._attn_implementation) == ([NAME], before)


def test_a_model_that_keeps_its_own_attention_is_refused(tiny_model):
    with pytest.raises(NotImplementedError, match="does not take attention"), replaced(tiny_model, print):
        pass  # nothing attends
