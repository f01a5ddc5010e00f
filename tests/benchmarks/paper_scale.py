"""Time and memory of the statistics at the paper's scale, on a make-believe study.

PYTHONPATH=workflow/scripts python tests/benchmarks/paper_scale.py [folder]

1,000 candidates x 3,270 items, 28 layers x 2 sites x 5 poolings x 12 metrics x 6 masks (20,160 signals); quality, then
correlation with 10,000 permutations and 2,000 bootstrap draws, then selection and agreement. Each stage runs in a
process of its own, as in the workflow. The corrected p values are then compared with a loop over
scipy.stats.permutation_test, which is timed on a few signals and extrapolated.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from iclscope.matrix import quality
from iclscope.matrix.contextual import CALIBRATED
from iclscope.runtime.jobs import Job
from iclscope.selection import agreement, trial
from iclscope.signals import correlation
from iclscope.statistics.ranks import centred_ranks, unit
from iclscope.statistics.signals.shuffles import Shuffles, permute
from iclscope.tables import EMBEDDINGS, EVALUATION, FEATURES, METRICS, SAMPLE
from record import ROOT, peak_memory

CANDIDATES, ITEMS, LAYERS, EMBEDDING = 1000, 3270, 28, 2048
SITES = ("mlp_out", "resid")
POOLINGS = ("all", "no_sink", "question", "answer", "last")
MASKS = ("causal", "sink_blocked", "bidirectional", "self_only", "answer_isolated", "prefix_lm")
METRIC_NAMES = (
    "mean", "variance", "skewness", "kurtosis", "skewness_token", "kurtosis_token", "max_abs", "log_max_median",
    "massive", "top_share", "l2_norm", "hoyer",
)  # fmt: skip
CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
SETTINGS = {
    "quality": CONFIG["quality"],
    "correlation": CONFIG["correlation"],
    "selection": CONFIG["selection"]
    | {"selectors": [*CONFIG["selection"]["selectors"], "search_32", "search_128"], "pool": 16},
    "agreement": {"pool": 16, "splits": 50},
}
LOOPED = 3  # signals on which the scipy loop is timed
SEED = 1


def write(folder: Path) -> None:
    """Write every table that the three stages read."""
    rng = np.random.default_rng(0)
    ability = rng.standard_normal(CANDIDATES)
    shape = (CANDIDATES + 1, ITEMS)
    gold = np.append(-0.5, ability)[:, None] + rng.standard_normal(ITEMS) + 20 * rng.standard_normal(shape)
    right = gold > np.median(gold)
    candidate, item = np.indices(shape)
    frame = pl.DataFrame(
        {
            "candidate": candidate.ravel() - 1,
            "item": item.ravel(),
            "gold_logprob": gold.ravel(),
            "margin": (gold + rng.standard_normal(shape)).ravel(),
            "correct": right.ravel(),
            "correct_norm": (right ^ (rng.random(shape) < 0.2)).ravel(),
        }
    ).with_columns(
        logprobs=pl.lit([-1.0, -2.0]), text=None, scores=None, prompt_tokens=120, **dict.fromkeys(CALIBRATED)
    )
    EVALUATION.write(_cast(frame, EVALUATION), folder / "evaluation.parquet", {})
    del frame, candidate, item
    FEATURES.write(_features(rng), folder / "features.parquet", {})
    vectors = rng.standard_normal((CANDIDATES + ITEMS, EMBEDDING), dtype=np.float32)
    roles = ["candidate"] * CANDIDATES + ["item"] * ITEMS
    ids = [*range(CANDIDATES), *range(ITEMS)]
    frame = pl.DataFrame({"role": roles, "id": ids, "vector": vectors}).with_columns(
        pl.col("vector").cast(pl.List(pl.Float32)), encoding=None
    )
    EMBEDDINGS.write(_cast(frame, EMBEDDINGS), folder / "embeddings.parquet", {})
    for name, size in (("candidates", CANDIDATES), ("items", ITEMS)):
        SAMPLE.write(_sample(size, rng), folder / f"{name}.parquet", {})
    for mask in MASKS:
        METRICS.write(_metrics(ability, rng), folder / f"metrics_{mask}.parquet", {})


def _cast(frame: pl.DataFrame, table) -> pl.DataFrame:
    return frame.select(table.schema.names()).cast(dict(table.schema))


def _features(rng: np.random.Generator) -> pl.DataFrame:
    names = [name for name, kind in FEATURES.schema.items() if kind == pl.Float64]
    columns = {name: rng.standard_normal(CANDIDATES) for name in names}
    ints = {"candidate": np.arange(CANDIDATES), "length": rng.integers(60, 200, CANDIDATES)}
    made = pl.DataFrame({**ints, "label": rng.integers(0, 2, CANDIDATES), **columns})
    return _cast(made.with_columns(content_free_shares=pl.lit([0.5, 0.5]), content_free_tokens=12), FEATURES)


def _sample(size: int, rng: np.random.Generator) -> pl.DataFrame:
    words = np.array([f"word{n}" for n in range(5_000)])
    questions = [" ".join(words[rng.integers(0, len(words), 100)]) for _ in range(size)]
    text = {"kind": "choice"} | dict.fromkeys(("split", "description", "target_delimiter", "prefix", "document"), "")
    numbers = ("source_row", "question_start", "question_end", "answer_start", "answer_end", "tokens")
    frame = pl.DataFrame({"id": range(size), "question": questions}).with_columns(
        *(pl.lit(value).alias(name) for name, value in text.items()),
        *(pl.lit(0).alias(name) for name in numbers),
        gold=rng.integers(0, 2, size),
        choices=pl.lit(["no", "yes"]),
        cluster=pl.lit(None),
    )
    return _cast(frame, SAMPLE)


def _metrics(ability: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Signals that drift from layer to layer; `massive` takes few values, as counts do."""
    parts = []
    for site in SITES:
        states = rng.standard_normal((len(POOLINGS), len(METRIC_NAMES), CANDIDATES))
        for layer in range(LAYERS):
            states = 0.9 * states + 0.44 * rng.standard_normal(states.shape) + 0.01 * ability
            for pooling, values in zip(POOLINGS, states, strict=True):
                for metric, value in zip(METRIC_NAMES, values, strict=True):
                    value = np.round(value) if metric == "massive" else value
                    key = {"site": site, "layer": layer, "pooling": pooling, "metric": metric}
                    columns = {"candidate": np.arange(CANDIDATES, dtype=np.int32), "value": value}
                    parts.append(pl.DataFrame(columns).with_columns(pl.lit(v).alias(k) for k, v in key.items()))
    return _cast(pl.concat(parts).with_columns(reason=None), METRICS)


def run(stage: str, folder: Path) -> None:
    """Run one stage on the tables of `folder` and print its seconds and peak memory as JSON."""
    names = ("evaluation", "features", "embeddings", "candidates", "items")
    path = {name: folder / f"{name}.parquet" for name in names}
    made = {name: folder / f"{name}.parquet" for name in ("quality", "reliability", "correlation", "headline")}
    metrics = {mask: folder / f"metrics_{mask}.parquet" for mask in MASKS}
    common = {"settings": SETTINGS[stage], "job": Job(SEED, {})}
    scored = {"evaluation": path["evaluation"], "candidates": path["candidates"], "item_rows": path["items"]}
    read = {**scored, "features": path["features"], "metrics": metrics}
    start, cpu = time.perf_counter(), time.process_time()
    if stage == "quality":
        quality.run(
            **common,
            files=quality.Files(**scored),
            quality_out=made["quality"],
            reliability_out=made["reliability"],
        )
    elif stage == "correlation":
        correlation.run(
            **common,
            files=correlation.Files(**read, reliability=made["reliability"]),
            correlation_out=made["correlation"],
            headline_out=made["headline"],
        )
    elif stage == "agreement":
        agreement.run(
            **common,
            model="one",
            files=agreement.Files({"one": path["evaluation"]}, path["candidates"], path["items"]),
            targets=SETTINGS["quality"]["targets"],
            agreement_out=folder / "agreement.parquet",
            variance_out=folder / "variance.parquet",
        )
    else:
        trial.run(
            **common,
            files=trial.Files(**read, embeddings=path["embeddings"]),
            targets=SETTINGS["quality"]["targets"],
            selection_out=folder / "selection.parquet",
            gains_out=folder / "gains.parquet",
        )
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "GiB": peak_memory() / 1024}
    print(json.dumps({name: round(value, 2) for name, value in took.items()}))


def maxt_against_scipy() -> dict[str, float]:
    """Seconds of the corrected p values of one target, and of scipy's loop over all signals, extrapolated."""
    from scipy.stats import permutation_test

    rng = np.random.default_rng(0)
    signals, permutations = len(MASKS) * len(SITES) * LAYERS * len(POOLINGS) * len(METRIC_NAMES), 10_000
    values, score = rng.standard_normal((signals, CANDIDATES)), rng.standard_normal(CANDIDATES)
    ranks, target = centred_ranks(values), centred_ranks(score)
    start = time.perf_counter()
    rows, scaled = unit(ranks).astype(np.float32), unit(target)
    shuffles = Shuffles(CANDIDATES, permutations, 1)
    error = shuffles.error(rows, scaled)
    null = permute(rows, scaled, shuffles, np.abs(np.arctanh(rows @ scaled)) / error, error)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    for row in range(LOOPED):
        found = permutation_test(
            (ranks[row].astype(float),),
            lambda x, axis: np.abs(x @ target),
            permutation_type="pairings",
            n_resamples=permutations,
            alternative="greater",
            vectorized=True,
            batch=1_000,
            rng=np.random.default_rng(2),
        )
        assert abs(found.pvalue - null.p()[row]) < 0.03
    loop = (time.perf_counter() - start) / LOOPED
    return {
        "maxT, seconds": round(ours, 2),
        f"scipy loop, seconds a signal (of {LOOPED})": round(loop, 2),
        f"scipy loop, seconds for {signals} signals (extrapolated)": round(loop * signals),
        "times faster": round(loop * signals / ours),
    }


def main() -> None:
    """Write the study unless it is there, run the stages one after the other, then the comparison."""
    if len(sys.argv) == 3:
        run(sys.argv[1], Path(sys.argv[2]))
        return
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else Path(tempfile.mkdtemp())
    if not (folder / f"metrics_{MASKS[-1]}.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
    for stage in SETTINGS:
        command = [sys.executable, __file__, stage, str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(f"{stage}: {done.stdout.strip()}", flush=True)
    print(json.dumps(maxt_against_scipy(), indent=1))


if __name__ == "__main__":
    main()
