"""The pool of a data set: every usable row in a seeded order, of which candidates and items are the first.

The place of a row in the order depends on the seed, the data set's key and its split alone, so that larger samples
contain smaller ones, and a filter only takes rows out. Where candidates and items share a split, one order serves both:
candidates from its front, items from its back.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.engine import models
from iclscope.engine.prompts import split_trailing_space
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, Task
from iclscope.tables import POOL
from iclscope.tasks import harness
from iclscope.tasks.metrics import refusal
from iclscope.tasks.rendering import AnswerOutOfRange, UnusableRow, render, templates_compiled_once
from iclscope.tasks.rows import Row, read_rows, undecoded
from iclscope.tasks.samples import CANDIDATE, ITEM

logger = logging.getLogger(__name__)

MAX_UNUSABLE = 0.2  # share of a split, unless the config sets it; beyond it the task does not fit the data
SEAM = 4  # tokens that a whole prompt may have more than its two parts

Settings = Mapping[str, Any]
TokenCounter = Callable[[list[str]], list[int]]


@dataclass(frozen=True)
class CountingModel:
    """The model whose tokens count for `max_tokens`, and whose context in tokens every pair must fit."""

    count: TokenCounter
    context: int

    @classmethod
    def of(cls, folder: str | Path) -> "CountingModel":
        """The prepared model in `folder`, which need not have weights."""
        return cls(_token_counter(folder), models.load_context_length(folder))


def run_pool(
    *,
    data: str | Path,
    dataset: str,
    task: Task,
    model: str | Path,
    settings: Settings,
    pool_out: str | Path,
    job: Job,
) -> None:
    """Render every usable row of a data set and write the pool, from which samples are taken.

    data: folder of `{split}.jsonl` files. dataset: its name in the config. settings: of that key, `candidates_split`,
    `items_split`, `max_tokens`, `max_unusable` and `cluster`. model: folder of the prepared model that counts tokens
    for `max_tokens` and whose context every pair must fit. What was dropped stands in the provenance.
    """
    config = harness.task_config(*task)
    available = sorted(path.stem for path in Path(data).glob("*.jsonl"))
    splits = choose_splits(config, settings, available, task.key)
    rows = {}
    for split in dict.fromkeys(splits.values()):
        read = read_rows(Path(data) / f"{split}.jsonl")
        if "process_docs" in config:
            read = _decoded(read, split, settings, task.key)
        rows[split] = harness.processed(config, read, task.key, job.seed, dataset, split)
    built = harness.build_task(config, [row for part in rows.values() for row in part], task.key)
    with templates_compiled_once():
        frame, dropped = make_pool(built, rows, splits, dataset, settings, job.seed, CountingModel.of(model))
    POOL.write(frame, pool_out, {**job.provenance, "dropped": dropped})


def _decoded(rows: Sequence[Row], split: str, settings: Settings, key: str) -> list[Row]:
    """Rows that a task's `process_docs` can be given: those that are UTF-8."""
    decoded = [row for row in rows if undecoded(row) is None]
    lost = len(rows) - len(decoded)
    if lost > settings.get("max_unusable", MAX_UNUSABLE) * len(rows):
        raise StudyError(
            f"{key}: {lost} of {len(rows)} rows of split {split} are not UTF-8; save the file as UTF-8, or raise "
            f"{key}.max_unusable"
        )
    if lost:
        logger.info("%s: %d of %d rows of split %s cannot be used: not UTF-8", key, lost, len(rows), split)
    return decoded


def choose_splits(config: harness.TaskConfig, settings: Settings, available: Sequence[str], key: str) -> dict[str, str]:
    """The split of each role: as the config says, else as the harness would choose among the splits that exist.

    Items: the task's test split, else validation. Candidates: its few-shot split, else training, else validation, else
    the items' own split.
    """
    shots = (config.get("fewshot_config") or {}).get("split") or config.get("fewshot_split")
    training, validation, test = (config.get(f"{name}_split") for name in ("training", "validation", "test"))
    defaults = {ITEM: (test, validation), CANDIDATE: (shots, training, validation, test)}
    chosen = {}
    for role, wanted in defaults.items():
        field = f"{role}s_split"
        wanted = (settings[field],) if settings.get(field) else wanted
        split = next((split for split in wanted if split in available), None)
        if split is None:
            named = ", ".join(dict.fromkeys(filter(None, wanted))) or "none"
            raise StudyError(
                f"{key}.{field}: no split {named} in the data; set it to one of {', '.join(available) or 'none'}"
            )
        chosen[role] = split
    return chosen


def make_pool(
    task: harness.Task,
    rows: Mapping[str, Sequence[Row]],
    splits: Mapping[str, str],
    dataset: str,
    settings: Settings,
    seed: int,
    model: CountingModel | None,
) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
    """The pool of a data set, and how many rows were dropped for which reason, by role and by split.

    The usable rows of both roles, each in its order. Columns as in `tables.POOL`. rows: processed rows of each split.
    splits: the split of each role. model: None counts no tokens and refuses no length.
    """
    key = f"datasets.{dataset}"
    usable, unusable = {}, {}
    for split, part in rows.items():
        order = permutation(seed, dataset, split, len(part))
        usable[split], unusable[split] = _usable_rows(task, part, order, split, settings, (seed, dataset))
    dropped: dict[str, Counter[str]] = {CANDIDATE: Counter(), ITEM: Counter()}
    pools = _pools(usable, splits, dropped)
    if model:
        limits = settings.get("max_tokens") or {}
        counted = {role: _counted(role, part, model.count) for role, part in pools.items()}
        for role, part in counted.items():
            short = _short(part, limits.get(f"{role}s"), dropped[role])
            pools[role] = _scorable(_fitting(role, short, model, dropped[role]), model.count, dropped[role])
    for role, part in pools.items():
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped[role].items() if count)
        logger.info("%s: %d %ss from %s; dropped: %s", key, len(part), role, splits[role], reasons or "none")
        if not part:
            raise StudyError(f"{key}: no row of split {splits[role]} is left as {role} (dropped: {reasons})")
    frame = pl.DataFrame(
        [{"role": role, "id": rank, **row} for role, part in pools.items() for rank, row in enumerate(part)],
        schema=POOL.schema,
    )
    counts = {f"{role}s": dict(+counter) for role, counter in dropped.items()}
    return frame, counts | {f"split {split}": dict(counter) for split, counter in unusable.items()}


def _pools(
    usable: Mapping[str, Sequence[Row]], splits: Mapping[str, str], dropped: dict[str, Counter[str]]
) -> dict[str, list[Row]]:
    """The rows of each role in order: none twice, no candidate that is an item too, no passage in both roles."""
    if splits[CANDIDATE] == splits[ITEM]:
        # Also a repeated question with another answer goes, since it could end up in both roles.
        once = _distinct(usable[splits[ITEM]], lambda row: row["question"], dropped[CANDIDATE])
        dropped[ITEM] += dropped[CANDIDATE]
        ours, theirs = _first_of_passages(once), _first_of_passages(once[::-1])
        candidates = {passage for passage, rank in ours.items() if rank < theirs[passage]}  # who meets it first, has it
        return {
            CANDIDATE: _without_passages(once, ours.keys() - candidates, dropped[CANDIDATE]),
            ITEM: _without_passages(once[::-1], candidates, dropped[ITEM]),
        }
    pools = {
        role: _distinct(usable[splits[role]], lambda row: (row["question"], _gold_text(row)), dropped[role])
        for role in dropped
    }
    asked = {row["question"] for row in pools[ITEM]}
    fresh = [row for row in pools[CANDIDATE] if row["question"] not in asked]
    dropped[CANDIDATE]["question of an item"] = len(pools[CANDIDATE]) - len(fresh)
    return {**pools, CANDIDATE: _without_passages(fresh, _first_of_passages(pools[ITEM]), dropped[CANDIDATE])}


def _first_of_passages(rows: Sequence[Row]) -> dict[str, int]:
    """Passage → position of its first row."""
    return {row["cluster"]: rank for rank, row in reversed(list(enumerate(rows))) if row["cluster"] is not None}


def _without_passages(rows: Sequence[Row], passages: Container[str], dropped: Counter[str]) -> list[Row]:
    """The rows that are of none of the passages, which are the other role's: they would not be independent of it."""
    kept = [row for row in rows if row["cluster"] not in passages]
    dropped["passage of the other role"] = len(rows) - len(kept)
    return kept


def permutation(seed: int, dataset: str, split: str, count: int) -> np.ndarray:
    """The order of the rows of a split [count], before anything is dropped."""
    name = hashlib.sha256(f"{dataset}/{split}".encode()).digest()
    return np.random.default_rng([seed, *name]).permutation(count)


def _usable_rows(
    task: harness.Task, rows: Sequence[Row], order: np.ndarray, split: str, settings: Settings, origin: tuple[int, str]
) -> tuple[list[Row], Counter[str]]:
    """Rendered rows of a split in the given order, and why others cannot be rendered, which the log counts too.

    origin: the study's seed and the data set, from which the random numbers of the task's own functions follow.
    """
    key = f"datasets.{origin[1]}"
    cluster = settings.get("cluster")
    if cluster is not None and not any(cluster in row for row in rows):
        fields = ", ".join(sorted({field for row in rows for field in row}))
        raise StudyError(f"{key}.cluster: no row of split {split} has the field {cluster}; the fields are {fields}")
    usable: list[Row] = []
    unusable: dict[int, str] = {}
    indices: dict[int, tuple[int, Sequence[str]]] = {}
    for number in order.tolist():
        document = rows[number]
        try:
            text = _rendered(task, document, (*origin, split, number), twice=len(usable) < harness.PROBES)
        except UnusableRow as error:
            unusable[number] = str(error)
            if isinstance(error, AnswerOutOfRange):
                indices[number] = error.index, error.choices
            continue
        if read := text.pop("read"):
            indices[number] = read
        own = {"split": split, "source_row": number, "cluster": _cluster(document, cluster), "tokens": None}
        if text["kind"] == "generation":
            try:
                _score_references(task, document, text, usable, key)
            except UnusableRow as error:
                unusable[number] = str(error)
                continue
        usable.append({**text, **own, "document": json.dumps(document, ensure_ascii=False, sort_keys=True)})
    _check_indices(indices, f"{key}: task {task.config.task} reads the right answers of split {split} as indices")
    allowed = settings.get("max_unusable", MAX_UNUSABLE)
    if len(unusable) > allowed * len(rows):
        first = min(unusable)
        raise StudyError(
            refusal(task.config.metric_list, f"{key}.task: {task.config.task}")
            or f"{key}: task {task.config.task} cannot use {len(unusable)} of {len(rows)} rows of split {split}, the "
            f"first is row {first}: {unusable[first]}; compare its fields with those that the task reads, or raise "
            f"{key}.max_unusable ({allowed:g})"
        )
    reasons = Counter(unusable.values())
    for reason, count in reasons.most_common():
        logger.info("%s: %d of %d rows of split %s cannot be used: %s", key, count, len(rows), split, reason)
    return usable, reasons


def _score_references(task: harness.Task, document: Row, row: Row, others: Sequence[Row], key: str) -> None:
    """Score a row's reference answer, and at first that of another row too, so that the task's own code fails here."""
    answers = [row["choices"][0], *(other["choices"][0] for other in others[-1:] if len(others) < harness.PROBES)]
    for answer in answers:
        harness.accuracy(task, harness.score_generation(task, document, answer), key)


def _rendered(task: harness.Task, document: Row, seed: tuple[Any, ...], twice: bool) -> Row:
    """A rendered row, the same on every run; a row that is rendered `twice` must be the same both times."""
    with harness.seeded(*seed):
        text = render(task, document)
    if twice:
        with harness.seeded(*seed):
            again = render(task, document)
        if text != again:
            raise StudyError(
                f"datasets.{seed[1]}.task: {task.config.task} renders row {seed[-1]} of split {seed[2]} in another way "
                f"when it runs again; {harness.SEEDED}"
            )
    return text


def _check_indices(indices: Mapping[int, tuple[int, Sequence[str]]], reading: str) -> None:
    """Refuse right answers that are read as indices from 0 but do not look like it, over all rows of a split.

    indices: row number → index and choices, rows out of range among them. Few of them are lost, all others are wrong.
    """
    inside = [index for index, choices in indices.values() if 0 <= index < len(choices)]
    texts = [
        (index, choices.index(str(index)) if str(index) in choices else None) for index, choices in indices.values()
    ]
    if texts and all(place is not None for _, place in texts) and any(place != index for index, place in texts):
        raise StudyError(
            f"{reading}, but every one of them is also the text of a choice, and not always of that one; let "
            "doc_to_target name a field with that text, or be a function that returns the index"
        )
    above = {row: index for row, (index, choices) in indices.items() if index >= len(choices)}
    if inside and above and 0 not in inside:
        first = min(above)
        raise StudyError(
            f"{reading} from 0, but they seem to count from {min(inside)}: none is 0, and {len(above)} are beyond the "
            f"last choice, the first in row {first}: {above[first]} of {len(indices[first][1])} choices; subtract "
            f"{min(inside)} in doc_to_target"
        )
    below = {row: index for row, (index, _) in indices.items() if index < 0}
    if inside and below and not any(index == len(choices) - 1 for index, choices in indices.values()):
        first = min(below)
        raise StudyError(
            f"{reading} from 0, but none is the last choice, and {len(below)} are below 0, the first in row {first}: "
            f"{below[first]}; correct doc_to_target, or delete rows without an answer"
        )


def _cluster(document: Row, field: str | None) -> str | None:
    value = document.get(field) if field else None
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _gold_text(row: Row) -> str:
    return row["choices"][row["gold"]]


def _distinct(rows: Sequence[Row], identity: Callable[[Row], Any], dropped: Counter[str]) -> list[Row]:
    """The first row of every identity, in order."""
    first: dict[Any, Row] = {}
    for row in rows:
        first.setdefault(identity(row), row)
    dropped["duplicates"] += len(rows) - len(first)
    return list(first.values())


def _counted(role: str, rows: Sequence[Row], count_tokens: TokenCounter) -> list[Row]:
    """Rows with the number of their tokens: of the demonstration for candidates, else of the question."""
    texts = [row["prefix"][: row["answer_end"]] if role == CANDIDATE else row["question"] for row in rows]
    return [{**row, "tokens": tokens} for row, tokens in zip(rows, count_tokens(texts), strict=True)]


def _short(rows: Sequence[Row], limit: int | None, dropped: Counter[str]) -> list[Row]:
    """Rows of at most `limit` tokens."""
    short = [row for row in rows if limit is None or row["tokens"] <= limit]
    dropped[f"longer than {limit} tokens"] = len(rows) - len(short)
    return short


def room(role: str, kind: str, context: int) -> int:
    """Tokens that a row may take of a model's context, an item with its longest answer.

    A demonstration has half of the context, a question with its longest choice the other half. Where answers are
    generated, a question with its reference answer has a quarter, and a quarter is left for the answer. Shares that do
    not depend on the other role make the filter one of single rows: it takes the same ones out whatever is drawn.
    """
    return context // (4 if role == ITEM and kind == "generation" else 2) - SEAM


def _fitting(role: str, rows: Sequence[Row], model: CountingModel, dropped: Counter[str]) -> list[Row]:
    """Rows that fit the context of a model together with any row of the other role, so that no prompt is ever cut."""
    answers = [[] if role == CANDIDATE else row["choices"] for row in rows]
    counts = iter(model.count([answer for group in answers for answer in group]))
    longest = [max((next(counts) for _ in group), default=0) for group in answers]
    fitting = []
    for row, answer in zip(rows, longest, strict=True):
        if row["tokens"] + answer <= room(role, row["kind"], model.context):
            fitting.append(row)
    dropped[f"too long for a context of {model.context} tokens"] = len(rows) - len(fitting)
    return fitting


def _scorable(rows: Sequence[Row], count_tokens: TokenCounter, dropped: Counter[str]) -> list[Row]:
    """Rows whose every answer has a token of its own behind the prompt, rather than part of the prompt's last one.

    Without one, its log probability would be 0. Tokens do not merge across line breaks: the last line is enough.
    """
    asked = [split_trailing_space((row["description"] + row["question"]).rpartition("\n")[2]) for row in rows]
    answered = [
        [text + tail + row["target_delimiter"] + choice for choice in row["choices"]]
        for row, (text, tail) in zip(rows, asked, strict=True)
    ]
    alone = count_tokens([text for text, _ in asked])
    counts = iter(count_tokens([text for group in answered for text in group]))
    scorable = [
        row
        for row, prompt, group in zip(rows, alone, answered, strict=True)
        if min([next(counts) for _ in group]) > prompt
    ]
    dropped["with an answer that merges into the last token of its prompt (see target_delimiter)"] = len(rows) - len(
        scorable
    )
    return scorable


def _token_counter(folder: str | Path) -> TokenCounter:
    tokenizer = models.load_tokenizer(folder)

    def count(texts: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"]] if texts else []

    return count
