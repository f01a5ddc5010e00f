"""Tasks and rows that tests of several files share."""

import json
from pathlib import Path

from iclscope.tasks import harness

OWN = Path(__file__).parents[2] / "config" / "tasks"


def load(name, rows, folder=OWN):
    return harness.load_task(name, folder, {"test": rows}, f"datasets.{name}")


def write_task(folder, name="mine", **fields):
    defaults = {
        "task": name,
        "dataset_path": "a/b",
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    chosen = {field: value for field, value in {**defaults, **fields}.items() if value is not None}
    (folder / f"{name}.yaml").write_text(json.dumps(chosen))  # JSON is YAML


QUESTIONS = [{"question": "What?", "answer": "that"}]


def json_to_yaml(file):
    return [f"{field}: {json.dumps(value)}" for field, value in json.loads(file.read_text()).items()]
