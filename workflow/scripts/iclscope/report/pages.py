"""The report: one self-contained HTML page per data set and an index, which open from a file without any network."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iclscope.report import answer, html
from iclscope.report.chapters import overview, price_over_all, shots
from iclscope.report.figures import ACROSS_MODELS, CHAPTERS
from iclscope.report.parts import Caption, Chapter, Drawing, Material, Picture, SaeFiles, Sheet
from iclscope.report.style import svg
from iclscope.tables import SAMPLE
from iclscope.verdict import findings
from iclscope.verdict.findings import Finding
from iclscope.verdict.results import Results, paths_by_study
from iclscope.verdict.wording import p_value, target_name, two_decimals

Paths = Mapping[str, str | Path]

LEARNING_TABLES = ("shots_summary", "budget", "learning", "learning_summary", "learning_claims")

ANALYSIS_SETTINGS = (
    "masks", "activations", "metrics", "saes", "features", "evaluation", "quality", "correlation", "selection",
    "shots", "budget", "learning", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class ModelFiles:
    """What a page shows of one model: its tables and pictures (SVG) by name, the page of its candidates, its SAEs.

    learning: tables of sets, of budgets and of learning curves by name; none where the study has none.
    """

    tables: Paths
    explorer: str | Path
    pictures: Paths = field(default_factory=dict)
    saes: Mapping[str, SaeFiles] = field(default_factory=dict)
    learning: Paths = field(default_factory=dict)


@dataclass(frozen=True)
class PageFiles:
    """What the page of a data set is made of.

    candidates: the sample; comparison: pictures that compare the models; picks: demonstrations to ship, by model.
    """

    dataset: str
    models: Mapping[str, ModelFiles]
    candidates: str | Path
    run_record: str | Path
    verdict: str | Path | None
    comparison: Paths = field(default_factory=dict)
    picks: Paths = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: str, models: Sequence[str], files: Any) -> "PageFiles":
        """From inputs by name, of which those of several models are lists with models fastest."""
        tables = paths_by_study(files, [dataset], models)[dataset]
        of_models = {
            model: ModelFiles(
                {**tables[model], "massive": files["massive"][position]},
                files["explorers"][position],
                by_stem(files["figures"][position :: len(models)]),
                _saes(model, files),
                {table: files[table][position] for table in LEARNING_TABLES if files[table]},
            )
            for position, model in enumerate(models)
        }
        comparison, picks = by_stem(files["comparison"]), dict(zip(models, files["picks"], strict=False))
        return cls(dataset, of_models, files["candidates"], files["run_record"], files["verdict"], comparison, picks)


@dataclass(frozen=True)
class IndexFiles:
    """What the index is made of; studies: data set → model → files; picks: demonstrations to ship."""

    studies: Mapping[str, Mapping[str, ModelFiles]]
    run_record: str | Path
    verdict: str | Path | None
    picks: Sequence[str | Path] = ()

    @classmethod
    def of(cls, datasets: Sequence[str], models: Sequence[str], files: Any) -> "IndexFiles":
        """From inputs by name, of which those of several studies are lists with models fastest."""
        explorers = iter(files["explorers"])
        tables = paths_by_study(files, datasets, models)
        studies = {
            dataset: {model: ModelFiles(tables[dataset][model], next(explorers)) for model in models}
            for dataset in datasets
        }
        return cls(studies, files["run_record"], files["verdict"], list(files["picks"]))


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


@dataclass(frozen=True)
class Section:
    """A chapter with its content."""

    chapter: Chapter
    plates: Sequence[Plate]
    sheets: Sequence[Sheet] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """What the page of a data set says about one model; explorer: address of the page of all candidates."""

    model: str
    explorer: str
    answer: str
    findings: Sequence[Finding]
    headline: Sheet
    settings: Sequence[tuple[str, str]]
    sections: Sequence[Section]


def run_page(files: PageFiles, settings: Mapping[str, Any], study_tables: int, output: str | Path) -> None:
    """Write the page of one data set; settings: the config as it concerns it; study_tables: see `Results`.

    Text of candidates is not trusted: the templates escape everything.
    """
    judged = _verdict(files.verdict)
    studies = [Results.read(model, files.dataset, of.tables, study_tables) for model, of in files.models.items()]
    sample = SAMPLE.read(files.candidates)
    picks = {model: shots.read_lines(path) for model, path in files.picks.items()}
    parts = []
    for results in studies:
        own, judgement = files.models[results.model], _verdict_of(judged, results)
        chosen, lines = judgement.get("selectors", {}), picks.get(results.model, ())
        material = Material(results, sample, chosen, own.tables.get("massive"), lines, own.saes, own.learning)
        sections = _sections(material, own, output)
        parts.append(_part(results, judgement, settings, _address(own.explorer, output), sections))
    html.render(
        "page.html",
        output,
        html.TABLES,
        title=files.dataset,
        dataset=files.dataset,
        cards=[shots.card(lines, _address(files.picks[model], output)) for model, lines in picks.items()],
        parts=parts,
        across_models=_across_models(files, studies, settings, output),
        run_record=_run_rows(files.run_record),
    )


def run_index(files: IndexFiles, settings: Mapping[str, Any], study_tables: int, output: str | Path) -> None:
    """Write the index, which links to the page of every data set in the same folder; settings: the whole config."""
    judged = _verdict(files.verdict)
    effect = settings["correlation"]["smallest_useful_effect"]
    own = {(dataset, model): one for dataset, models in files.studies.items() for model, one in models.items()}
    studies = [Results.read(model, dataset, one.tables, study_tables) for (dataset, model), one in own.items()]
    tables = {table: [one.tables[table] for one in own.values()] for table in ("headline", "selection", "gains")}
    correlations = overview.largest_correlations(studies), overview.caption(studies), tables["headline"]
    html.render(
        "index.html",
        output,
        html.TABLES,
        title="Signals and demonstrations",
        cards=[shots.card(shots.read_lines(path), _address(path, output)) for path in files.picks],
        answer=judged.get("headline") or findings.overall(studies),
        plate=_drawn(Picture("overview", *correlations), output),
        prices=[_drawn(price_over_all.picture(studies, [*tables["selection"], *tables["gains"]]), output)]
        if len(studies) > 1
        else [],
        rows=[
            _index_row(results, _verdict_of(judged, results), effect)
            | {"explorer": _address(own[results.dataset, results.model].explorer, output)}
            for results in studies
        ],
        tables=overview.tables(judged, {results.target for results in studies}),
        settings=flattened(settings),
        run_record=_run_rows(files.run_record),
    )


def _saes(model: str, files: Any) -> dict[str, SaeFiles]:
    """The SAEs of a model by name, from the files `saes/{model}/{sae}/training` and `sae_screen/{model}/…/{sae}`."""
    training = {Path(file).parent.name: file for file in files["sae_training"] if Path(file).parts[-3] == model}
    screens = {Path(file).stem: file for file in files["sae_screens"] if Path(file).parts[-3] == model}
    return {name: SaeFiles(file, screens[name]) for name, file in training.items()}


def by_stem(pictures: Sequence[str | Path]) -> dict[str, str | Path]:
    """Pictures by the name of their figure."""
    return {Path(picture).stem: picture for picture in pictures}


def _sections(material: Material, files: ModelFiles, page: str | Path) -> list[Section]:
    """The chapters that have content for one model."""
    sections = []
    for chapter in CHAPTERS:
        plates = [
            _plate(figure, figure.caption(material.results), files.pictures, [files.tables], page)
            for figure in chapter.figures
        ]
        plates += [_drawn(picture, page) for make in chapter.pictures if (picture := make(material))]
        sheets = [sheet for make in chapter.sheets if (sheet := make(material))]
        remarks = [remark for make in chapter.remarks if (remark := make(material))]
        if plates or sheets or remarks:
            sections.append(Section(chapter, plates, sheets, remarks))
    return sections


def _across_models(
    files: PageFiles, studies: Sequence[Results], settings: Mapping[str, Any], page: str | Path
) -> list[Section]:
    """The chapters that compare models; none for a single one."""
    if not files.comparison:
        return []
    effect = settings["correlation"]["smallest_useful_effect"]
    tables = [of.tables for of in files.models.values()]
    return [
        Section(
            chapter,
            [_plate(f, f.caption(studies, effect), files.comparison, tables, page) for f in chapter.figures],
        )
        for chapter in ACROSS_MODELS
    ]


def _plate(figure: Drawing, caption: Caption, pictures: Paths, studies: Sequence[Paths], page: str | Path) -> Plate:
    """A figure that was drawn from its tables of all `studies`."""
    picture = html.data_address(Path(pictures[figure.name]).read_bytes())
    sources = [_source(tables[table], page) for tables in studies for table in figure.tables]
    return Plate(figure.name, picture, caption, sources)


def _drawn(picture: Picture, page: str | Path) -> Plate:
    """A figure of this page alone."""
    sources = [_source(table, page) for table in picture.tables]
    return Plate(picture.name, html.data_address(svg(picture.figure)), picture.caption, sources)


def _part(
    results: Results,
    judged: Mapping[str, Any],
    settings: Mapping[str, Any],
    explorer: str,
    sections: Sequence[Section],
) -> Part:
    effect = settings["correlation"]["smallest_useful_effect"]
    verdict = [Finding("Verdict", " ".join(judged["sentences"]))] if judged.get("sentences") else []
    return Part(
        model=results.model,
        explorer=explorer,
        answer=judged.get("conclusion") or findings.answer(results, effect),
        findings=[*findings.all_findings(results, effect), *verdict],
        headline=answer.headline(results),
        settings=_settings_rows(settings, results),
        sections=sections,
    )


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
            p_value(results.strongest["p_study"] if results.strongest else None),
        ],
    }


def _settings_rows(settings: Mapping[str, Any], results: Results) -> list[tuple[str, str]]:
    """Settings that shape a chapter: those of its model and data set, and those of the analysis."""
    own = {
        "seed": settings["seed"],
        f"models.{results.model}": settings["models"][results.model],
        f"datasets.{results.dataset}": settings["datasets"][results.dataset],
    }
    return flattened(own | {key: settings[key] for key in ANALYSIS_SETTINGS if key in settings})


def _run_rows(path: str | Path) -> list[tuple[str, str]]:
    """The run record but for the configuration, which the settings show."""
    return flattened({key: value for key, value in _json(path).items() if key != "config"})


def flattened(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Rows (key path, value) of a nested record: settings or a run record."""
    rows: list[tuple[str, str]] = []
    for key, value in record.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flattened(value, f"{path}.")
        else:
            rows.append((path, _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(entry) for entry in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items()) or "none"
    return str(value)


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
