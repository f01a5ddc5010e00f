"""Attention masks: which earlier or later tokens each token of a demonstration may look at.

A mask is a pure function from the segments of a demonstration to a boolean matrix `allowed` [tokens, tokens]: row t is
the token that looks (query), column j the token that is seen (key). To add one, write such a function here, decorate
it with `@mask`, and name it under `masks` in the config. Every token must see itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError


@dataclass(frozen=True)
class Segments:
    """Number of tokens and the token ranges (end exclusive) of question and answer.

    Tokens outside both ranges belong to neither: BOS, the task description, a delimiter between question and answer.
    """

    tokens: int
    question: tuple[int, int]
    answer: tuple[int, int]

    @classmethod
    def of(cls, demonstration: DemonstrationTokens) -> "Segments":
        """The segments of a tokenised demonstration."""
        return cls(len(demonstration.ids), demonstration.question, demonstration.answer)


MaskFunction = Callable[[Segments], np.ndarray]

MASKS: dict[str, MaskFunction] = {}


def mask(function: MaskFunction) -> MaskFunction:
    """Register a mask under the name of its function."""
    MASKS[function.__name__] = function
    return function


@mask
def causal(segments: Segments) -> np.ndarray:
    """Every token sees itself and all earlier ones: the attention that the model was trained with."""
    return np.tri(segments.tokens, dtype=bool)


@mask
def sink_blocked(segments: Segments) -> np.ndarray:
    """Causal, but no later token sees token 0, where causal models park their attention."""
    allowed = causal(segments)
    allowed[1:, 0] = False
    return allowed


@mask
def bidirectional(segments: Segments) -> np.ndarray:
    """Every token sees every token."""
    return np.ones((segments.tokens, segments.tokens), dtype=bool)


@mask
def self_only(segments: Segments) -> np.ndarray:
    """Every token sees itself alone: what the layers make of a token and its position without any context."""
    return np.eye(segments.tokens, dtype=bool)


@mask
def answer_isolated(segments: Segments) -> np.ndarray:
    """Causal, but the answer cannot see the question.

    Tokens between question and answer cannot either, or the question would reach the answer through them.
    """
    allowed = causal(segments)
    start, end = segments.question
    allowed[end:, start:end] = False
    return allowed


@mask
def prefix_lm(segments: Segments) -> np.ndarray:
    """Everything up to the end of the question sees all of that; what follows sees only what is earlier."""
    allowed = causal(segments)
    end = segments.question[1]
    allowed[:end, :end] = True
    return allowed


def named(name: str) -> MaskFunction:
    """The mask function called `name`; refuses a name that is not registered."""
    if name not in MASKS:
        raise StudyError(f"masks: {name!r} is unknown; choose from {', '.join(MASKS)}")
    return MASKS[name]


def padded(function: MaskFunction, batch: Sequence[Segments]) -> np.ndarray:
    """The masks of several demonstrations, padded on the right: bool [batch, longest, longest].

    No token sees padding, and padding sees only itself, so that it stays finite and influences nothing.
    """
    longest = max(segments.tokens for segments in batch)
    allowed = np.broadcast_to(np.eye(longest, dtype=bool), (len(batch), longest, longest)).copy()
    for row, segments in zip(allowed, batch, strict=True):
        row[: segments.tokens, : segments.tokens] = function(segments)
    return allowed
