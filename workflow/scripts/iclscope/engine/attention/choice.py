"""In which way a device computes attention: in rows, or in blocks where that is faster."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from iclscope.engine.attention.blocks import BlockLayout, in_blocks, lay_in_blocks
from iclscope.engine.attention.copies import gathered
from iclscope.engine.attention.rows import RowLayout, lay_in_rows
from iclscope.engine.packing import Batch

logger = logging.getLogger(__name__)

PATIENCE = 20.0  # seconds that a model is in use before blocks are tried, whose kernel takes some ten to compile
TRIALS = 3  # of which the fastest counts
EXACT = 1e-3  # nats, within which two ways of computing a log probability agree in float32, and with the harness
ROUNDED = (0.125, 0.5)  # least and most in other types, and in between

Layout = RowLayout | BlockLayout
LayOut = Callable[[Batch], Layout]


@dataclass
class _Choice:
    lay_out: LayOut | None = None  # until one is chosen
    began: float = field(default_factory=time.monotonic)


_choices: WeakKeyDictionary[Any, _Choice] = WeakKeyDictionary()


def lay_out_for(model: Any, trial: Callable[[LayOut], np.ndarray]) -> LayOut:
    """How batches are to be laid out for `model`.

    trial: log probabilities in nats of the same tokens, laid out in the way that it is given.
    """
    if model.device.type != "cuda":
        return lay_in_rows
    choice = _choices.setdefault(model, _Choice())
    if choice.lay_out is None and time.monotonic() - choice.began > PATIENCE:
        choice.lay_out = faster(trial, EXACT if model.dtype == torch.float32 else ROUNDED[1])
    return choice.lay_out or lay_in_rows


def attending(model: Any, batch: Batch, layout: Layout) -> AbstractContextManager[Any]:
    """While open, `model` takes `batch` as one sequence, with the `attention_mask` that this yields."""
    return gathered(model, batch, layout) if isinstance(layout, RowLayout) else in_blocks(model, batch, layout)


def faster(trial: Callable[[LayOut], np.ndarray], tolerance: float) -> LayOut:
    """Blocks, if they give the same log probabilities as rows do, in less time; else rows."""
    wanted = trial(lay_in_rows)
    try:
        difference = np.abs(trial(lay_in_blocks) - wanted).max()
    except Exception as error:  # a compiler may fail in any way
        logger.info("attention goes on in rows: blocks fail (%s: %s)", type(error).__name__, str(error)[:300])
        return lay_in_rows
    if not difference <= tolerance:
        logger.warning("attention goes on in rows: blocks give log probabilities that differ by %.3g nats", difference)
        return lay_in_rows
    rows, blocks = (min(_seconds(trial, way) for _ in range(TRIALS)) for way in (lay_in_rows, lay_in_blocks))
    logger.info(
        "attention in %s: %.3g ms a batch in rows, %.3g in blocks",
        "blocks" if blocks < rows else "rows",
        1e3 * rows,
        1e3 * blocks,
    )
    return lay_in_blocks if blocks < rows else lay_in_rows


def _seconds(trial: Callable[[LayOut], np.ndarray], way: LayOut) -> float:
    began = time.perf_counter()
    trial(way)
    return time.perf_counter() - began
