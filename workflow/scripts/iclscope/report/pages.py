"""The report: one self-contained HTML page per data set and an index, which open from a file without any network."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.report import captions, figures, html, sheets
from iclscope.report import comparison as across_models
from iclscope.report.captions import Caption
from iclscope.report.massive_sheet import massive
from iclscope.report.sheets import Sheet
from iclscope.report.style import svg
from iclscope.tables import SAMPLE
from iclscope.verdict import findings
from iclscope.verdict.findings import Finding
from iclscope.verdict.results import Results
from iclscope.verdict.wording import p_value, target_name, two_decimals

Paths = Mapping[str, str | Path]

ANALYSIS_SETTINGS = (
    "masks", "activations", "metrics", "features", "evaluation", "quality", "correlation", "selection", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A table that a figure was drawn from: its path, and its address as seen from the page."""

    name: str
    address: str


@dataclass(frozen=True)
class Plate:
    """A figure as it stands in the report: its picture as a data address, its caption, the tables it was drawn from."""

    name: str
    picture: str
    caption: Caption
    sources: Sequence[Source]


@dataclass
class Section:
    """Part of a chapter; figures stand where the first table they are drawn from belongs."""

    name: str
    short: str
    title: str
    tables: Sequence[str] = ()
    note: str = ""
    plates: list[Plate] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)


@dataclass(frozen=True)
class Chapter:
    """What the page of a data set says about one model; explorer: address of the page of all candidates."""

    model: str
    explorer: str
    answer: str
    findings: Sequence[Finding]
    headline: Sheet
    settings: Sequence[tuple[str, str]]
    sections: Sequence[Section]


def run_page(
    *,
    dataset: str,
    models: Mapping[str, Paths],
    folders: Paths,
    explorers: Paths,
    candidates: str | Path,
    run_record: str | Path,
    verdict: str | Path | None,
    settings: Mapping[str, Any],
    output: str | Path,
    comparison: str | Path | None = None,
) -> None:
    """Write the page of one data set.

    models: model → {table name → Parquet file}; folders: model → folder with the figures; explorers: model → page of
    its candidates; candidates: the sample; settings: the whole config; comparison: the figure that compares the models,
    if there are several. Text of candidates is not trusted: the templates escape everything.
    """
    sample, judged = SAMPLE.read(candidates), _verdict(verdict)
    studies = [Results.read(model, dataset, tables) for model, tables in models.items()]
    chapters = []
    for results in studies:
        model, tables = results.model, models[results.model]
        plates = _plates(results, tables, Path(folders[model]), output)
        explorer = _address(explorers[model], output)
        judgement, where = _verdict_of(judged, results), tables.get("massive")
        chapters.append(_chapter(results, plates, explorer, sample, judgement, settings, where))
    html.render(
        "page.html",
        output,
        html.TABLES,
        title=dataset,
        dataset=dataset,
        chapters=chapters,
        comparison=_comparison(comparison, studies, models, settings, output),
        run_record=_run_rows(run_record),
    )


def run_index(
    *,
    studies: Mapping[str, Mapping[str, Paths]],
    explorers: Mapping[str, Paths],
    run_record: str | Path,
    verdict: str | Path | None,
    settings: Mapping[str, Any],
    output: str | Path,
) -> None:
    """Write the index, which links to the page of every data set in the same folder.

    studies: data set → model → {table name → Parquet file}; explorers: data set → model → page of the candidates;
    settings: the whole config.
    """
    judged = _verdict(verdict)
    effect = settings["correlation"]["smallest_useful_effect"]
    everything = [
        Results.read(model, dataset, tables) for dataset, models in studies.items() for model, tables in models.items()
    ]
    sources = [_source(tables["headline"], output) for models in studies.values() for tables in models.values()]
    picture = html.data_address(svg(figures.overview(everything)))
    html.render(
        "index.html",
        output,
        html.TABLES,
        title="Signals and demonstrations",
        answer=judged.get("headline") or findings.overall(everything),
        plate=Plate("overview", picture, captions.overview(everything), sources),
        rows=[
            _index_row(results, _verdict_of(judged, results), effect)
            | {"explorer": _address(explorers[results.dataset][results.model], output)}
            for results in everything
        ],
        tables=sheets.across(judged, {results.target for results in everything}),
        settings=sheets.flattened(settings),
        run_record=_run_rows(run_record),
    )


def _plates(results: Results, tables: Paths, folder: Path, page: str | Path) -> list[Plate]:
    """Every figure that there is, in the order of their declaration."""
    texts = captions.captions(results)
    return [
        Plate(
            name,
            html.data_address((folder / f"{name}.svg").read_bytes()),
            texts[name],
            [_source(tables[table], page) for table in figures.SOURCES[name]],
        )
        for name in figures.FIGURES
    ]


def _comparison(
    picture: str | Path | None,
    studies: Sequence[Results],
    models: Mapping[str, Paths],
    settings: Mapping[str, Any],
    page: str | Path,
) -> Plate | None:
    """The figure that compares the models; None for a single one."""
    if picture is None:
        return None
    sources = [_source(tables["quality"], page) for tables in models.values()]
    caption = across_models.caption(studies, settings["correlation"]["smallest_useful_effect"])
    return Plate("quality_across_models", html.data_address(Path(picture).read_bytes()), caption, sources)


def _chapter(
    results: Results,
    plates: Sequence[Plate],
    explorer: str,
    sample: pl.DataFrame,
    judged: Mapping[str, Any],
    settings: Mapping[str, Any],
    massive_table: str | Path | None,
) -> Chapter:
    effect = settings["correlation"]["smallest_useful_effect"]
    verdict = [Finding("Verdict", " ".join(judged["sentences"]))] if judged.get("sentences") else []
    statuses = {name: entry["status"] for name, entry in judged.get("selectors", {}).items()}
    return Chapter(
        model=results.model,
        explorer=explorer,
        answer=judged.get("conclusion") or findings.answer(results, effect),
        findings=[*findings.all_findings(results, effect), *verdict],
        headline=sheets.headline(results),
        settings=_settings_rows(settings, results),
        sections=_sections(results, plates, sample, statuses, massive_table),
    )


def _sections(
    results: Results,
    plates: Sequence[Plate],
    sample: pl.DataFrame,
    statuses: Mapping[str, str],
    massive_table: str | Path | None,
) -> list[Section]:
    """The sections of a chapter that have content; a figure of other tables stands in the last."""
    correlation = Section(
        "correlation", "correlation", "Correlation by layer and mask", ("correlation", "headline"),
        sheets=[table for table in (sheets.top_signals(results), sheets.undefined_signals(results)) if table],
    )  # fmt: skip
    selection = Section("selection", "selectors", "Value of the selectors", ("selection",))
    selection.sheets = [
        sheets.selectors(results, target, statuses if target == results.target else {})  # the verdict's target
        for target in dict.fromkeys([results.target, results.targets[0]])
    ]
    reliability = Section(
        "reliability", "reliability", "Quality and its reliability", ("quality", "reliability"),
        sheets=[sheets.reliability(results)],
    )  # fmt: skip
    controls = Section("controls", "controls", "Cheaper signals and controls", sheets=[sheets.features(results)])
    demonstrations = Section(
        "demonstrations", "demonstrations", "Best and worst demonstrations",
        note="Among many candidates some come out on top by luck; reliability says how much to trust this order.",
        sheets=[sheets.extremes(results, sample)],
    )  # fmt: skip
    activations = Section(
        "massive", "massive activations", "Where massive activations sit",
        sheets=[massive(massive_table)] if massive_table else [],
    )  # fmt: skip
    further = Section("further", "more", "Further figures")
    sections = [correlation, selection, reliability, activations, controls, demonstrations, further]
    for plate in plates:
        first = figures.SOURCES[plate.name][0]
        next((section for section in sections if first in section.tables), further).plates.append(plate)
    return [section for section in sections if section.plates or section.sheets]


def _index_row(results: Results, judged: Mapping[str, Any], effect: float) -> dict[str, Any]:
    headline = results.headline_of(results.target)
    return {
        "dataset": results.dataset,
        "model": results.model,
        "answer": judged.get("conclusion") or findings.answer(results, effect),
        "cells": [
            target_name(results.target),
            two_decimals(headline["alpha"]),
            two_decimals(headline["ceiling"]),
            two_decimals(headline["null_95"]),
            two_decimals(headline["best_rho"]),
            p_value(headline["best_p_maxt"]),
        ],
    }


def _settings_rows(settings: Mapping[str, Any], results: Results) -> list[tuple[str, str]]:
    """Settings that shape a chapter: those of its model and data set, and those of the analysis."""
    own = {
        "seed": settings["seed"],
        f"models.{results.model}": settings["models"][results.model],
        f"datasets.{results.dataset}": settings["datasets"][results.dataset],
    }
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


def _source(table: str | Path, page: str | Path) -> Source:
    return Source(str(table), _address(table, page))


def _address(file: str | Path, page: str | Path) -> str:
    """A file's address as seen from a page."""
    return Path(os.path.relpath(file, Path(page).parent)).as_posix()
