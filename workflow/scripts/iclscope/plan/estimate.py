"""What a study will cost: tokens, FLOPs, disk and hours of every stage, model and data set, before anything runs.

Tokens are counted exactly (`workload`), FLOPs follow from config.json, the hours of a model from a device's rates
(`calibration`). Bytes on disk, and the hours of stages without a model, follow from the constants below and are rough.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.activations.extraction import estimated_bytes
from iclscope.activations.reading import tokenise
from iclscope.activations.representations import layers_of
from iclscope.engine.models import load_tokenizer
from iclscope.engine.prompts import PromptEncoder, encode_question
from iclscope.matrix import blocks
from iclscope.matrix.evaluation import GenerationScorer
from iclscope.plan import calibration, curves, dictionaries, workload
from iclscope.plan.calibration import Rates
from iclscope.plan.workload import NOTHING, Architecture, Work
from iclscope.runtime.configuration.settings import further_rows, wanted_of
from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import write_text
from iclscope.runtime.jobs import Job, Task
from iclscope.signals.content_free import Probe, probe_of
from iclscope.tables import PLAN, POOL
from iclscope.tasks import samples
from iclscope.tasks.samples import CANDIDATE, ITEM

logger = logging.getLogger(__name__)

# Seconds on a core of an AMD EPYC (Zen 5), of a job and of a unit of its work.
LIGHT_START = 1.2  # a job without a model
POOL_START, POOL_ROW = 6.0, 4e-4  # the harness; a row rendered
METRICS_VALUE = 2e-6  # a token at a layer and site
QUALITY_PAIR = 2e-5
CORRELATION_DRAW = 1e-10  # a candidate, in a draw of a signal and target
AGREEMENT_PAIR = 1e-6  # for two targets
SELECTION_DRAW = 5e-8  # a candidate, in a split of a signal
BUDGET_RUN, SPACES = 0.016, 3  # a strategy in a half of the candidates; kinds of vectors
FIGURES, PAGE = 4.3, 2.3
DOWNLOAD = 50e6  # bytes per second
LOAD = 0.5e9  # bytes of weights per second, from a disk that does not remember them

# Bytes on disk after compression.
ACTIVATIONS_SHARE = 0.8  # of those before
METRIC_VALUE, PAIR, SIGNAL, PICTURES = 5, 15, 100, 1_000_000
VECTOR = 4  # a layer's two vectors of a question, in each of their places

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

# What is said below a plan with `evaluation.engine`.
SERVED = """\
How fast the serving engine is, is not known: the stage evaluation is counted as if the package's own engine did it.
"""

Config = Mapping[str, Any]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """Candidates and items of a data set, its longest generated answer in tokens (0 for choices), what is asked
    without content, and further rows of its pool, for learning curves.
    """

    rows: int
    candidates: Sequence[Row]
    items: Sequence[Row]
    new_tokens: int
    probe: Probe | None
    further: Sequence[Row] = ()


@dataclass(frozen=True)
class Cost:
    """A stage's cost: jobs, work of a model, bytes on disk; seconds at work, and seconds to start all its jobs.

    layout: seconds of a core that prepares prompts meanwhile.
    """

    jobs: int
    size: float
    seconds: float
    starting: float
    read: Work = NOTHING
    generated: Work = NOTHING
    flops: float = 0.0  # where these do not follow from the work
    layout: float = 0.0


def run(
    *,
    settings: Config,
    pools: Mapping[str, str | Path],
    models: Mapping[str, str | Path],
    task_folders: Mapping[str, str | Path],
    table_out: str | Path,
    text_out: str | Path,
    job: Job,
) -> None:
    """Write the plan as a table and as text.

    settings: the whole config. pools: data set → its pool. models: model → a folder with its config.json and
    tokenizer, weights or not. task_folders: data set → the folder of its task file.
    """
    samples = {name: read_sample(settings, name, pool, task_folders[name]) for name, pool in pools.items()}
    rates = choose_rates(settings, models, samples)
    rows = [
        _row(stage, None, name, cost)
        for name, sample in samples.items()
        for stage, cost in data_costs(sample, wanted_of(settings, name)[0])
    ]
    for model, folder in models.items():
        shape = workload.architecture(folder)
        logger.info("%s: %.0f million parameters", model, shape.parameters / 1e6)
        weights = shape.parameters * BYTES[settings["models"][model]["dtype"]]
        rows.append(_row("prepare", model, None, Cost(1, weights, weights / DOWNLOAD, LIGHT_START)))
        for name, sample in samples.items():
            costs = dict(model_costs(settings, model, name, shape, folder, sample, rates[model]))
            logger.info("%s, %s: %.4g million tokens", model, name, sum(c.read.tokens for c in costs.values()) / 1e6)
            rows += [_row(stage, model, name, cost, shape) for stage, cost in costs.items()]
        study = [(pools[name], len(sample.items)) for name, sample in samples.items()]
        planned = dictionaries.of_model(settings, model, shape, folder)
        if planned:
            learned = dictionaries.learned(planned, study, settings["seed"])
            rows.append(_row("saes", model, None, _of_saes(learned, len(planned), shape, rates[model])))
            for name, sample in samples.items():
                read = dictionaries.read(planned, sample.candidates, sample.items)
                rows.append(_row("saes", model, name, _of_saes(read, 3 * len(planned), shape, rates[model])))
    frame = pl.DataFrame(rows, schema=PLAN.schema)
    PLAN.write(frame, table_out, job.provenance)
    write_text(text_out, as_text(frame, rates) + SERVED * ("engine" in settings["evaluation"]))


def read_sample(config: Config, name: str, pool: str | Path, task_folder: str | Path) -> Sample:
    """The candidates and items that the study will take from a data set's pool."""
    entry, frame = config["datasets"][name], POOL.read(pool)
    chosen, frames = {}, {}
    for role in (CANDIDATE, ITEM):
        count = samples.count_of(pool, entry, role, f"datasets.{name}")
        frames[role] = frame.filter(pl.col("role") == role, pl.col("id") < count).sort("id")
        chosen[role] = frames[role].to_dicts()
        if len(chosen[role]) < count:
            raise StudyError(
                f"datasets.{name}.{role}s: {count} are asked for, but the data has {len(chosen[role])}; ask for fewer"
            )
    new_tokens, task = 0, Task(entry["task"], task_folder, f"datasets.{name}")
    if chosen[ITEM][0]["kind"] == "generation":
        scorer = GenerationScorer(chosen[ITEM], task, entry.get("max_new_tokens"))
        new_tokens = scorer.stopping.max_new_tokens
    probe = probe_of(chosen[CANDIDATE], task, config["features"], config["seed"])
    further = samples.further_rows(frame, frames[CANDIDATE], frames[ITEM], further_rows(config)).to_dicts()
    return Sample(len(frame), chosen[CANDIDATE], chosen[ITEM], new_tokens, probe, further)


def choose_rates(config: Config, folders: Mapping[str, str | Path], samples: Mapping[str, Sample]) -> dict[str, Rates]:
    """Rates of each model on the device: given in the config, else measured here."""
    asked = [(sample.candidates, sample.items) for sample in samples.values()]
    batch_tokens = config["evaluation"]["batch_tokens"]
    if device := config.get("plan"):
        return {
            model: calibration.given(
                **device,
                bytes_per_weight=BYTES[config["models"][model]["dtype"]],
                layout=calibration.layout(PromptEncoder(load_tokenizer(folder)), asked, batch_tokens),
            )
            for model, folder in folders.items()
        }
    return {
        model: calibration.measure(
            folder,
            asked,
            config["activations"],
            batch_tokens,
            config["models"][model]["dtype"],
            config["device"],
            calibration.SECONDS / len(folders),
        )
        for model, folder in folders.items()
    }


def data_costs(sample: Sample, encoded: bool) -> Iterator[tuple[str, Cost]]:
    """Costs of a data set that all models share; `encoded`: whether a sentence encoder reads its further rows."""
    text = sum(len(row["prefix"]) + len(row["document"]) for row in (*sample.candidates, *sample.items))
    yield "prepare", Cost(1, text, 0, LIGHT_START)
    yield "sample", Cost(3, text, POOL_ROW * sample.rows, POOL_START + 2 * LIGHT_START)
    if encoded:
        seconds, size = curves.of_encoding(sample.further)
        yield "learning", Cost(1, size, seconds, calibration.START)
    yield "report", Cost(3, PICTURES, 3 * PAGE, 0)


def model_costs(
    config: Config, model: str, name: str, shape: Architecture, folder: str | Path, sample: Sample, rates: Rates
) -> Iterator[tuple[str, Cost]]:
    """Costs of every stage that runs for one model on one data set."""
    yield from _reading_costs(config, model, name, shape, folder, sample, rates)
    yield from _analysis_costs(config, shape, sample)


def _reading_costs(
    config: Config, model: str, name: str, shape: Architecture, folder: str | Path, sample: Sample, rates: Rates
) -> Iterator[tuple[str, Cost]]:
    """Costs of the stages that run the model."""
    tokenizer = load_tokenizer(folder)
    encoder, settings = PromptEncoder(tokenizer), config["activations"]
    starting = rates.start + shape.parameters * BYTES[config["models"][model]["dtype"]] / LOAD
    candidates, items = sample.candidates, sample.items
    demonstrations = tokenise(candidates, shape.model, tokenizer)
    masks = len(config["masks"])

    work = workload.extraction(demonstrations)
    size = estimated_bytes(work.tokens, len(candidates), shape.blocks, settings["sites"], settings["top_k"])
    work *= masks
    seconds = shape.flops(work) / rates.extraction
    yield "activations", Cost(1, ACTIVATIONS_SHARE * size * masks, seconds, starting, work)

    work = workload.features(encoder, demonstrations, tokenise(items, shape.model, tokenizer), candidates, sample.probe)
    size = 4 * shape.model.config.get_text_config().hidden_size * (len(candidates) + len(items))
    yield "features", Cost(1, size, shape.flops(work) / rates.scoring, starting, work)

    if asked := config.get("representations"):
        further = sample.further if wanted_of(config, name)[1] else ()
        rows = (*candidates, *items, *further)
        work = workload.extraction(tokenise(rows, shape.model, tokenizer, encode_question))
        vectors = VECTOR * shape.model.config.get_text_config().hidden_size * len(rows)
        size = vectors * len(layers_of(asked["layers"], len(shape.blocks)))
        jobs = 1 + bool(further)
        yield "representations", Cost(jobs, size, shape.flops(work) / rates.extraction, jobs * starting, work)

    block = blocks.size(config, name)
    work = workload.evaluation(encoder, candidates, items, block)
    answers = workload.generation(encoder, candidates, items, sample.new_tokens) if sample.new_tokens else NOTHING
    laying = rates.layout * work.tokens
    seconds = max(shape.flops(work) / rates.scoring + shape.flops(answers) / rates.generation, laying)
    jobs = len(blocks.grid(len(candidates), len(items), block))
    pairs = (len(candidates) + 1) * len(items)
    size = 2 * PAIR * pairs  # blocks and the whole
    yield "evaluation", Cost(jobs, size, seconds, jobs * starting, work, answers, layout=laying)

    if shots := config.get("shots"):
        work = workload.shots(encoder, candidates, items, shots)
        laying = rates.layout * work.tokens
        seconds = max(shape.flops(work) / rates.scoring, laying)
        yield "shots", Cost(2, PAIR * work.predictions, seconds, starting + LIGHT_START, work, layout=laying)


def _of_saes(share: dictionaries.Share, jobs: int, shape: Architecture, rates: Rates) -> Cost:
    """Cost of some jobs of SAEs, each of which loads the model."""
    return Cost(
        jobs, share.size, share.flops / rates.extraction, jobs * rates.start, Work(share.tokens), flops=share.flops
    )


def _analysis_costs(config: Config, shape: Architecture, sample: Sample) -> Iterator[tuple[str, Cost]]:
    """Costs of the stages that do without the model."""
    candidates, pairs = len(sample.candidates), len(sample.candidates) * len(sample.items)
    masks, targets = len(config["masks"]), len(config["quality"]["targets"])
    places = masks * len(shape.blocks) * len(config["activations"]["sites"])
    signals = places * len(config["metrics"]["poolings"]) * len(config["metrics"]["names"])
    characters = sum(row["answer_end"] for row in sample.candidates)
    draws = config["correlation"]["permutations"] + config["correlation"]["bootstrap"]
    correlating = CORRELATION_DRAW * draws * targets * signals * candidates
    choosing = SELECTION_DRAW * config["selection"]["splits"] * signals * candidates
    tokens = characters / 4
    yield (
        "metrics",
        Cost(1, METRIC_VALUE * signals * candidates, METRICS_VALUE * places * tokens, LIGHT_START),
    )
    yield "quality", Cost(1, 8 * targets * candidates, QUALITY_PAIR * pairs, LIGHT_START)
    yield "correlation", Cost(1, SIGNAL * targets * signals, correlating, LIGHT_START)
    yield "selection", Cost(1, 0, choosing, LIGHT_START)
    yield "agreement", Cost(1, 0, AGREEMENT_PAIR * targets**2 * pairs, LIGHT_START)
    if asked := config.get("budget"):
        runs = SPACES * asked["halves"] * len(asked["strategies"])
        yield "budget", Cost(1, 0, BUDGET_RUN * runs, LIGHT_START)
    if "learning" in config:
        seconds, size = curves.of_learning(config, shape, sample.candidates)
        yield "learning", Cost(2, size, seconds, 2 * LIGHT_START)
    yield "plots", Cost(1, PICTURES, FIGURES, 0)


def _row(
    stage: str, model: str | None, dataset: str | None, cost: Cost, shape: Architecture | None = None
) -> dict[str, Any]:
    seconds = cost.seconds + cost.starting
    return {
        "stage": stage,
        "model": model,
        "dataset": dataset,
        "jobs": cost.jobs,
        "tokens": cost.read.tokens,
        "new_tokens": cost.generated.tokens,
        "flops": cost.flops or (shape.flops(cost.read + cost.generated) if shape else 0.0),
        "bytes": int(cost.size),
        "hours": seconds / 3600,
        "start_share": cost.starting / seconds,
        "layout_share": cost.layout / cost.seconds if cost.seconds else 0.0,
    }


def as_text(frame: pl.DataFrame, rates: Mapping[str, Rates]) -> str:
    """The plan as text: a line per stage, model and data set, then sums."""
    lines = [
        f"{model}: {rate.scoring / 1e12:.3g} TFLOP/s at scoring, {rate.extraction / 1e12:.3g} at reading activations, "
        f"{rate.generation / 1e12:.3g} at generating; {rate.start:.0f} s to start a job; {1e6 * rate.layout:.1f} µs of "
        "a core to lay out a token that is scored"
        for model, rate in rates.items()
    ]
    heads = ("stage", "model", "data set", "jobs", "tokens", "generated", "PFLOP", "GB", "hours", "starting", "layout")
    table = [heads, *(_cells(row) for row in frame.iter_rows(named=True))]
    sums = frame.select(pl.sum("jobs", "tokens", "new_tokens", "flops", "bytes", "hours")).row(0, named=True)
    starting = (frame["hours"] * frame["start_share"]).sum() / sums["hours"]
    names = {"stage": "everything", "model": None, "dataset": None}
    table.append(_cells({**sums, **names, "start_share": starting, "layout_share": 0.0}))
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    for row in table:
        words = [
            cell.ljust(width) if k < 3 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(words).rstrip())
    lines.append("Hours of one device, or of one core for stages without a model. Tokens are exact to half a percent;")
    lines.append("generated tokens are expected ones: as many as the reference answer has, and a stop sequence.")
    lines.append(_what_bounds(frame))
    return "\n".join(lines) + "\n"


def _what_bounds(frame: pl.DataFrame) -> str:
    """Whether the device waits for the core that lays out prompts, as a sentence."""
    laid = frame.filter(pl.col("layout_share") > 0)
    waiting = laid.filter(pl.col("layout_share") >= 1)
    if waiting.is_empty():
        most = f"{max(laid['layout_share'], default=0):.0%}"
        return f"The device sets the pace: a core lays out prompts meanwhile, in {most} of that time at most (layout)."
    stages = [f"{row['stage']} of {row['dataset']} with {row['model']}" for row in waiting.iter_rows(named=True)]
    return (
        f"Where layout is 100%, the device waits for the core that lays out prompts: {', '.join(stages)}. A faster "
        "device gains nothing there; a faster core does."
    )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["stage"],
        row["model"] or "",
        row["dataset"] or "",
        str(row["jobs"]),
        f"{row['tokens']:,}" if row["tokens"] else "",
        f"{row['new_tokens']:,}" if row["new_tokens"] else "",
        f"{row['flops'] / 1e15:.3g}" if row["flops"] else "",
        f"{row['bytes'] / 1e9:.3f}",
        f"{row['hours']:.3f}",
        f"{row['start_share']:.0%}",
        f"{row['layout_share']:.0%}" if row["layout_share"] else "",
    )
