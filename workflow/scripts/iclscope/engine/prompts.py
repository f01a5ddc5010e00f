"""Text to tokens, exactly as the evaluation harness does it.

The harness tokenises the whole prompt at once: `"\\n\\n"` alone may be one token and before a word two, so that joining
separately tokenised pieces gives other tokens and other log probabilities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from iclscope.engine.contexts import ContextEncoder, brings_bos, encode
from iclscope.runtime.errors import StudyError


@dataclass(frozen=True)
class DemonstrationTokens:
    """Tokens of a demonstration and the token ranges (end exclusive) of its question and answer."""

    ids: list[int]
    question: tuple[int, int]
    answer: tuple[int, int]


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
    ids, offsets = _with_offsets(tokenizer, row["prefix"] + row["question"])
    question = _tokens_between(offsets, row["question_start"], row["question_end"])
    answer = _tokens_between(offsets, row["answer_start"], row["answer_end"])
    if question[1] > answer[0] >= question[0]:
        question = (question[0], answer[0])
    return DemonstrationTokens(ids[: _tokens_between(offsets, 0, row["answer_end"])[1]], question, answer)


def encode_question(tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any]) -> DemonstrationTokens:
    """Tokens of the prompt of a row of the sample table taken as an item, without a demonstration.

    They are those of `zero_shot_prompts`; none of them belongs to an answer, which has no part in them.
    """
    text, _ = split_trailing_space(row["description"] + row["question"])
    ids, offsets = _with_offsets(tokenizer, text)
    return DemonstrationTokens(ids, _tokens_between(offsets, len(row["description"]), len(text)), (0, 0))


def _with_offsets(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a text, and from which character to before which each token goes."""
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=not brings_bos(tokenizer, text))
    return list(encoding["input_ids"]), encoding["offset_mapping"]


def _tokens_between(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The range of the tokens that hold a character of a range; (0, 0) if none does."""
    inside = [i for i, (a, b) in enumerate(offsets) if a < end and b > start]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


@dataclass(frozen=True)
class Prompt:
    """Tokens of a prompt (shared prefix included) and of every continuation that is scored after it."""

    context: list[int]
    continuations: list[list[int]]


LOCAL_TOKENS = 4  # an answer's tokens follow from the answer and this many tokens before it


class PromptEncoder:
    """Tokenises demonstration and item together; looks an answer's tokens up instead where that gives the same."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._contexts = ContextEncoder(tokenizer)
        self._answers: dict[tuple[str, ...], list[list[int]]] = {}

    def encode(self, prefix: str, items: Sequence[Mapping[str, Any]]) -> list[Prompt]:
        """The prompt of each item (rows of the sample table) after `prefix`, with all its choices as continuations.

        As in the harness: white space at the end of the prompt belongs to the answer, and the answer's tokens are
        those of prompt and answer together from the length of the prompt's own tokens on. Raises StudyError for an
        answer that has none, since its log probability would be 0.
        """
        parts = [split_trailing_space(item["question"]) for item in items]
        if not all(question for question, _ in parts):  # white space reaches into the prefix
            prefix, parts = "", [split_trailing_space(prefix + item["question"]) for item in items]
        contexts = self._contexts.encode(prefix, [question for question, _ in parts])
        prompts = []
        for item, (question, tail), context in zip(items, parts, contexts, strict=True):
            text = prefix + question
            answers = [tail + item["target_delimiter"] + choice for choice in item["choices"]]
            continuations = self._continuations(text, context, answers)
            if not all(continuations):
                raise StudyError(
                    f"model {Path(self._tokenizer.name_or_path).name}: the answer "
                    f"{item['choices'][continuations.index([])]!r} merges into the last token of its prompt "
                    f"{text[-20:]!r} and has no token to score; give the task a target_delimiter, or name this model "
                    "as max_tokens.tokenizer to have such rows dropped"
                )
            prompts.append(Prompt(context, continuations))
        return prompts

    def _continuations(self, text: str, context: list[int], answers: list[str]) -> list[list[int]]:
        # The last line of a prompt decides how an answer is tokenised: tokens do not merge across what precedes it.
        line = text[text.rfind("\n") + 1 :]
        key = (line, str(context[-LOCAL_TOKENS:]), *answers)
        if key not in self._answers:
            whole = encode(self._tokenizer, [text + answer for answer in answers])
            self._answers[key] = [tokens[len(context) :] for tokens in whole]
        return self._answers[key]


def zero_shot_prompts(encoder: PromptEncoder, items: Sequence[Mapping[str, Any]]) -> list[Prompt]:
    """Prompts without a demonstration: the task's description and the question."""
    return encoder.encode("", [{**item, "question": item["description"] + item["question"]} for item in items])
