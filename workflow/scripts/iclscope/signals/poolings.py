"""Which tokens of a demonstration enter a metric: a range, from where its question and answer lie.

A pooling is a function from the columns SPANS of the activations table, int [rows] each, to the first token and the
token after the last, int [rows] each. To add one, write a function here, decorate it, and name it under
`metrics.poolings` in the config.
"""

from collections.abc import Callable, Mapping

import numpy as np

Span = tuple[np.ndarray, np.ndarray]

PoolingFunction = Callable[[Mapping[str, np.ndarray]], Span]

POOLINGS: dict[str, PoolingFunction] = {}


def pooling(name: str) -> Callable[[PoolingFunction], PoolingFunction]:
    """Register a pooling."""

    def register(function: PoolingFunction) -> PoolingFunction:
        POOLINGS[name] = function
        return function

    return register


@pooling("all")
def all_tokens(spans: Mapping[str, np.ndarray]) -> Span:
    """Every token of the demonstration, BOS and description included."""
    return np.zeros_like(spans["n_tokens"]), spans["n_tokens"]


@pooling("no_sink")
def all_but_first(spans: Mapping[str, np.ndarray]) -> Span:
    """Every token but the first, where causal models park attention and massive activations sit."""
    return np.ones_like(spans["n_tokens"]), spans["n_tokens"]


@pooling("question")
def question_tokens(spans: Mapping[str, np.ndarray]) -> Span:
    """The tokens of the question."""
    return spans["question_start"], spans["question_end"]


@pooling("answer")
def answer_tokens(spans: Mapping[str, np.ndarray]) -> Span:
    """The tokens of the answer."""
    return spans["answer_start"], spans["answer_end"]


@pooling("last")
def last_token(spans: Mapping[str, np.ndarray]) -> Span:
    """The last token of the demonstration."""
    return spans["n_tokens"] - 1, spans["n_tokens"]
