"""The harness's own prompts with a demonstration of our choice, as the truth for the tests."""

from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask

TASKS = Path(lm_eval.tasks.__file__).parent  # a subfolder of it loads at once, the whole takes seconds


class _Pinned(ContextSampler):
    def sample(self, n: int, eval_doc: Any = None, df: Any = None, **_: Any) -> list[dict[str, Any]]:
        return list(self.df)


def one_shot(task: ConfigurableTask, demonstration: dict[str, Any], item: dict[str, Any]) -> str:
    """The harness's prompt of `item` after `demonstration`."""
    return k_shot(task, [demonstration], item)


def k_shot(task: ConfigurableTask, demonstrations: list[dict[str, Any]], item: dict[str, Any]) -> str:
    """The harness's prompt of `item` after several demonstrations."""
    task.sampler = _Pinned(demonstrations)
    return task.fewshot_context(item, len(demonstrations), gen_prefix=task.doc_to_prefix(item))


def zero_shot(task: ConfigurableTask, item: dict[str, Any]) -> str:
    """The harness's prompt of `item` alone."""
    return task.fewshot_context(item, 0, gen_prefix=task.doc_to_prefix(item))
