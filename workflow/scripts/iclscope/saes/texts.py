"""The texts that a sparse autoencoder is trained and measured on, as tokens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.activations.reading import Demonstration
from iclscope.engine.contexts import encode
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError
from iclscope.tables import POOL, SAMPLE
from iclscope.tasks.rows import read_rows

STUDY = "study"  # in place of files: the rows of the study's own pools
FIELD = "text"
ROW = ("split", "source_row")
LONGEST = 1024  # tokens of a text; what follows is a text of its own
HELD_OUT, MOST_HELD_OUT = 0.1, 20_000  # share of the tokens that training does not see, and how many at most


def study_texts(samples: Iterable[tuple[pl.DataFrame, pl.DataFrame]]) -> list[str]:
    """Demonstrations that the usable rows of the study make, each once; rows that are items are left out.

    samples: pool and items of every data set, of which the columns split and source_row name a row.
    """
    texts: list[str] = []
    for pool, items in samples:
        rows = pool.unique(ROW, maintain_order=True).join(items, on=ROW, how="anti", maintain_order="left")
        texts += rows.select(pl.col("prefix").str.slice(0, pl.col("answer_end"))).to_series().to_list()
    return list(dict.fromkeys(texts))


def file_texts(paths: Sequence[str | Path], key: str) -> list[str]:
    """The field `text` of every row of JSON Lines files; `key` of the config begins every error."""
    texts = []
    for path in paths:
        for number, row in enumerate(read_rows(path), start=1):
            if not isinstance(row.get(FIELD), str):
                raise StudyError(f"{key}: {path}, row {number} has no text in its field {FIELD!r}; write it there")
            texts.append(row[FIELD])
    return texts


def tokenised(texts: Iterable[str], tokenizer: Any, context: int) -> Iterator[Demonstration]:
    """Texts as tokens, numbered from 0, none longer than LONGEST or the model's `context`."""
    longest, number = min(LONGEST, context), 0
    for text in texts:
        for ids in encode(tokenizer, [text]):
            for start in range(0, len(ids), longest):
                yield Demonstration(number, DemonstrationTokens(ids[start : start + longest], (0, 0), (0, 0)))
                number += 1


def divided(
    texts: Sequence[str], tokenizer: Any, context: int, tokens: int, rng: np.random.Generator
) -> tuple[list[Demonstration], list[Demonstration]]:
    """Texts in random order, up to so many `tokens`: those to train on, and those that are held out.

    A tenth is held out; at least one text is on each side.
    """
    ordered = (texts[place] for place in rng.permutation(len(texts)).tolist())
    sides: tuple[list[Demonstration], list[Demonstration]] = ([], [])
    counts, wanted = [0, 0], (tokens, min(HELD_OUT * tokens, MOST_HELD_OUT))
    for one in tokenised(ordered, tokenizer, context):
        side = int(counts[1] < HELD_OUT * counts[0] and counts[1] < wanted[1])
        if counts[side] < wanted[side]:
            sides[side].append(one)
            counts[side] += len(one.tokens.ids)
        if counts[0] >= wanted[0]:
            break
    return sides


def shown(one: Demonstration, position: int, tokenizer: Any, around: int = 8) -> str:
    """The text around a token, which stands between « and »."""
    ids = one.tokens.ids
    before, after = ids[max(0, position - around) : position], ids[position + 1 : position + 1 + around // 2]
    parts = [tokenizer.decode(part) for part in (before, [ids[position]], after)]
    return f"{parts[0]}«{parts[1]}»{parts[2]}"


def texts_of(
    settings: Mapping[str, Any],
    pools: Sequence[str | Path],
    item_rows: Sequence[str | Path],
    key: str,
) -> list[str]:
    """The texts that `texts` of an entry of `saes` asks for; refuses fewer than two."""
    study = settings["texts"] == STUDY
    samples = (
        (POOL.read(pool, columns=[*ROW, "prefix", "answer_end"]), SAMPLE.read(items, columns=[*ROW]))
        for pool, items in zip(pools, item_rows, strict=True)
    )
    texts = study_texts(samples) if study else file_texts(settings["texts"]["files"], f"{key}.texts")
    if len(texts) < 2:
        raise StudyError(f"{key}.texts: there are {len(texts)} texts, and an SAE needs two; name more files")
    return texts
