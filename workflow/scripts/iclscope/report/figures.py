"""The figures of the study: those of every chapter, drawn from the final tables."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iclscope.report.chapters import (
    across_models,
    controls,
    correlation,
    demonstrations,
    massive,
    price,
    reliability,
    saes,
    selection,
    shots,
)
from iclscope.report.chapters.labels import budget, learning
from iclscope.report.parts import Chapter
from iclscope.report.style import save
from iclscope.verdict.results import Results

logger = logging.getLogger(__name__)

# In the order of the page. Rules read both lists without importing them, so a chapter stands here as `module.CHAPTER`.
CHAPTERS = (  # once per model
    correlation.CHAPTER,
    selection.CHAPTER,
    price.CHAPTER,
    shots.CHAPTER,
    budget.CHAPTER,
    learning.CHAPTER,
    reliability.CHAPTER,
    massive.CHAPTER,
    saes.CHAPTER,
    controls.CHAPTER,
    demonstrations.CHAPTER,
)
ACROSS_MODELS = (across_models.CHAPTER,)  # where there are several models


def run(*, model: str, dataset: str, tables: Mapping[str, str | Path], study_tables: int, folder: str | Path) -> None:
    """Draw every figure of one model on one data set into `folder`, as PNG and SVG.

    tables: correlation, headline, quality, reliability and selection → Parquet file. study_tables: see `Results`.
    """
    results = Results.read(model, dataset, tables, study_tables)
    logger.info("figures of %s on %s, primary quality target %s", model, dataset, results.target)
    _draw(CHAPTERS, results, folder)


def run_comparison(
    dataset: str, models: Mapping[str, Mapping[str, str | Path]], study_tables: int, folder: str | Path
) -> None:
    """Draw every figure that compares `models` (model → table name → Parquet file) on one data set into `folder`."""
    studies = [Results.read(model, dataset, tables, study_tables) for model, tables in models.items()]
    logger.info("figures of %s with %s", dataset, ", ".join(models))
    _draw(ACROSS_MODELS, studies, folder)


def _draw(chapters: Sequence[Chapter], results: Any, folder: str | Path) -> None:
    for chapter in chapters:
        for figure in chapter.figures:
            save(figure.draw(results), Path(folder) / figure.name)
