"""A make-believe study on disk with planted answers, for the tests of the statistics: every table they read.

Candidates differ in a hidden ability. Scores are ability plus noise, so that reliability is known; one activation
signal follows the ability as closely as `effect` says, all others are noise, are constant or are missing a value.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.matrix.contextual import CALIBRATED
from iclscope.tables import (
    ACTIVATIONS,
    EMBEDDINGS,
    EVALUATION,
    FEATURES,
    METRICS,
    REPRESENTATIONS,
    SAE_DICTIONARY,
    SAE_FEATURES,
    SAMPLE,
)

METRIC_NAMES = ("constant", "holed", "kurtosis", "mean")
PLANTED = {"mask": "causal", "site": "resid", "layer": 1, "pooling": "all", "metric": "kurtosis"}


@dataclass(frozen=True)
class Plan:
    """Sizes of the study, its reliability `alpha` with `items` items, and the planted correlation `effect`."""

    candidates: int = 60
    items: int = 40
    alpha: float = 0.9
    effect: float = 0.8
    layers: int = 3
    masks: tuple[str, ...] = ("causal", "self_only")
    generated: bool = False  # no choices: no label, no margin, no normalised accuracy, no entropy
    clusters: int | None = None
    seed: int = 0


@dataclass
class Planted:
    """Paths of the tables and the arrays they were made from."""

    ability: np.ndarray
    scores: np.ndarray  # gold log probability [C, N]
    paths: dict[str, Path] = field(default_factory=dict)
    metrics: dict[str, Path] = field(default_factory=dict)


def write(folder: Path, plan: Plan) -> Planted:
    """Write every table of the study below `folder`."""
    rng = np.random.default_rng(plan.seed)
    ability = rng.standard_normal(plan.candidates)
    noise = np.sqrt(plan.items * (1 - plan.alpha) / plan.alpha)
    difficulty = rng.standard_normal(plan.items)
    scores = ability[:, None] + difficulty - 3 + noise * rng.standard_normal((plan.candidates, plan.items))
    planted = Planted(ability, scores)
    names = ("evaluation", "features", "embeddings", "candidates", "items", "quality", "reliability", "variance")
    for name in (*names, "representations", "activations", "sae_features", "sae_features_random", "sae_dictionary"):
        planted.paths[name] = folder / f"{name}.parquet"
    EVALUATION.write(evaluation(scores, difficulty - 3.5, plan.generated), planted.paths["evaluation"], {})
    FEATURES.write(_features(plan, rng), planted.paths["features"], {})
    EMBEDDINGS.write(_embeddings(plan, rng), planted.paths["embeddings"], {})
    REPRESENTATIONS.write(_representations(plan), planted.paths["representations"], {})
    _write_sae(planted.paths, plan)
    for role, size in (("candidates", plan.candidates), ("items", plan.items)):
        kind = "generation" if plan.generated else "choice"
        SAMPLE.write(sample(role, size, plan.clusters, kind), planted.paths[role], {})
    ACTIVATIONS.write(_activations(plan, ability), planted.paths["activations"], {})
    for mask in plan.masks:
        planted.metrics[mask] = folder / f"{mask}.parquet"
        METRICS.write(_metrics(plan, mask, ability, rng), planted.metrics[mask], {})
    return planted


def evaluation(gold: np.ndarray, zero_shot: np.ndarray, generated: bool = False) -> pl.DataFrame:
    """An evaluation table with these gold log probabilities [C, N] and [N]; an answer is right above their mean."""
    grid = np.concatenate([zero_shot[None], gold])
    candidate, item = np.indices(grid.shape)
    pairs = grid.size
    right = (grid > grid.mean(axis=0)).ravel()
    return pl.DataFrame(
        {
            "candidate": candidate.ravel() - 1,
            "item": item.ravel(),
            "logprobs": [[-1.0, -2.0]] * pairs,
            "gold_logprob": grid.ravel(),
            "margin": [None] * pairs if generated else (0.5 * grid).ravel().tolist(),
            "correct": right,
            "correct_norm": [None] * pairs if generated else right.tolist(),
            **dict.fromkeys(CALIBRATED, [None] * pairs),
            "text": ["4"] * pairs if generated else [None] * pairs,
            "scores": [None] * pairs,
            "prompt_tokens": [10] * pairs,
        },
        schema_overrides={"correct": pl.Float32},
        strict=False,
    ).cast(dict(EVALUATION.schema))


def sample(role: str, size: int, clusters: int | None = None, kind: str = "choice") -> pl.DataFrame:
    """A sample table whose row n speaks of planet n; with `clusters`, that many groups of neighbours."""
    rows = [
        {
            "id": n,
            "split": "train",
            "source_row": n,
            "kind": kind,
            "description": "",
            "question": f"Is planet number{n} green?",
            "target_delimiter": " ",
            "choices": ["no", "yes"],
            "gold": n % 2,
            "prefix": f"Is planet number{n} green? {('no', 'yes')[n % 2]}\n\n",
            "question_start": 0,
            "question_end": 1,
            "answer_start": 1,
            "answer_end": 2,
            "cluster": None if clusters is None or role == "candidates" else f"passage {n * clusters // size}",
            "tokens": 20,
            "document": "{}",
        }
        for n in range(size)
    ]
    return pl.DataFrame(rows, schema=SAMPLE.schema)


def _features(plan: Plan, rng: np.random.Generator) -> pl.DataFrame:
    n, beside = plan.candidates, np.random.default_rng(plan.candidates)
    noise = {name: rng.standard_normal(n) for name in ("nll", "answer_nll", "zero_shot_margin", "zero_shot_entropy")}
    of_labels = ("content_free_entropy", "content_free_mass", "content_free_shares")
    empty = ("label", "zero_shot_margin", "zero_shot_entropy", *of_labels) if plan.generated else ()
    columns = {
        "candidate": np.arange(n),
        "length": rng.integers(20, 60, n),
        "label": rng.integers(0, 3, n),
        **noise,
        "similarity": rng.random(n),
        "typicality": rng.random(n),
        "random": rng.random(n),
        **dict(zip(("content_free", "content_free_entropy", "content_free_mass"), beside.random((3, n)), strict=True)),
        "content_free_shares": [[0.5, 0.3, 0.2]] * n,
        "content_free_tokens": [12] * n,
    }
    frame = pl.DataFrame({name: columns[name] for name in FEATURES.schema}, schema=FEATURES.schema)
    return frame.with_columns(pl.lit(None, FEATURES.schema[name]).alias(name) for name in empty)


def _embeddings(plan: Plan, rng: np.random.Generator) -> pl.DataFrame:
    sizes = {"candidate": plan.candidates, "item": plan.items}
    parts = [
        pl.DataFrame(
            {
                "role": [role] * size,
                "id": range(size),
                "vector": rng.standard_normal((size, 8)).tolist(),
                "encoding": rng.standard_normal((size, 4)).tolist(),
            },
            schema=EMBEDDINGS.schema,
        )
        for role, size in sizes.items()
    ]
    return pl.concat(parts)


def _representations(plan: Plan) -> pl.DataFrame:
    """Noise at three layers."""
    rng = np.random.default_rng([plan.seed, 8])
    sizes = {"candidates": plan.candidates, "items": plan.items}
    keys = [(layer, role, n) for layer in (1, 2, 3) for role, size in sizes.items() for n in range(size)]
    columns: dict[str, Any] = dict(zip(("layer", "role", "id"), zip(*keys, strict=True), strict=True))
    for name in ("mean_vector", "last_vector"):
        vectors = rng.standard_normal((len(keys), 6)).astype(np.float16)
        columns[name] = pl.Series(vectors.tolist(), dtype=pl.List(pl.Float16))
    return pl.DataFrame(columns).cast({"layer": pl.Int16, "id": pl.Int32})


def _activations(plan: Plan, ability: np.ndarray) -> pl.DataFrame:
    """Last vectors of four neurons, the third of which follows the ability at one site and layer."""
    rng, n = np.random.default_rng(plan.candidates), plan.candidates
    parts = []
    for site in ("mlp_out", "resid"):
        for layer in range(plan.layers):
            vectors = rng.standard_normal((n, 4))
            if (site, layer) == (PLANTED["site"], PLANTED["layer"]):
                vectors[:, 2] = plan.effect * ability + np.sqrt(1 - plan.effect**2) * vectors[:, 2]
            key = {"site": site, "layer": layer, "candidate": np.arange(n), "last_vector": vectors.tolist()}
            parts.append(pl.DataFrame(key))
    frame = pl.concat(parts)
    rest = [c for c in ACTIVATIONS.columns if c.name not in frame.columns]
    zeros = [(pl.lit([0]) if isinstance(c.dtype, pl.List) else pl.lit(0)).alias(c.name) for c in rest]
    return frame.with_columns(zeros).select(ACTIVATIONS.schema.names()).cast(dict(ACTIVATIONS.schema))


def _metrics(plan: Plan, mask: str, ability: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    parts = []
    for site in ("mlp_out", "resid"):
        for layer in range(plan.layers):
            for metric in METRIC_NAMES:
                key = {"site": site, "layer": layer, "pooling": "all", "metric": metric}
                values = rng.standard_normal(plan.candidates)
                if {"mask": mask, **key} == PLANTED:
                    values = plan.effect * ability + np.sqrt(1 - plan.effect**2) * values
                column = values.tolist()
                reasons: list[str | None] = [None] * plan.candidates
                if metric == "constant":
                    column = [1.0] * plan.candidates
                if metric == "holed":
                    column[2:4], reasons[2:4] = [None, None], ["no token left", "no token left"]
                rows = {"candidate": range(plan.candidates), "value": column, "reason": reasons}
                parts.append(
                    pl.DataFrame(rows, schema_overrides={"reason": pl.String}).with_columns(
                        pl.lit(v).alias(k) for k, v in key.items()
                    )
                )
    return pl.concat(parts).select(METRICS.schema.names()).cast(dict(METRICS.schema))


def _write_sae(paths: dict[str, Path], plan: Plan) -> None:
    """Active features of a sparse autoencoder of 40 features and its twin: two tokens a text, three features each."""
    rng = np.random.default_rng([plan.seed, 7])
    known = {"sae": ["mid"] * 40 + ["mid_random"] * 40, "feature": [*range(40)] * 2, "contexts": [["a «b» c"]] * 80}
    table = pl.DataFrame({**known, "density": rng.uniform(0.001, 0.3, 80), "mean_value": 1.0})
    columns = SAE_DICTIONARY.schema.names()
    SAE_DICTIONARY.write(table.select(columns).cast(SAE_DICTIONARY.schema), paths["sae_dictionary"], {})
    sizes = {"candidate": plan.candidates, "item": plan.items}
    for name in ("sae_features", "sae_features_random"):
        rows = [
            {
                "role": role, "id": text, "position": position, "n_tokens": 4, "question_start": 1, "question_end": 3,
                "answer_start": 3, "answer_end": 4, "features": rng.choice(40, 3, replace=False).tolist(),
                "values": rng.uniform(0.5, 3, 3).tolist(), "error": 1.0, "energy": 2.0,
            }
            for role, size in sizes.items()
            for text in range(size)
            for position in (1, 2)
        ]  # fmt: skip
        about = {"architecture": "topk", "place": ["resid", 1], "texts": sizes}
        SAE_FEATURES.write(pl.DataFrame(rows, schema=SAE_FEATURES.schema), paths[name], about)
