"""Metrics of a task that nobody has or that lack a field: the harness takes them, and fails on each row instead."""

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.registry import get_metric, metric_registry


def refusal(metric_list: Sequence[Mapping[str, Any]] | None, task: str) -> str:
    """The sentence that names the first such metric of a task; empty if there is none.

    The harness looks for what it does not know in the library evaluate, which fetches it from the hub.
    """
    for entry in metric_list or []:
        metric, fetched = entry["metric"], entry.get("hf_evaluate") is True
        if isinstance(metric, str) and get_metric(metric, fetched) is None:
            return (
                f"{task}: metric {metric} of its metric_list cannot be fetched from the hub, and the harness's own are "
                f"{', '.join(metric_registry)}; name one of these without hf_evaluate, or a function, as in `metric: "
                "!function utils.name`"
            )
        if callable(metric) and "aggregation" not in entry:
            name = getattr(metric, "__name__", metric)
            return f"{task}: metric {name} of its metric_list is a function; say `aggregation: mean` beside it"
    return ""
