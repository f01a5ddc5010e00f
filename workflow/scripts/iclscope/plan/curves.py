"""What learning curves cost: seconds of a core, and bytes on disk."""

from collections.abc import Mapping, Sequence
from typing import Any

from iclscope.activations.representations import layers_of
from iclscope.plan.workload import Architecture
from iclscope.runtime.configuration.settings import learns_from
from iclscope.runtime.configuration.task_files import are_classes
from iclscope.tasks.samples import labels_of

# Seconds on a core of an AMD EPYC (Zen 5), with a pool of 1,000 vectors of 384 values.
SPLIT = 0.15  # a TypiClust start, and a classifier that knows every label
STEP = 0.005  # a classifier, and its choice
SLOWER = {"coreset": 0.015, "typiclust": 0.07, "probcover": 0.04, "dropquery": 0.05}  # a choice
ENCODED_CHARACTER = 5e-5  # of a question, by an encoder of 22 million parameters
ROW, VECTOR = 40, 1600  # bytes of a row of the table, and of a vector of 384 values

STARTS = 2

Row = Mapping[str, Any]


def of_learning(config: Mapping[str, Any], shape: Architecture, candidates: Sequence[Row]) -> tuple[float, float]:
    """Seconds and bytes of the learning curves of one model and data set; 0 where they make no sense."""
    learning = config["learning"]
    if not are_classes(labels_of(candidates)):
        return 0.0, 0.0
    steps = learning["steps"] + 1
    runs = sum(STEP + SLOWER.get(name, 0.0) for name in learning["strategies"]) * STARTS * steps
    splits = learning["seeds"] * _representations(config, shape)
    rows = splits * (1 + STARTS * steps * len(learning["strategies"]))
    return splits * (SPLIT + runs), ROW * rows


def of_encoding(further: Sequence[Row]) -> tuple[float, float]:
    """Seconds and bytes of rows that the sentence encoder reads for learning curves."""
    characters = sum(len(row["question"]) for row in further)
    return ENCODED_CHARACTER * characters, VECTOR * len(further)


def _representations(config: Mapping[str, Any], shape: Architecture) -> int:
    """How many representations curves are drawn on."""
    if named := config["learning"].get("representations"):
        return len(named)
    by_encoder, by_layers = learns_from(config)
    layers = layers_of(config["representations"]["layers"], len(shape.blocks)) if by_layers else []
    return by_encoder + len(layers)
