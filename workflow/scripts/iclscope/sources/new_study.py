"""A study of a file of the user's: its configuration and task file, written after a look at the columns.

The configuration is the default study's, with its remarks, and other data; the task is tried on the rows before
anything is written, by the functions that the workflow's own stages use.
"""

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from iclscope.runtime.configuration import checks, contradictions, registries
from iclscope.runtime.configuration.task_files import ROOT, are_classes
from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import write_text
from iclscope.runtime.jobs import Task
from iclscope.sources import prepare_data
from iclscope.tasks import columns, harness, pool, preview
from iclscope.tasks.rows import Row, read_rows
from iclscope.tasks.samples import CANDIDATE, FEWEST, ITEM, labels_of

SPLIT = "rows"  # the one split of the file
MOST = 48  # candidates and items, as in the default study
SPARE = 10  # one row in so many is left for those that turn out too long
SHOWN = 2  # prompts
FIELDS = (  # of a task file, in the order in which they are read best
    "output_type", "doc_to_text", "doc_to_choice", "doc_to_target", "generation_kwargs", "filter_list", "metric_list",
)  # fmt: skip

Dropped = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Place:
    """Where a study is written, and what its data set is called."""

    folder: Path
    name: str

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.folder / "config.yaml"

    @property
    def task(self) -> Path:
        """The task file."""
        return self.folder / "tasks" / f"{self.name}.yaml"


def run(
    *,
    file: str,
    folder: str,
    asked: columns.Asked | None = None,
    model: str | None = None,
) -> str:
    """Write a study of the rows of `file` into `folder`; returns what to tell the user.

    asked: columns that the user named. model: a repository of the hub, a folder or a GGUF file; None is the default
    study's. Raises StudyError, and writes nothing, where the file, its columns or its rows do not do.
    """
    place = Place(Path(folder), _name(Path(file).stem))
    for path in (place.config, place.task):
        if path.exists():
            raise StudyError(f"{path} is there already; write to another folder with --folder, or delete it")
    models = _models(model) if model else None
    with tempfile.TemporaryDirectory() as scratch:
        rows = _rows(file, place, Path(scratch) / "data")
        reading = columns.read(rows, asked or columns.Asked())
        tasks = Path(scratch) / "tasks"
        _write_task(tasks, place.name, reading, file)
        seed = yaml.safe_load(_default())["seed"]
        frame, dropped = _pool(place.name, tasks, rows, reading, seed)
        text = _config_text(file, place, reading, frame, models)
        checks.check(yaml.safe_load(text), ROOT / "workflow/schemas/config.schema.yaml")
        shutil.copytree(tasks, place.task.parent, dirs_exist_ok=True)
        write_text(place.config, text)
    return "\n".join(_told(file, place, rows, reading, (frame, dropped))) + "\n"


def _rows(file: str, place: Place, data: Path) -> list[Row]:
    """The rows of the file, as the workflow will have them."""
    task = Task(place.name, place.folder / "tasks", f"datasets.{place.name}")
    source = {"source": "files", "files": {SPLIT: os.path.expanduser(file)}}
    prepare_data.run(task=task, settings=source, wheel=None, data_out=data)
    return read_rows(data / f"{SPLIT}.jsonl")


def _name(stem: str) -> str:
    """A name for the data set that can stand in file names."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or SPLIT
    return f"{name}-{SPLIT}" if name.casefold() == "index" or name.casefold().endswith(contradictions.ENDINGS) else name


def _models(model: str) -> str:
    """The section `models` for a model of the user's."""
    path = Path(model).expanduser()
    if path.exists():
        name, where = path.resolve().stem if path.suffix == ".gguf" else path.resolve().name, f"path: {_scalar(model)}"
        source = "files"
    elif re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", model) and model[0] != ".":
        name, source, where = model.rpartition("/")[2], "hub", f"repo: {_scalar(model)}"
    else:
        raise StudyError(f"--model: {model} is neither on this machine nor owner/name of the hub; correct it")
    entry = f"    source: {source}\n    {where}\n    dtype: float32 # bfloat16 takes half the memory and is coarser\n"
    return f"models:\n  {_scalar(_name(name.lower()))}:\n{entry}\n"


# The task


def _write_task(folder: Path, name: str, reading: columns.Reading, file: str) -> None:
    """Write the task file and, where templates cannot name a column, the function that renames it."""
    folder.mkdir()
    fields: dict[str, Any] = {"task": name, "test_split": SPLIT}
    fields |= {field: reading.fields[field] for field in FIELDS if field in reading.fields}
    text = f"# How the rows of {file} become prompts. See docs/how-to/data-set.md.\n"
    text += yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    if reading.renamed:
        module = f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}_columns"
        text += f"process_docs: !function {module}.renamed\n"
        names = "".join(f"    {column!r}: {new!r},\n" for column, new in reading.renamed.items())
        function = (
            '"""Names that templates can use, for columns that they cannot name."""\n\n'
            f"NAMES = {{\n{names}}}\n\n\ndef renamed(rows):\n    return rows.rename_columns(NAMES)\n"
        )
        write_text(folder / f"{module}.py", function)
    write_text(folder / f"{name}.yaml", text)


class _Dumper(yaml.SafeDumper):
    """Writes texts that are more than a word in quotes, of the kind that they do not hold."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    quotes = "'" if '"' in text and "\n" not in text else '"'
    style = None if re.fullmatch(r"[\w.-]+", text) else quotes
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _pool(
    name: str, tasks: Path, rows: Sequence[Row], reading: columns.Reading, seed: int
) -> tuple[pl.DataFrame, Dropped]:
    """The pool that the workflow will make, with rows that turn out too long for the model; refuses one too small."""
    key = f"datasets.{name}"
    config = harness.task_config(name, tasks, key)
    processed = harness.processed(config, rows, key, seed, name, SPLIT)
    task = harness.build_task(config, processed, key)
    cluster = {"cluster": reading.cluster} if reading.cluster else {}
    frame, dropped = pool.make_pool(
        task, {SPLIT: processed}, dict.fromkeys((CANDIDATE, ITEM), SPLIT), name, cluster, seed, None
    )
    usable = frame["source_row"].n_unique()
    enough = all((frame["role"] == role).sum() >= fewest for role, fewest in FEWEST.items())
    if usable < sum(FEWEST.values()) or not enough:
        lost = "; ".join(line.strip() for line in preview.loss_lines(dropped))
        raise StudyError(
            f"{usable} of {len(rows)} rows can be used, and a study needs {sum(FEWEST.values())}, {FEWEST[CANDIDATE]} "
            f"candidates and {FEWEST[ITEM]} items ({lost}); give more rows"
        )
    return frame, dropped


# The configuration


def _default() -> str:
    return (ROOT / "config/config.yaml").read_text(encoding="utf-8")


def _sizes(pool: pl.DataFrame) -> dict[str, int]:
    """How many candidates and items the rows of a pool give: of a passage, only to the role that has it."""
    usable = pool["source_row"].n_unique()
    rows = max(sum(FEWEST.values()), usable - usable // SPARE)
    mine = {role: int((pool["role"] == role).sum()) for role in FEWEST}
    left = {role: max(FEWEST[role], count - count // SPARE) for role, count in mine.items()}
    items = min(MOST, rows // 2, rows - FEWEST[CANDIDATE], left[ITEM])
    return {"candidates": min(MOST, rows - items, left[CANDIDATE]), "items": items}


def _config_text(file: str, place: Place, reading: columns.Reading, frame: pl.DataFrame, models: str | None) -> str:
    """The default study's configuration with data, folders and, if they are given, `models` of this study."""
    _, *parts = re.split(r"^(?=\w+:)", _default(), flags=re.MULTILINE)
    sections = {part.partition(":")[0]: part for part in parts}
    usable, sizes = frame["source_row"].n_unique(), _sizes(frame)
    folders = "".join(
        f"  {name}: {_scalar(str(place.folder / name))}\n" for name in ("results", "resources", "logs", "benchmarks")
    )
    head = (
        f"# A study of {Path(file).name}, written by `python -m iclscope new`: the default study with other data.\n"
        "# Every setting is described in config/README.md.\n\n"
        f"pathvars: # paths are relative to the folder in which Snakemake runs\n{folders}\n"
    )
    cluster = f"    cluster: {reading.cluster} # items that share it count as one when intervals are drawn\n"
    sections["datasets"] = (
        f"datasets:\n  {_scalar(place.name)}:\n"
        f"    task: {_scalar(place.name)} # {place.task}\n"
        "    source: files\n"
        f"    files: {{ {SPLIT}: {_scalar(file)} }} # both ends of one seeded order\n"
        f"    candidates: {sizes['candidates']} # of {usable} usable rows; `all` is all that the items leave\n"
        f"    items: {sizes['items']}\n"
        f"    block: {{ candidates: {-(-sizes['candidates'] // 2)}, items: {sizes['items']} }} # one job\n"
        f"{cluster if reading.cluster else ''}\n"
    )
    sections["models"] = models or sections["models"]
    half = sizes["items"] - sizes["items"] // 2
    sections["selection"] = re.sub(
        rf"^ +- {registries.SEARCH.pattern}\b.*\n",
        lambda line: line[0] if registries.SEARCHES[line[1]] * int(line[2]) <= half else "",
        sections["selection"],
        flags=re.MULTILINE,
    )
    if not are_classes(labels_of(frame.select("kind", "choices").iter_rows(named=True))):
        sections.pop("learning", None)
    return head + "".join(sections.values())


def _scalar(text: str) -> str:
    """A text as YAML reads it."""
    plain = re.fullmatch(r"[\w./-]+", text) and yaml.safe_load(text) == text
    return text if plain else json.dumps(text, ensure_ascii=False)


# What the user is told


def _told(
    file: str, place: Place, rows: Sequence[Row], reading: columns.Reading, made: tuple[pl.DataFrame, Dropped]
) -> list[str]:
    frame, dropped = made
    candidates, items = (
        frame.filter(pl.col("role") == role).sort("id").head(SHOWN).to_dicts() for role in (CANDIDATE, ITEM)
    )
    sizes = _sizes(frame)
    lines = [f"{file}: {len(rows):,} rows", *(f"  {what:10}{said}" for what, said in reading.said.items())]
    lines += [f"  {'sizes':10}{sizes['candidates']} candidates, {sizes['items']} items"]
    lines += preview.loss_lines({name: part for name, part in dropped.items() if name != f"{CANDIDATE}s"})
    lines += [f"  note: {note}" for note in reading.notes]
    lines += ["", "Two of its prompts, right answers in [[ ]]:"]
    for candidate, item in zip(candidates, items, strict=True):
        lines += ["", *preview.prompt_lines(candidate, item)]
    here = Path("Snakefile").resolve() == (ROOT / "Snakefile").resolve()
    start = "snakemake --cores all" + ("" if here else f" --snakefile {shlex.quote(str(ROOT / 'Snakefile'))}")
    study = f"--configfile {shlex.quote(str(place.config))}"
    return [
        *lines,
        "",
        f"{place.config} and {place.task} are written. Change them as you like, then look, and run it:",
        "",
        f"  {start} preview {study}",
        f"  {start} --resources gpu=1 {study}",
    ]
