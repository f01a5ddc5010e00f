"""Masks by hand-drawn pictures, and what they mean: information flows through a model only where they let it."""

import numpy as np
import pytest
import torch

from iclscope.activations import model_input
from iclscope.errors import StudyError
from iclscope.masks import MASKS, Segments, named, padded
from iclscope.sites import find_blocks, reading
from iclscope.tokens import DemonstrationTokens

# BOS, three tokens of question, a delimiter, two tokens of answer
SEGMENTS = Segments(7, question=(1, 4), answer=(5, 7))

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
    """Which tokens' block outputs [layers, tokens] differ by a bit once token j is another one."""
    outputs = []
    for ids in (tokens.ids, [*tokens.ids[:j], tokens.ids[j] + 1, *tokens.ids[j + 1 :]]):
        found = []
        batch = [DemonstrationTokens(ids, tokens.question, tokens.answer)]
        with (
            torch.inference_mode(),
            reading(find_blocks(model), ["resid"], lambda _, __, x, found=found: found.append(x[0])),
        ):
            model.get_decoder()(**model_input(model, batch, mask))
        outputs.append(torch.stack(found))
    return (outputs[0] != outputs[1]).any(dim=-1).numpy()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma3"])
@pytest.mark.parametrize("name", MASKS)
def test_information_flows_where_the_mask_lets_it(name, kind, attention, tiny_model_of):
    """Token j reaches token t after layer n if and only if the n-th power of the mask leads there."""
    model = tiny_model_of(kind, attn_implementation=attention)
    tokens = DemonstrationTokens([0, 11, 23, 35, 47, 59, 61], SEGMENTS.question, SEGMENTS.answer)
    allowed = named(name)(SEGMENTS)
    reach = [np.linalg.matrix_power(allowed.astype(int), n + 1) > 0 for n in range(len(find_blocks(model)))]
    for j in range(SEGMENTS.tokens):
        wanted = np.stack([power[:, j] for power in reach])
        np.testing.assert_array_equal(_changed(model, named(name), tokens, j), wanted)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"])
def test_causal_is_the_model_itself(kind, tiny_model_of):
    """Also beyond the sliding window of gemma and mistral (8 tokens here)."""
    model = tiny_model_of(kind)
    ids = list(range(5, 45))
    plain = model.get_decoder()(input_ids=torch.tensor([ids])).last_hidden_state
    ours = model.get_decoder()(**model_input(model, [DemonstrationTokens(ids, (0, 30), (30, 40))], named("causal")))
    torch.testing.assert_close(ours.last_hidden_state, plain, atol=1e-5, rtol=1e-5)
