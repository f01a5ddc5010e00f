"""Tables of a make-believe study with planted answers, for the tests of figures and report.

Candidates differ in a hidden ability; every activation signal is noise that drifts from layer to layer, except one
series that follows the ability as strongly as `effect` says. Quality targets range from reliable to pure noise.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import norm, rankdata

from iclscope.runtime.parquet import Table
from iclscope.tables import (
    AGREEMENT,
    CORRELATION,
    GAINS,
    HEADLINE,
    QUALITY,
    RELIABILITY,
    SAMPLE,
    SELECTION,
    VARIANCE,
)
from iclscope.verdict.results import Results
from synthetic_selection import POOL, gains, trials

WRITTEN = {
    "correlation": CORRELATION,
    "headline": HEADLINE,
    "quality": QUALITY,
    "reliability": RELIABILITY,
    "selection": SELECTION,
    "variance": VARIANCE,
    "gains": GAINS,
    "agreement": AGREEMENT,
}
ADDED = ("cheap_share", "all_share", "added", "added_low")
PRIMARY = "gold_logprob"
PLANTED = ("bidirectional", "resid", "answer", "kurtosis")  # mask, site, pooling, metric that may follow ability


@dataclass(frozen=True)
class Design:
    """What the make-believe study varies, and how strong the planted signal is."""

    candidates: int = 48
    items: int = 48
    layers: int = 30
    masks: tuple[str, ...] = (
        "causal",
        "sink_blocked",
        "bidirectional",
        "self_only",
        "answer_isolated",
        "prefix_lm",
    )
    sites: tuple[str, ...] = ("mlp_out", "resid")
    poolings: tuple[str, ...] = ("all", "no_sink", "question", "answer", "last")
    metrics: tuple[str, ...] = (
        "mean",
        "variance",
        "skewness",
        "kurtosis",
        "max_abs",
        "log_max_median",
        "massive",
        "top_share",
    )
    ability: float = 0.5  # standard deviation of the hidden ability, in units of the noise of one score
    effect: float = 0.0  # how strongly the planted series follows the ability
    seed: int = 0


SMALL = Design(
    layers=6, masks=("causal", "bidirectional"), poolings=("all", "answer"), metrics=("mean", "kurtosis", "massive")
)


def frames(design: Design) -> dict[str, pl.DataFrame]:
    """Every table that figures and report read, plus `candidates` (a sample)."""
    rng = np.random.default_rng(design.seed)
    ability = rng.standard_normal(design.candidates)
    scores, zero_shot = _scores(design, ability, rng)
    reliability = _reliability(design, scores, zero_shot)
    quality = {target: matrix.mean(axis=1) for target, matrix in scores.items()}
    alpha = dict(zip(reliability["target"], reliability["alpha"], strict=True))
    correlation, null_95 = _correlation(design, ability, quality, alpha, rng)
    return {
        "correlation": correlation,
        "headline": _headline(design, correlation, reliability, null_95),
        "quality": _quality(scores),
        "reliability": reliability,
        "selection": (selection := trials(scores, rng)),
        "gains": gains(selection),
        "variance": _variance(scores),
        "agreement": agreement(design.candidates, design.items, quality),
        "candidates": sample(design.candidates),
    }


def write(tables: Mapping[str, pl.DataFrame], folder: Path) -> dict[str, Path]:
    """Write the tables as the workflow would; returns table name → path."""
    paths = {name: folder / f"{name}.parquet" for name in (*WRITTEN, "candidates")}
    for name, path in paths.items():
        WRITTEN.get(name, SAMPLE).write(tables[name], path, {})
    return paths


def _scores(
    design: Design, ability: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Score matrices [candidates, items] per target and the zero-shot means."""
    shape = (design.candidates, design.items)
    difficulty = rng.standard_normal(design.items)
    gold = -3 + design.ability * ability[:, None] + difficulty + rng.standard_normal(shape)
    margin = 0.3 + 0.3 * design.ability * ability[:, None] + difficulty + rng.standard_normal(shape)
    scores = {
        "accuracy": (margin > 0).astype(float),
        "accuracy_norm": (difficulty + rng.standard_normal(shape) > 0).astype(float),
        "gold_logprob": gold,
        "margin": margin,
        "gain": gold + 3.4 - difficulty,
    }
    return scores, {"accuracy": 0.55, "accuracy_norm": 0.52, "gold_logprob": -3.4, "margin": 0.1, "gain": 0.0}


def _quality(scores: Mapping[str, np.ndarray]) -> pl.DataFrame:
    parts = [
        {
            "target": [target] * len(matrix),
            "candidate": range(len(matrix)),
            "value": matrix.mean(axis=1),
            "standard_error": matrix.std(axis=1, ddof=1) / np.sqrt(matrix.shape[1]),
            "items": [matrix.shape[1]] * len(matrix),
            "one_answer": 0.5 + np.arange(len(matrix)) % 6 / 10,  # a sixth of them give one answer to all items
        }
        for target, matrix in scores.items()
    ]
    return pl.concat([pl.DataFrame(part, schema=QUALITY.schema) for part in parts])


def _variance(scores: Mapping[str, np.ndarray]) -> pl.DataFrame:
    score = ("candidate", "item", "push", "rest")
    sources = {"score": score, "quality": ("level", "push", "both", "rest"), "shared": score, "own": score}
    rows = [
        {"target": target, "of": of, "source": name, "variance": matrix.var() * (0.4, 0.3, -0.1, 0.2)[number]}
        for target, matrix in scores.items()
        if target != "gain"
        for of, names in sources.items()
        for number, name in enumerate(names)
    ]
    return pl.DataFrame(rows, schema=VARIANCE.schema)


def _reliability(design: Design, scores: Mapping[str, np.ndarray], zero_shot: Mapping[str, float]) -> pl.DataFrame:
    rows = []
    for target, matrix in scores.items():
        n = design.items
        alpha = n / (n - 1) * (1 - matrix.var(axis=0, ddof=1).sum() / matrix.sum(axis=1).var(ddof=1))
        defined = alpha > 0
        rows.append(
            {
                "target": target,
                "primary": target == PRIMARY,
                "candidates": design.candidates,
                "items": n,
                "zero_shot": zero_shot[target],
                "mean": matrix.mean(),
                "sd": matrix.mean(axis=1).std(ddof=1),
                "alpha": alpha if defined else None,
                "alpha_low": alpha - 0.1 if defined else None,
                "alpha_high": min(1.0, alpha + 0.1) if defined else None,
                "split_half": alpha - 0.01 if defined else None,
                "ceiling": np.sqrt(alpha) if defined else None,
                "items_needed": int(np.ceil(n * 0.9025 / 0.0975 * (1 - alpha) / alpha)) if defined else None,
                "reason": None if defined else "differences between candidates are no larger than noise",
            }
        )
    return pl.DataFrame(rows, schema=RELIABILITY.schema)


def _signals(design: Design, ability: np.ndarray, rng: np.random.Generator) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """Keys (family, mask, site, layer, pooling, metric) and values [signals, candidates]; NaN where undefined."""
    keys, values = [], []
    for mask in design.masks:
        for site in design.sites:
            for pooling in design.poolings:
                for metric in design.metrics:
                    state = rng.standard_normal(design.candidates)
                    for layer in range(design.layers):
                        state = 0.9 * state + np.sqrt(1 - 0.81) * rng.standard_normal(design.candidates)
                        value = state
                        if (mask, site, pooling, metric) == PLANTED:
                            bump = np.exp(-(((layer / design.layers - 0.6) / 0.2) ** 2))
                            value = state + design.effect * bump * ability
                        if mask == "causal" and metric == "massive":
                            value = np.full(design.candidates, np.nan)
                        keys.append(("activation", mask, site, layer, pooling, metric))
                        values.append(value)
    for name, weight in {"length": 0.0, "nll": 0.0, "answer_nll": 0.6, "typicality": 0.1}.items():
        keys.append(("feature", None, None, None, None, name))
        values.append(weight * ability + rng.standard_normal(design.candidates))
    keys.append(("control", None, None, None, None, "random"))
    values.append(rng.standard_normal(design.candidates))
    return keys, np.array(values)


def _declared(columns: Mapping[str, Any], table: Table) -> pl.DataFrame:
    """A frame with the table's columns and types from a column → values mapping."""
    return pl.DataFrame({name: columns[name] for name in table.schema}, schema=table.schema, strict=False)


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, centred and scaled to unit length, so that products are Spearman's rho."""
    ranks = rankdata(values, axis=-1)
    ranks = ranks - ranks.mean(axis=-1, keepdims=True)
    return ranks / np.linalg.norm(ranks, axis=-1, keepdims=True)


def _correlation(
    design: Design,
    ability: np.ndarray,
    quality: Mapping[str, np.ndarray],
    alpha: Mapping[str, float | None],
    rng: np.random.Generator,
) -> tuple[pl.DataFrame, dict[str, float]]:
    keys, values = _signals(design, ability, rng)
    family, mask, site, layer, pooling, metric = zip(*keys, strict=True)
    defined = ~np.isnan(values).any(axis=1)
    tested = defined & (np.array(family) == "activation")
    ranks = _standard_ranks(np.where(defined[:, None], values, rng.standard_normal(design.candidates)))
    parts, null_95 = [], {}
    for target, score in quality.items():
        rho = ranks @ _standard_ranks(score)
        permuted = np.stack([rng.permutation(_standard_ranks(score)) for _ in range(200)], axis=1)
        largest = np.abs(ranks[tested] @ permuted).max(axis=0)
        null_95[target] = float(np.quantile(largest, 0.95))
        width = 1.96 * np.sqrt((1 + rho**2 / 2) / (design.candidates - 3))
        low, high = np.tanh(np.arctanh(rho) - width), np.tanh(np.arctanh(rho) + width)
        p_maxt = (1 + (largest[:, None] >= np.abs(rho)).sum(axis=0)) / 201
        ceiling = np.sqrt(alpha[target] or np.nan)
        p = 2 * norm.sf(np.abs(np.arctanh(rho)) * np.sqrt(design.candidates - 3))
        frame = _declared(
            {
                "target": [target] * len(keys),
                "family": family,
                "sae": [None] * len(keys),
                "mask": mask,
                "site": site,
                "layer": layer,
                "pooling": pooling,
                "metric": metric,
                "n": np.where(defined, design.candidates, 0),
                "n_unique": np.where(defined, design.candidates, 1),
                "tie_share": np.where(defined, 0.0, 1.0),
                "rho": rho,
                "low": low,
                "high": high,
                "analytic_low": low,
                "analytic_high": high,
                "latent_rho": rho / ceiling,
                "latent_low": low / ceiling,
                "latent_high": high / ceiling,
                "small": (low / ceiling > -0.2) & (high / ceiling < 0.2),
                "statistic": np.arctanh(rho) * np.sqrt(design.candidates - 3),
                "p": p,
                "p_maxt": p_maxt,
                "q_bh": np.clip(p_maxt * 1.5, 0, 1),
                "q_by": np.clip(p_maxt * 3, 0, 1),
                "partial_length": rho * 0.98,
                "partial_label": rho * 0.95,
                "partial_nll": rho * 0.7,
                "partial_zero_shot": rho * 0.6,
                "p_beyond": np.sqrt(p_maxt),
                "reason": [None if d else "the same value for every candidate" for d in defined],
            },
            CORRELATION,
        )
        empty = [c for c in CORRELATION.schema.names()[CORRELATION.schema.names().index("rho") :] if c != "reason"]
        frame = frame.with_columns(
            pl.when(pl.col("reason").is_null()).then(pl.col(c)).otherwise(None).alias(c) for c in empty
        )
        parts.append(frame)
    return pl.concat(parts), null_95


def _headline(
    design: Design, correlation: pl.DataFrame, reliability: pl.DataFrame, null_95: Mapping[str, float]
) -> pl.DataFrame:
    rows = []
    for row in reliability.iter_rows(named=True):
        mine = correlation.filter(target=row["target"])
        signals = mine.filter(family="activation")
        best = signals.filter(pl.col("rho").is_not_null()).sort(pl.col("rho").abs(), descending=True).row(0, named=True)
        rows.append(
            {
                "target": row["target"],
                "primary": row["primary"],
                "candidates": design.candidates,
                "items": design.items,
                "signals": signals.height,
                "undefined": signals["rho"].null_count(),
                "alpha": row["alpha"],
                "ceiling": row["ceiling"],
                "null_95": null_95[row["target"]],
                "best_rho": best["rho"],
                "best_signal": " ".join(str(best[k]) for k in ("mask", "site", "layer", "pooling", "metric")),
                "best_p_maxt": best["p_maxt"],
                "best_value": 0.3 * best["rho"],
                "best_value_low": 0.3 * best["rho"] - 0.1,
                "best_value_high": 0.3 * best["rho"] + 0.1,
                "luck": 0.7 * abs(best["rho"]),
                "length_rho": mine.filter(metric="length")["rho"].item(),
                **dict(zip(ADDED, (0.3, 0.35, 0.05, -0.1) if row["primary"] else [None] * 4, strict=True)),
            }
        )
    return pl.DataFrame(rows, schema=HEADLINE.schema)


def agreement(candidates: int, items: int, targets: Iterable[str], models: Sequence[str] = ("model",)) -> pl.DataFrame:
    """Targets that agree well, with each other by the first of the models and between it and the others."""
    names = list(targets)
    pairs = [(a, models[0], b) for a in names for b in names if a != b] + [(a, m, a) for m in models[1:] for a in names]
    numbers = {"candidates": candidates, "items": items, "pool": POOL, "rho": 0.6, "low": 0.4, "high": 0.75}
    more = {"halves": 0.5, "ceiling": 0.8, "gain_elsewhere": 0.1, "gain_low": -0.05, "gain_high": 0.25, "reason": None}
    rows = [{"target": a, "with_model": m, "with_target": b, **numbers, **more} for a, m, b in pairs]
    return pl.DataFrame(rows, schema=AGREEMENT.schema)


def sample(number: int) -> pl.DataFrame:
    """Rows of a sample; every third answer is no."""
    rows = []
    for candidate in range(number):
        question = f"The sky of planet {candidate} is green.\nQuestion: is it green?\nAnswer:"
        gold = int(candidate % 3 > 0)
        answer = ("no", "yes")[gold]
        rows.append(
            {
                "id": candidate,
                "split": "train",
                "source_row": 7 * candidate,
                "kind": "choice",
                "description": "",
                "question": question,
                "target_delimiter": " ",
                "choices": ["no", "yes"],
                "gold": gold,
                "prefix": f"{question} {answer}\n\n",
                "question_start": 0,
                "question_end": len(question),
                "answer_start": len(question) + 1,
                "answer_end": len(question) + 1 + len(answer),
                "cluster": None,
                "tokens": 20,
                "document": "{}",
            }
        )
    return pl.DataFrame(rows, schema=SAMPLE.schema)


def undefined(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The same study had every candidate the same quality: no alpha and no correlation, with the reason."""
    names = CORRELATION.schema.names()
    empty = [c for c in names[names.index("rho") :] if c != "reason"]
    reason = pl.lit("every candidate has the same quality").alias("reason")
    blank = [
        pl.lit(None).alias(c) for c in ("alpha", "alpha_low", "alpha_high", "split_half", "ceiling", "items_needed")
    ]
    headline = (
        "alpha", "ceiling", "null_95", "best_rho", "best_signal", "best_p_maxt",
        "best_value", "best_value_low", "best_value_high", "luck", "length_rho", *ADDED,
    )  # fmt: skip
    return {
        **tables,
        "correlation": tables["correlation"]
        .with_columns(*(pl.lit(None).alias(c) for c in empty), reason)
        .cast(CORRELATION.schema),
        "reliability": tables["reliability"].with_columns(*blank, reason).cast(RELIABILITY.schema),
        "headline": tables["headline"]
        .with_columns(
            *(pl.lit(None).alias(c) for c in headline),
            undefined=pl.col("signals"),
        )
        .cast(HEADLINE.schema),
    }


def results(
    tables: Mapping[str, pl.DataFrame], model: str = "model", dataset: str = "data", study_tables: int = 1
) -> Results:
    """The tables as figures and findings take them."""
    return Results(model, dataset, **{name: tables[name] for name in WRITTEN}, study_tables=study_tables)
