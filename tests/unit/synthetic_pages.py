"""The other tables of a make-believe study, and its pages, for tests of the explorer and in the browser."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import synthetic
from iclscope.matrix.contextual import CALIBRATED
from iclscope.report import explorer, figures, pages
from iclscope.report.explorer import ExplorerFiles
from iclscope.report.pages import IndexFiles, ModelFiles, PageFiles
from iclscope.report.parts import SaeFiles
from iclscope.tables import EVALUATION, FEATURES, METRICS, SAMPLE
from synthetic import Design

SETTINGS = {
    "seed": 1,
    "models": {"small": {"source": "files", "dtype": "float32"}, "large": {"source": "hub", "dtype": "bfloat16"}},
    "datasets": {"data": {"task": "boolq", "candidates": 48, "max_tokens": {"items": 64}}},
    **{key: {} for key in pages.ANALYSIS_SETTINGS},
    "masks": ["causal", "bidirectional"],
    "correlation": {"smallest_useful_effect": 0.2},
}
RUN = {
    "config_digest": "0123abcd",
    "config": {"secret_of_the_record": 1},
    "versions": {"torch": "2.13.0"},
    "device": None,
}

DRAWN: dict[tuple[tuple[str, bytes], ...], dict[str, bytes]] = {}  # tables → the figures of them


def inputs(tables: Mapping[str, pl.DataFrame], design: Design, folder: Path) -> dict[str, Any]:
    """Write what the explorer reads beside the final tables; returns it by name."""
    rng = np.random.default_rng(design.seed)
    SAMPLE.write(_items(design), folder / "items.parquet", {})
    EVALUATION.write(_evaluation(design, rng), folder / "evaluation.parquet", {})
    FEATURES.write(_features(design, rng), folder / "features.parquet", {})
    for mask in design.masks:
        METRICS.write(_metrics(tables["correlation"], mask, design, rng), folder / f"metrics/{mask}.parquet", {})
    return {
        "candidates": folder / "candidates.parquet",
        "item_rows": folder / "items.parquet",
        "evaluation": folder / "evaluation.parquet",
        "features": folder / "features.parquet",
        "metrics": {mask: folder / f"metrics/{mask}.parquet" for mask in design.masks},
    }


def build(
    folder: Path,
    tables: Mapping[str, pl.DataFrame],
    design: Design,
    models: tuple[str, ...] = ("small", "large"),
    verdict: Mapping[str, Any] | None = None,
    more: Mapping[str, Path] | None = None,
    picks: Mapping[str, list[dict[str, Any]]] | None = None,
    saes: Mapping[str, SaeFiles] | None = None,
    learning: Mapping[str, Path] | None = None,
) -> dict[str, Path]:
    """Write figures and every page as the workflow would; returns page name → file.

    more: further tables by name; picks: model → demonstrations to ship; saes: tables of sparse autoencoders;
    learning: tables of learning curves.
    """
    paths = {**synthetic.write(tables, folder), **(more or {})}
    _draw(paths, folder / "plots")
    (folder / "run.json").write_text(json.dumps(RUN))
    if verdict:
        (folder / "verdict.json").write_text(json.dumps(verdict))
    pages_of = {model: folder / f"report/candidates/{model}/data.html" for model in models}
    material = ExplorerFiles(paths, **inputs(tables, design, folder))
    for model, file in pages_of.items():
        explorer.run(model=model, dataset="data", files=material, study_tables=1, output=file)
    pictures = pages.by_stem(sorted((folder / "plots").glob("*.svg")))
    own = {model: ModelFiles(paths, file, pictures, saes or {}, learning or {}) for model, file in pages_of.items()}
    common = {"run_record": folder / "run.json", "verdict": folder / "verdict.json" if verdict else None}
    page, index = folder / "report/data.html", folder / "report/index.html"
    chosen = {model: _written(lines, folder / f"picks/{model}/data.jsonl") for model, lines in (picks or {}).items()}
    pages.run_page(PageFiles("data", own, paths["candidates"], **common, picks=chosen), SETTINGS, 1, page)
    pages.run_index(IndexFiles({"data": own}, **common, picks=list(chosen.values())), SETTINGS, 1, index)
    return {"page": page, "index": index, **pages_of}


def _draw(tables: Mapping[str, Path], folder: Path) -> None:
    """Write the figures of the tables, which are drawn once however many pages show them."""
    key = tuple((name, path.read_bytes()) for name, path in sorted(tables.items()))
    if key not in DRAWN:
        figures.run(model="any", dataset="data", tables=tables, study_tables=1, folder=folder)
        DRAWN[key] = {file.name: file.read_bytes() for file in folder.iterdir()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in DRAWN[key].items():
        (folder / name).write_bytes(content)


def pick(name: str, k: int, model: str, text: str, **changes: Any) -> dict[str, Any]:
    """A line of the file of picks, without what no page shows."""
    worth = {"gain": 0.25, "low": 0.125, "high": 0.375, "p": 0.001}
    return {
        "name": name,
        "k": k,
        "verdict": "beats random",
        "model": {"name": model},
        "dataset": "data",
        "items": 40,
        "target": "gold_logprob_balanced",
        "zero_shot": -3.5,
        "value": -1.5,
        **worth,
        "over_balanced": worth,
        "gains": {"accuracy": {"gain": -0.054, "low": -0.2, "high": 0.1, "p": 0.5}},
        "deviation_order": 0.0625,
        "deviation_random": 0.5,
        "prompt_tokens": 1240.0,
        "added_tokens": 1199.6,
        "prefix": text,
        "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}],
        **changes,
    }


def _written(lines: list[dict[str, Any]], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def _items(design: Design) -> pl.DataFrame:
    rows = synthetic.sample(design.items).to_dicts()
    for row in rows:
        row |= {"question": f"Item {row['id']}: {row['question']}", "split": "validation"}
    return pl.DataFrame(rows, schema=SAMPLE.schema)


def _evaluation(design: Design, rng: np.random.Generator) -> pl.DataFrame:
    pairs = (design.candidates + 1) * design.items
    candidate, item = np.divmod(np.arange(pairs), design.items)
    margin = rng.standard_normal(pairs)
    columns = {
        "candidate": candidate - 1,
        "item": item,
        "gold_logprob": margin - 3,
        "margin": margin,
        "correct": (margin > 0).astype(float),
        "correct_norm": (margin > 0.1).astype(float),
        "prompt_tokens": np.full(pairs, 50),
    }
    frame = pl.DataFrame(columns).with_columns(
        logprobs=pl.concat_list(pl.col("gold_logprob")),
        text=pl.lit(None),
        scores=pl.lit(None),
        **dict.fromkeys(CALIBRATED),
    )
    return frame.select(EVALUATION.schema.names()).cast(dict(EVALUATION.schema))


def _features(design: Design, rng: np.random.Generator) -> pl.DataFrame:
    names = [name for name, kind in FEATURES.schema.items() if kind == pl.Float64]
    columns = {name: rng.standard_normal(design.candidates) for name in names}
    counts = {"length": rng.integers(9, 99, design.candidates), "label": np.arange(design.candidates) % 2}
    counts["content_free_tokens"] = np.full(design.candidates, 12)
    columns["content_free_shares"] = [[0.6, 0.4]] * design.candidates
    frame = pl.DataFrame({"candidate": np.arange(design.candidates), **counts, **columns})
    return frame.select(FEATURES.schema.names()).cast(dict(FEATURES.schema))


def _metrics(correlation: pl.DataFrame, mask: str, design: Design, rng: np.random.Generator) -> pl.DataFrame:
    first = correlation["target"][0]
    keys = correlation.filter(mask=mask, target=first).select("site", "layer", "pooling", "metric")
    frame = keys.join(pl.DataFrame({"candidate": np.arange(design.candidates)}), how="cross")
    value = pl.Series(rng.standard_normal(frame.height))
    frame = frame.with_columns(value=value, reason=pl.lit(None))
    return frame.select(METRICS.schema.names()).cast(dict(METRICS.schema))
