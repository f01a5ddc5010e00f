"""Text to tokens, exactly as the evaluation harness does it.

The harness tokenises the whole prompt at once: `"\\n\\n"` alone may be one token and before a word two, so that joining
separately tokenised pieces gives other tokens and other log probabilities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class DemonstrationTokens:
    """Tokens of a demonstration and the token ranges (end exclusive) of its question and answer."""

    ids: list[int]
    question: tuple[int, int]
    answer: tuple[int, int]


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, with the special tokens that the tokenizer adds, unless the text brings its own BOS."""
    if not texts:
        return []
    if any(_brings_bos(tokenizer, text) for text in texts):
        return [tokenizer(text, add_special_tokens=not _brings_bos(tokenizer, text))["input_ids"] for text in texts]
    return tokenizer(list(texts))["input_ids"]


def _brings_bos(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    return bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)


def split_trailing_space(context: str) -> tuple[str, str]:
    """Split a prompt before its trailing white space, which the harness scores with the answer."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :]


def encode_demonstration(tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any]) -> DemonstrationTokens:
    """Tokens of a candidate's description, question and answer, and where question and answer lie.

    row: a row of the sample table. The tokens are those with which its prompts begin: it is tokenised with the
    delimiter and a question behind it, since some tokenizers join the end of an answer and the line breaks after it.
    A token belongs to the question or answer if it holds a character of it; one of both belongs to the answer.
    """
    text = row["prefix"] + row["question"]
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=not _brings_bos(tokenizer, text))
    offsets = encoding["offset_mapping"]

    def tokens_between(start: int, end: int) -> tuple[int, int]:
        inside = [i for i, (a, b) in enumerate(offsets) if a < end and b > start]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    question = tokens_between(row["question_start"], row["question_end"])
    answer = tokens_between(row["answer_start"], row["answer_end"])
    if question[1] > answer[0] >= question[0]:
        question = (question[0], answer[0])
    return DemonstrationTokens(list(encoding["input_ids"])[: tokens_between(0, row["answer_end"])[1]], question, answer)
