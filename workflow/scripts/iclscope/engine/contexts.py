"""Tokens of the same questions behind one demonstration after the other, without reading either anew for every pair."""

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

ENDING = 2  # characters of a prefix on which the tokens of a question behind it may depend


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, with the special tokens that the tokenizer adds, unless the text brings its own BOS."""
    if not texts:
        return []
    if any(brings_bos(tokenizer, text) for text in texts):
        return [tokenizer(text, add_special_tokens=not brings_bos(tokenizer, text))["input_ids"] for text in texts]
    return tokenizer(list(texts))["input_ids"]


def brings_bos(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether a text begins with the token that the tokenizer would put before it."""
    return bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)


@dataclass
class _Tail:
    """Tokens of a question from where a token begins with it; none if there is no such place."""

    ids: list[int]
    confirmed: bool = False  # they were the same behind another prefix


class ContextEncoder:
    """Joins tokens of a prefix and of a question where those of both together are known to be these.

    They are if a token ends between the two: a tokenizer splits text by rules that look one character ahead, and joins
    characters within what it has split. A question's tokens are taken apart from those of a prefix once they were the
    same behind two prefixes, and with every further prefix one pair is tokenised whole and compared.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tails: dict[str, dict[str, _Tail]] = {}  # by the end of the prefix, and by question
        self._turn = 0
        self._joins = tokenizer.is_fast  # others do not say which characters a token holds

    def encode(self, prefix: str, questions: Sequence[str]) -> list[list[int]]:
        """Token ids of `prefix` with each question behind it, none of them empty: those of `encode`."""
        texts = [prefix + question for question in questions]
        if not (self._joins and prefix) or any(brings_bos(self._tokenizer, text) for text in texts):
            return encode(self._tokenizer, texts)
        tails = self._tails.setdefault(prefix[-ENDING:], {})
        known: dict[str, list[int]] = {}  # places of questions by what they begin with, on which a prefix may depend
        whole = []
        for place, question in enumerate(questions):
            tail = tails.get(question)
            if tail and tail.confirmed:
                known.setdefault(unicodedata.category(question[0]), []).append(place)
            else:
                whole.append(place)
        compared = {kind: places[self._turn % len(places)] for kind, places in known.items()}
        self._turn += 1
        whole += compared.values()
        found = dict(zip(whole, self._whole([texts[place] for place in whole], len(prefix)), strict=True))
        for place, (ids, start) in found.items():
            self._learn(tails, questions[place], ids[start:])
        if not self._joins:
            return encode(self._tokenizer, texts)
        contexts: dict[int, list[int]] = {place: ids for place, (ids, _) in found.items()}
        for kind, places in known.items():
            ids, start = found[compared[kind]]
            head = ids[:start]
            contexts |= {place: head + tails[questions[place]].ids for place in places if place not in found}
        return [contexts[place] for place in range(len(questions))]

    def _whole(self, texts: Sequence[str], length: int) -> list[tuple[list[int], int]]:
        """Token ids of each text, and the place of the token that begins after `length` characters; or behind all."""
        if not texts:
            return []
        encodings = self._tokenizer(list(texts), return_offsets_mapping=True)
        found = []
        for ids, offsets in zip(encodings["input_ids"], encodings["offset_mapping"], strict=True):
            place = next((n for n, (start, end) in enumerate(offsets) if start == length < end), len(ids))
            apart = place < len(ids) and all(end <= length for _, end in offsets[max(0, place - 1) : place])
            found.append((ids, place if apart else len(ids)))
        return found

    def _learn(self, tails: dict[str, _Tail], question: str, ids: list[int]) -> None:
        """Note the tokens of a question behind a prefix, or that they are the same as behind another, or are not."""
        tail = tails.get(question)
        if tail is None:
            tails[question] = _Tail(ids)
        elif tail.ids == ids:
            tail.confirmed = bool(ids)
        elif tail.confirmed:
            logger.warning("tokens of %r depend on what precedes them: all prompts are tokenised whole", question[:40])
            self._joins = False
        else:
            tail.ids = []
