"""The report: one self-contained HTML page per data set and an index, which open from a file without any network."""

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import iclscope
from iclscope import captions, figures, findings, sheets
from iclscope import comparison as across_models
from iclscope.captions import Caption
from iclscope.files import write_text
from iclscope.findings import Finding
from iclscope.massive_sheet import massive
from iclscope.results import Results
from iclscope.sheets import Sheet
from iclscope.style import svg
from iclscope.tables import SAMPLE
from iclscope.wording import correlation, p_value, target_name, unbroken

logger = logging.getLogger(__name__)

Paths = Mapping[str, str | Path]

ANALYSIS_SETTINGS = (
    "masks",
    "activations",
    "metrics",
    "features",
    "evaluation",
    "quality",
    "correlation",
    "selection",
    "verdict",
)


@dataclass(frozen=True)
class Plate:
    """A figure as it stands in the report: its picture as a data address, its caption, the tables it was drawn from."""

    name: str
    picture: str
    caption: Caption
    sources: Sequence[str]


@dataclass(frozen=True)
class Chapter:
    """What the page of a data set says about one model."""

    model: str
    answer: str
    findings: Sequence[Finding]
    plates: Mapping[str, Plate]
    sheets: Mapping[str, Sheet]
    selector_sheets: Sequence[Sheet]


def run_page(
    *,
    dataset: str,
    models: Mapping[str, Paths],
    folders: Paths,
    candidates: str | Path,
    run_record: str | Path,
    verdict: str | Path | None,
    settings: Mapping[str, Any],
    output: str | Path,
    comparison: str | Path | None = None,
) -> None:
    """Write the page of one data set.

    models: model → {table name → Parquet file}; folders: model → folder with the figures; comparison: the figure that
    compares the models, if there are several; candidates: the sample; settings: the whole config. Text of candidates
    is not trusted: the templates escape everything.
    """
    sample, judged = SAMPLE.read(candidates), _verdict(verdict)
    effect = settings["correlation"]["smallest_useful_effect"]
    studies = [Results.read(model, dataset, tables) for model, tables in models.items()]
    chapters = [
        _chapter(results, models[results.model], Path(folders[results.model]), sample, judged, effect)
        for results in studies
    ]
    _render(
        "page.html",
        output,
        title=dataset,
        dataset=dataset,
        chapters=chapters,
        comparison=_comparison(comparison, studies, models, effect),
        settings=_settings_rows(settings, dataset),
        run_record=_run_rows(run_record),
    )


def run_index(
    *,
    studies: Mapping[str, Mapping[str, Paths]],
    run_record: str | Path,
    verdict: str | Path | None,
    settings: Mapping[str, Any],
    output: str | Path,
) -> None:
    """Write the index, which links to the page of every data set in the same folder.

    studies: data set → model → {table name → Parquet file}; settings: the whole config.
    """
    judged = _verdict(verdict)
    effect = settings["correlation"]["smallest_useful_effect"]
    everything = [
        Results.read(model, dataset, tables) for dataset, models in studies.items() for model, tables in models.items()
    ]
    sources = [str(tables["headline"]) for models in studies.values() for tables in models.values()]
    plate = Plate("overview", _data_address(svg(figures.overview(everything))), captions.overview(everything), sources)
    _render(
        "index.html",
        output,
        title="Signals and demonstrations",
        answer=judged.get("headline") or findings.overall(everything),
        plate=plate,
        rows=[_index_row(results, judged, effect) for results in everything],
        tables=sheets.across(judged, {results.target for results in everything}),
        settings=sheets.flattened(settings),
        run_record=_run_rows(run_record),
    )


def _comparison(
    picture: str | Path | None, studies: Sequence[Results], models: Mapping[str, Paths], effect: float
) -> Plate | None:
    """The figure that compares the models; None for a single one."""
    if picture is None:
        return None
    sources = [str(tables["quality"]) for tables in models.values()]
    address = _data_address(Path(picture).read_bytes())
    return Plate("quality_across_models", address, across_models.caption(studies, effect), sources)


def _chapter(
    results: Results, tables: Paths, folder: Path, sample: pl.DataFrame, judged: Mapping[str, Any], effect: float
) -> Chapter:
    mine = _verdict_of(judged, results)
    statuses = {name: entry["status"] for name, entry in mine.get("selectors", {}).items()}
    texts = captions.captions(results)
    plates = {
        name: Plate(
            name,
            _data_address((folder / f"{name}.svg").read_bytes()),
            texts[name],
            [str(tables[table]) for table in figures.SOURCES[name]],
        )
        for name in figures.FIGURES
    }
    signal_sheets = {"top_signals": sheets.top_signals(results), "undefined": sheets.undefined_signals(results)}
    if "massive" in tables:
        signal_sheets["massive"] = massive(tables["massive"])
    verdict = [Finding("Verdict", " ".join(mine["sentences"]))] if mine.get("sentences") else []
    return Chapter(
        model=results.model,
        answer=mine.get("conclusion") or findings.answer(results, effect),
        findings=[*findings.findings(results, effect), *verdict],
        plates=plates,
        sheets={
            "headline": sheets.headline(results),
            "features": sheets.features(results),
            "reliability": sheets.reliability(results),
            "extremes": sheets.extremes(results, sample),
            **{name: table for name, table in signal_sheets.items() if table},
        },
        selector_sheets=[
            sheets.selectors(results, target, statuses if target == results.target else {})  # the verdict's target
            for target in dict.fromkeys([results.target, results.targets[0]])
        ],
    )


def _index_row(results: Results, judged: Mapping[str, Any], effect: float) -> dict[str, Any]:
    headline = results.headline_of(results.target)
    return {
        "dataset": results.dataset,
        "model": results.model,
        "answer": _verdict_of(judged, results).get("conclusion") or findings.answer(results, effect),
        "cells": [
            target_name(results.target),
            correlation(headline["alpha"]),
            correlation(headline["ceiling"]),
            correlation(headline["null_95"]),
            correlation(headline["best_rho"]),
            p_value(headline["best_p_maxt"]),
        ],
    }


def _settings_rows(settings: Mapping[str, Any], dataset: str) -> list[tuple[str, str]]:
    """Settings that shape a data set's page: its own, and those of the analysis."""
    own = {"seed": settings["seed"], f"datasets.{dataset}": settings["datasets"][dataset]}
    return sheets.flattened(own | {key: settings[key] for key in ANALYSIS_SETTINGS})


def _run_rows(path: str | Path) -> list[tuple[str, str]]:
    """The run record but for the configuration, which the settings show."""
    return sheets.flattened({key: value for key, value in _json(path).items() if key != "config"})


def _verdict(path: str | Path | None) -> Mapping[str, Any]:
    return _json(path) if path else {}


def _verdict_of(judged: Mapping[str, Any], results: Results) -> Mapping[str, Any]:
    return judged.get("models", {}).get(results.model, {}).get(results.dataset, {})


def _json(path: str | Path) -> dict[str, Any]:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _data_address(picture: bytes) -> str:
    """An SVG as an address that carries it; a picture, unlike markup in the page, can run no script."""
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode('ascii')}"


def _render(template: str, output: str | Path, **context: Any) -> None:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = unbroken
    page = environment.get_template(template).render(question=iclscope.__doc__, **context)
    write_text(output, page)
    logger.info("%s: %.1f MB", output, len(page.encode()) / 1e6)
