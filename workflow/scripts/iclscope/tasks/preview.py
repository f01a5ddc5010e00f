"""What a study will ask: of each data set a prompt, its tokens, the rows that were dropped, and what looks wrong.

All of it is read off the pool, with the tokenizer of the model that counts for it; no weights are there.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from iclscope.engine.models import load_context_length, load_tokenizer
from iclscope.engine.prompts import PromptEncoder
from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import write_text
from iclscope.runtime.jobs import Job, task_of
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import POOL
from iclscope.tasks import samples
from iclscope.tasks.pool import room, run_pool
from iclscope.tasks.rows import Row
from iclscope.tasks.samples import CANDIDATE, ITEM

PAIRS = 1000  # prompts that are tokenised at most
SHOWN = 5  # reasons or labels that are named at most
MAJORITY = 0.7  # share of the items with one label that is worth a word
UNUSABLE = 0.05  # share of the rows of a split, likewise
WIDEST = 10**9  # tokens; a larger context is none

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class DataSet:
    """A data set as its pool has it: candidates and items that the study will take, all that are left, what is lost.

    left: usable rows of each role. splits: the split of each role. dropped: reason → rows, by role and by split.
    """

    key: str
    candidates: Sequence[Row]
    items: Sequence[Row]
    left: Mapping[str, int]
    splits: Mapping[str, str]
    dropped: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, pool: str | Path, settings: Settings, key: str) -> "DataSet":
        """The data set of a pool, of which `settings` takes `candidates` and `items`; of too few rows, all of them."""
        frame = POOL.read(pool).sort("id")
        both = {role: frame.filter(pl.col("role") == role) for role in (CANDIDATE, ITEM)}
        taken = {role: rows.head(samples.count_of(pool, settings, role, key)).to_dicts() for role, rows in both.items()}
        left = {role: rows.height for role, rows in both.items()}
        splits = {role: rows["split"][0] for role, rows in both.items()}
        return cls(key, taken[CANDIDATE], taken[ITEM], left, splits, read_provenance(pool)["dropped"])

    @property
    def rows(self) -> list[Row]:
        """Candidates and items."""
        return [*self.candidates, *self.items]

    @property
    def labels(self) -> list[str]:
        """The choices, where they are the same in every row; else none."""
        first: list[str] = self.items[0]["choices"]
        same = self.items[0]["kind"] == "choice" and all(row["choices"] == first for row in self.rows)
        return first if same else []

    def rows_of(self, split: str) -> int:
        """Rows of a split before any was dropped."""
        role = next(role for role, name in self.splits.items() if name == split)
        fewer = sum(self.dropped[f"{role}s"].values()) + sum(self.dropped.get(f"split {split}", {}).values())
        return self.left[role] + fewer


def run_from_data(
    *,
    settings: Mapping[str, Settings],
    data: Mapping[str, str | Path],
    models: Mapping[str, str | Path],
    text_out: str | Path,
    job: Job,
) -> None:
    """As `run`, with pools that are made of the rows in the folders `data`, by data set, and thrown away."""
    with tempfile.TemporaryDirectory() as scratch:
        pools = {name: Path(scratch, f"{name}.parquet") for name in data}
        for name, pool in pools.items():
            run_pool(
                data=data[name],
                dataset=name,
                task=task_of(settings[name], name),
                model=models[name],
                settings=settings[name],
                pool_out=pool,
                job=job,
            )
        run(settings=settings, pools=pools, models=models, text_out=text_out)


def run(
    *,
    settings: Mapping[str, Settings],
    pools: Mapping[str, str | Path],
    models: Mapping[str, str | Path],
    text_out: str | Path,
) -> None:
    """Write the preview of a study as text.

    settings: the section `datasets` of the config. pools: data set → its pool. models: data set → the folder of the
    model that counts its tokens, with config.json and tokenizer, weights or not.
    """
    data = {name: DataSet.of(pool, settings[name], f"datasets.{name}") for name, pool in pools.items()}
    parts = ["\n".join(_lines(name, one, settings[name], models[name])) for name, one in data.items()]
    write_text(text_out, "\n\n".join(parts) + "\n")


def prompt_text(candidate: Row, item: Row) -> str:
    """The one-shot prompt of two rows of the sample table, with the right answers in double brackets."""
    prefix, start, end = candidate["prefix"], candidate["answer_start"], candidate["answer_end"]
    shown = f"{prefix[:start]}[[{prefix[start:end]}]]{prefix[end:]}"
    return f"{shown}{item['question']}{item['target_delimiter']}[[{item['choices'][item['gold']]}]]"


def prompt_lines(candidate: Row, item: Row) -> list[str]:
    """The prompt of two rows with a bar before each line, and what the model chooses from."""
    lines = [f"  | {line}" for line in prompt_text(candidate, item).split("\n")]
    if item["kind"] == "choice":
        return [*lines, f"  choices: {' / '.join(item['choices'])}"]
    return [*lines, "  the answer is generated"]


def loss_lines(dropped: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Where rows were dropped, how many and why."""
    lines = []
    for where, reasons in dropped.items():
        if reasons:
            most = Counter(reasons).most_common()
            said = [f"{count:,} {reason}" for reason, count in most[:SHOWN]]
            others = sum(count for _, count in most[SHOWN:])
            said += [f"{others:,} for other reasons"] if others else []
            lines.append(f"  {where}, {sum(reasons.values()):,} dropped: {'; '.join(said)}")
    return lines or ["  no row is dropped"]


def _lines(name: str, data: DataSet, settings: Settings, model: str | Path) -> Iterator[str]:
    counts = ", ".join(
        f"{len(rows):,} {role}s of {data.left[role]:,} usable rows of split {data.splits[role]}"
        for role, rows in ((CANDIDATE, data.candidates), (ITEM, data.items))
    )
    yield f"{name}: {counts}"
    yield "\nThe first candidate before the first item, right answers in [[ ]]:"
    yield from prompt_lines(data.candidates[0], data.items[0])
    prompts, troubles = _prompt_lengths(data, PromptEncoder(load_tokenizer(model)))
    yield f"\nTokens, as {Path(model).name} counts them; no text is cut, rows beyond a limit are dropped:"
    yield from _token_table(data, prompts, settings.get("max_tokens", {}), load_context_length(model))
    yield "\nRows:"
    yield from loss_lines(data.dropped)
    warnings = [*troubles, *_size_warnings(data, settings), *_row_warnings(data), *_label_warnings(data)]
    yield "\nWarnings:"
    yield from [f"  {warning}" for warning in warnings] or ["  none"]


def _prompt_lengths(data: DataSet, encoder: PromptEncoder) -> tuple[list[int], list[str]]:
    """Tokens of prompts with their longest answer, the longest candidate before the longest item first; and troubles.

    The others pair candidates and items in order, each at least once, but for `PAIRS` at most.
    """
    longest = [max(rows, key=lambda row: row["tokens"]) for rows in (data.candidates, data.items)]
    rows = range(min(PAIRS, max(len(data.candidates), len(data.items))))
    pairs = [(data.candidates[n % len(data.candidates)], data.items[n % len(data.items)]) for n in rows]
    lengths, troubles = [], []
    for candidate, item in (longest, *pairs):
        try:
            (prompt,) = encoder.encode(candidate["prefix"], [item])
        except StudyError as error:
            troubles.append(str(error))
        else:
            lengths.append(len(prompt.context) + max(map(len, prompt.continuations)))
    return lengths, troubles[:1]


def _token_table(data: DataSet, prompts: Sequence[int], limits: Settings, context: int) -> Iterator[str]:
    """Median and largest number of tokens, and the limit, of a candidate, an item and the whole prompt."""
    yield f"  {'':34}{'median':>8}{'largest':>9}{'limit':>9}"
    kind = data.items[0]["kind"]
    for role, rows, what in (
        (CANDIDATE, data.candidates, "candidate: question and answer"),
        (ITEM, data.items, "item: question"),
    ):
        limit = min(room(role, kind, context), limits.get(f"{role}s", WIDEST))
        yield _token_line(what, [row["tokens"] for row in rows], limit)
    if prompts:
        yield _token_line("whole prompt and its longest answer", prompts, context)


def _token_line(what: str, tokens: Sequence[int], limit: int) -> str:
    written = f"{limit:,}" if limit < WIDEST else "none"
    return f"  {what:35}{median(tokens):>7,.0f}{max(tokens):>9,}{written:>9}"


def _size_warnings(data: DataSet, settings: Settings) -> Iterator[str]:
    """What the stage `sample` would stop at."""
    taken = {CANDIDATE: len(data.candidates), ITEM: len(data.items)}
    for role, count in taken.items():
        asked = settings[f"{role}s"]
        if asked != samples.ALL and asked > count:
            yield f"{data.key}.{role}s: {asked:,} are asked for, and {count:,} rows are left; ask for fewer"
            return
    places = ({(row["split"], row["source_row"]) for row in rows} for rows in (data.candidates, data.items))
    if shared := set.intersection(*places):
        yield (
            f"{data.key}: candidates and items come from one split and would share {len(shared):,} rows; ask for fewer "
            "of either"
        )


def _row_warnings(data: DataSet) -> Iterator[str]:
    """Rows that the task cannot use, answers without tokens, choices that are equal, no description."""
    for split in dict.fromkeys(data.splits.values()):
        unusable, rows = sum(data.dropped.get(f"split {split}", {}).values()), data.rows_of(split)
        if unusable > UNUSABLE * rows:
            yield f"{unusable / rows:.0%} of the {rows:,} rows of split {split} cannot be used by the task"
    for role, reasons in data.dropped.items():
        for reason, count in reasons.items():
            if "merges" in reason:
                yield f"{count:,} {role} have an answer that merges into the prompt; give the task a target_delimiter"
    twice = sum(len(set(row["choices"])) < len(row["choices"]) for row in data.rows)
    if twice:
        yield f"{twice:,} of {len(data.rows):,} rows have two equal choices"
    if not data.items[0]["description"]:
        yield "the task has no description: nothing before the demonstration says what is asked"


def _label_warnings(data: DataSet) -> Iterator[str]:
    """Labels that no candidate has, and one that most items have."""
    shown, asked = (Counter(row["choices"][row["gold"]] for row in rows) for rows in (data.candidates, data.items))
    if not data.labels:
        return
    if missing := [label for label in data.labels if label in asked and label not in shown]:
        yield f"no candidate has the label {', '.join(missing[:SHOWN])}, which items have"
    (label, count), *_ = asked.most_common()
    share = count / len(data.items)
    if share >= MAJORITY:
        yield f"{share:.0%} of the items have the label {label}: always giving it is as often right"
