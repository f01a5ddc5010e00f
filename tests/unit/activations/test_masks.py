"""Masks by hand-drawn pictures, and what they mean: information flows through a model only where they let it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from iclscope.activations.masks import MASKS, Segments, named, padded
from iclscope.activations.reading import model_input
from iclscope.activations.sites import find_blocks, reading
from iclscope.engine.attention.inputs import attention_input
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError

# BOS, three tokens of question, a delimiter, two tokens of answer
SEGMENTS = Segments(7, question=(1, 4), answer=(5, 7))
SITES = ["mlp_act", "mlp_out", "resid"]

PICTURES = {
    "causal": """
        #......
        ##.....
        ###....
        ####...
        #####..
        ######.
        #######""",
    "sink_blocked": """
        #......
        .#.....
        .##....
        .###...
        .####..
        .#####.
        .######""",
    "bidirectional": """
        #######
        #######
        #######
        #######
        #######
        #######
        #######""",
    "self_only": """
        #......
        .#.....
        ..#....
        ...#...
        ....#..
        .....#.
        ......#""",
    "answer_isolated": """
        #......
        ##.....
        ###....
        ####...
        #...#..
        #...##.
        #...###""",
    "prefix_lm": """
        ####...
        ####...
        ####...
        ####...
        #####..
        ######.
        #######""",
}


@pytest.mark.parametrize("name", MASKS)
def test_matches_its_picture(name):
    wanted = np.array([[cell == "#" for cell in row] for row in PICTURES[name].split()])
    np.testing.assert_array_equal(named(name)(SEGMENTS), wanted)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(
    "segments", [Segments(1, (0, 0), (0, 1)), Segments(4, (0, 2), (2, 4)), Segments(3, (0, 0), (0, 0))]
)
def test_every_token_sees_itself(name, segments):
    allowed = named(name)(segments)
    assert allowed.shape == (segments.tokens, segments.tokens)
    assert allowed.diagonal().all()


def test_unknown_mask_lists_the_known_ones():
    with pytest.raises(StudyError, match=r"masks: 'casual' is unknown.*causal, sink_blocked"):
        named("casual")


def test_padding_is_seen_by_nobody_and_sees_itself():
    allowed = padded(named("bidirectional"), [Segments(2, (0, 1), (1, 2)), Segments(4, (0, 2), (2, 4))])
    assert allowed[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert allowed[1].all()


def _changed(model, mask, tokens, j):
    """Which activations [sites, layers, tokens] differ by a bit once token j is another one."""
    outputs = []
    for ids in (tokens.ids, [*tokens.ids[:j], tokens.ids[j] + 1, *tokens.ids[j + 1 :]]):
        found = {}
        batch = [DemonstrationTokens(ids, tokens.question, tokens.answer)]
        with (
            torch.inference_mode(),
            reading(find_blocks(model), SITES, lambda s, n, x, found=found: found.update({(s, n): x[0].clone()})),
        ):
            model.get_decoder()(**model_input(model, batch, mask))
        outputs.append(found)
    first, second = outputs
    layers = range(len(find_blocks(model)))
    return np.array([[(first[s, n] != second[s, n]).any(dim=-1).tolist() for n in layers] for s in SITES])


def _check_flow(model, name, segments):
    """Token j reaches token t by layer n if and only if the n-th power of the mask leads there, at every site."""
    tokens = DemonstrationTokens([0, *range(11, 11 + 12 * segments.tokens, 12)][: segments.tokens],
                                 segments.question, segments.answer)  # fmt: skip
    allowed = named(name)(segments).astype(int)
    reach = [np.linalg.matrix_power(allowed, n + 1) > 0 for n in range(len(find_blocks(model)))]
    for j in range(segments.tokens):
        wanted = np.stack([power[:, j] for power in reach])
        for found in _changed(model, named(name), tokens, j):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma3"])
@pytest.mark.parametrize("name", MASKS)
def test_information_flows_where_the_mask_lets_it(name, kind, attention, tiny_model_of):
    _check_flow(tiny_model_of(kind, attn_implementation=attention), name, SEGMENTS)


@st.composite
def any_segments(draw):
    """Segments of up to eight tokens, some of them without BOS, question, delimiter or answer."""
    cuts = sorted(draw(st.lists(st.integers(0, 8), min_size=4, max_size=4)))
    return Segments(draw(st.integers(max(1, cuts[3]), 8)), (cuts[0], cuts[1]), (cuts[2], cuts[3]))


@settings(max_examples=12)
@given(segments=any_segments(), name=st.sampled_from(list(MASKS)))
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_information_flows_so_for_any_segments(attention, tiny_model_of, segments, name):
    _check_flow(tiny_model_of("llama", attn_implementation=attention), name, segments)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"])
@pytest.mark.parametrize("name", MASKS)
def test_padding_on_the_left_gives_the_same(name, kind, tiny_model_of):
    """What the extraction pads on the right, a hand-made batch pads on the left."""
    model, longest = tiny_model_of(kind), 13
    batch = [DemonstrationTokens(list(range(5, 5 + n)), (1, n - 3), (n - 2, n)) for n in (6, 9, longest)]
    right = model.get_decoder()(**model_input(model, batch, named(name))).last_hidden_state
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    positions = torch.zeros(len(batch), longest, dtype=torch.long)
    allowed = torch.eye(longest, dtype=torch.bool).repeat(len(batch), 1, 1)
    for row, tokens in enumerate(batch):
        own = slice(longest - len(tokens.ids), longest)
        ids[row, own] = torch.tensor(tokens.ids)
        positions[row, own] = torch.arange(len(tokens.ids))
        allowed[row, own, own] = torch.from_numpy(named(name)(Segments.of(tokens)))
    left = model.get_decoder()(
        input_ids=ids, attention_mask=attention_input(model, allowed, positions, positions), position_ids=positions
    ).last_hidden_state
    for row, tokens in enumerate(batch):
        n = len(tokens.ids)
        torch.testing.assert_close(right[row, :n], left[row, longest - n :], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"])
def test_causal_is_the_model_itself(kind, tiny_model_of):
    """Also beyond the sliding window of gemma and mistral (8 tokens here)."""
    model = tiny_model_of(kind)
    ids = list(range(5, 45))
    plain = model.get_decoder()(input_ids=torch.tensor([ids])).last_hidden_state
    ours = model.get_decoder()(**model_input(model, [DemonstrationTokens(ids, (0, 30), (30, 40))], named("causal")))
    torch.testing.assert_close(ours.last_hidden_state, plain, atol=1e-5, rtol=1e-5)
