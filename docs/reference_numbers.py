"""The numbers of docs/explanation/reference-study.md, a table in Markdown per question, from results of its config.

PYTHONPATH=workflow/scripts python docs/reference_numbers.py results-reference

A file or a number that is not there ends it with a sentence: a table has no holes.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from iclscope.labelling.summary import REFERENCE, Curves
from iclscope.runtime.configuration.settings import ENCODER
from iclscope.statistics.corrections import holm
from iclscope.statistics.intervals import LEVEL
from iclscope.statistics.learning_curves import mean_of
from iclscope.statistics.resampling import generator

SELECTORS = ("search_half", "search_16", "search_8", "shortlist_4", "content_free")
SELECTORS += ("activation", "probe", "sae_ridge", "nearest_encoder")
LARGE = 128  # candidates in a pool
MOST_LABELS = 10  # beyond which choices differ from row to row
ANSWERS = {"it beats": "yes", "it loses to": "it is worse", "it is not shown to beat": "not shown"}
NAMES = {"smollm2-135m": "SmolLM2", "gemma3-270m": "Gemma 3"}


class Study:
    """Results of a study, of which nothing may be missing."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.verdict = json.loads(self._found("verdict.json").read_text(encoding="utf-8"))

    def pairs(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Model, data set, and what the verdict says of them."""
        for model, datasets in self.verdict["models"].items():
            for dataset, said in datasets.items():
                yield model, dataset, said

    def table(self, kind: str, model: str, dataset: str) -> pl.DataFrame:
        """A table of one model and data set."""
        return pl.read_parquet(self._found(f"{kind}/{model}/{dataset}.parquet"))

    def row(self, kind: str, model: str, dataset: str, **wanted: Any) -> dict[str, Any]:
        """The only row of a table that has these values."""
        rows = self.table(kind, model, dataset).filter(**wanted).to_dicts()
        if len(rows) != 1:
            sys.exit(f"{kind}/{model}/{dataset}.parquet: {len(rows)} rows with {wanted}, one is needed")
        return rows[0]

    def samples(self, dataset: str, role: str) -> pl.DataFrame:
        """Candidates or items of a data set."""
        return pl.read_parquet(self._found(f"samples/{dataset}/{role}.parquet"))

    def _found(self, name: str) -> Path:
        path = self.results / name
        if not path.is_file():
            sys.exit(f"{path} is missing: finish the study, and name its results")
        return path


def number(value: float | None, form: str = ".2f") -> str:
    """A number as it stands in a table; refuses one that is not there."""
    if value is None or not np.isfinite(value):
        sys.exit("a number that a table needs is undefined")
    return format(value, form).replace("-", "−")


def chance(p: float | None) -> str:
    """A p value as it stands in a table."""
    return "< 0.001" if p is not None and p < 0.001 else number(p, ".3f")


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A number with its interval."""
    return f"{number(value)} ({number(low)} to {number(high)})"


def signals(study: Study) -> Iterator[Sequence[str]]:
    """Question 1: the largest correlation of an activation signal, and what is left of it."""
    yield "", "ceiling", "largest ρ", "chance below", "worth (95 %)", "length", "cheap, all (share)", "verdict"
    for model, dataset, said in study.pairs():
        one = said["numbers"]
        yield (
            named(model, dataset),
            number(one["ceiling"]),
            number(one["best_rho"]),
            number(one["null_95"]),
            interval(one["best_value"], one["best_value_low"], one["best_value_high"]),
            number(one["length_rho"]),
            f"{number(one['cheap_share'])}, {number(one['all_share'])}",
            said["status"],
        )


def accuracies(study: Study) -> Iterator[Sequence[str]]:
    """Question 1, where quality is accuracy: balanced over labels, or plain where there are none."""
    yield "", "reliability", "largest ρ", "worth (95 %)", "p, corrected for the whole study"
    pairs = list(study.pairs())
    for model, dataset, said in pairs:
        target = "accuracy_balanced" if said["target"].endswith("_balanced") else "accuracy"
        one = study.row("headline", model, dataset, target=target)
        reliability = "no more than noise" if one["alpha"] is None else number(one["alpha"])
        worth = interval(one["best_value"], one["best_value_low"], one["best_value_high"])
        corrected = chance(min(1.0, len(pairs) * one["best_p_maxt"]))
        yield named(model, dataset), reliability, number(one["best_rho"]), worth, corrected


def probes(study: Study) -> Iterator[Sequence[str]]:
    """Question 2: the content-free probe beside the strongest activation."""
    yield "", "ρ of the probe (95 %)", "worth of the strongest activation", "gain of `content_free`", "of `activation`"
    for model, dataset, said in study.pairs():
        row = study.row("correlation", model, dataset, target=said["target"], family="feature", metric="content_free")
        gains = [said["selectors"][name] for name in ("content_free", "activation")]
        yield (
            named(model, dataset),
            interval(row["rho"], row["low"], row["high"]),
            number(said["numbers"]["best_value"]),
            *(interval(gain["gain"], gain["low"], gain["high"]) for gain in gains),
        )


def sparse(study: Study) -> Iterator[Sequence[str]]:
    """Question 3: ridge regression on sparse features, on those of an untrained dictionary, on the dense vector."""
    yield "", "`sae_ridge`", "untrained twin", "dense vector (`probe`)", "beats the twin", "beats the dense vector"
    for model, dataset, said in study.pairs():
        gains = [said["selectors"][name] for name in ("sae_ridge", "sae_ridge_random", "probe")]
        ruled = [sentence for sentence in said["sentences"] if sentence.startswith("Ridge regression on the features")]
        if len(ruled) != 1:
            sys.exit(f"verdict.json: {model}, {dataset} says {len(ruled)} times what the SAE is worth")
        shown = [ANSWERS[part.partition(" its untrained")[0].partition(" the dense")[0]] for part in parts_of(ruled[0])]
        yield named(model, dataset), *(interval(gain["gain"], gain["low"], gain["high"]) for gain in gains), *shown


def parts_of(sentence: str) -> list[str]:
    """What the verdict says of an SAE beside its twin, and beside the dense vector."""
    parts = sentence.partition(": ")[2].split(", and ")
    if len(parts) != 2:
        sys.exit(f"verdict.json: {sentence!r} names no twin or no dense vector")
    return parts


def selectors(study: Study) -> Iterator[Sequence[str]]:
    """Question 4: gain of each selector in small and in large pools, and the tokens read for the small ones."""
    yield "", "best possible", *(f"`{selector}`" for selector in SELECTORS)
    for model, dataset, said in study.pairs():
        chosen = ("best_possible", *SELECTORS)
        yield named(model, dataset), *(gain_of(study, selector, model, dataset, said) for selector in chosen)


def gain_of(study: Study, selector: str, model: str, dataset: str, said: dict[str, Any]) -> str:
    """Gain in the study's pools and, behind a slash, in LARGE ones where there are such; tokens read for the former."""
    gains = study.table("gains", model, dataset).filter(target=said["target"], selector=selector)
    by_pool = dict(gains.select("pool", "gain").iter_rows())
    many = said["numbers"]["candidates"] >= 4 * LARGE and LARGE in by_pool
    large = f" / {number(by_pool[LARGE])}" if many else ""
    if selector == "best_possible":
        return number(by_pool.get(said["pool"])) + large
    one = study.row("selection", model, dataset, target=said["target"], selector=selector)
    return f"{number(one['gain'])}{large} ({one['cost']:,.0f})"


def swap(study: Study) -> Iterator[Sequence[str]]:
    """Question 5: whether another model finds the same candidates good."""
    yield "", "ρ of true qualities (95 %)", "gain of the best of a pool elsewhere"
    for model, dataset, said in study.pairs():
        others = study.table("agreement", model, dataset).filter(
            pl.col("with_model") != model, target=said["target"], with_target=said["target"]
        )
        for row in others.iter_rows(named=True):
            gain = interval(row["gain_elsewhere"], row["gain_low"], row["gain_high"])
            yield (
                f"{named(model, dataset)} → {NAMES[row['with_model']]}",
                interval(row["rho"], row["low"], row["high"]),
                gain,
            )


def sets(study: Study) -> Iterator[Sequence[str]]:
    """Question 6: score of a random set against the mean one-shot score of its members on other items."""
    yield "", "random sets", "ρ with the members' mean (95 %)"
    for model, dataset, _ in study.pairs():
        scores, members = scores_of_sets(study, model, dataset)
        found = stats.spearmanr(scores, members)
        spread = 1.06 / np.sqrt(len(scores) - 3)  # Fieller, Hartley and Pearson 1957
        low, high = np.tanh(np.arctanh(found.statistic) + np.array([-1, 1]) * stats.norm.ppf(0.975) * spread)
        yield named(model, dataset), str(len(scores)), interval(found.statistic, low, high)


def surface(study: Study) -> Iterator[Sequence[str]]:
    """Beyond the questions, after looking: the strongest activation given cheap features, and given the surface too."""
    yield (
        "",
        "largest partial ρ of an activation",
        "given the surface too",
        "variance by cheap features",
        "by the surface",
        "by both",
    )
    for model, dataset, said in study.pairs():
        rows = study.samples(dataset, "candidates").sort("id")
        features = study.table("features", model, dataset).sort("candidate")
        cheap = [features[name].rank() for name in ("length", "nll", "answer_nll")]
        if 1 < features["label"].n_unique() <= MOST_LABELS:
            cheap += features["label"].to_dummies(drop_first=True).get_columns()
        text = surface_of(rows)
        quality = study.table("quality", model, dataset).filter(target=said["target"]).sort("candidate")["value"].rank()
        signals = activation_ranks(study, model, dataset)
        bases = [np.column_stack([np.ones(len(rows)), *basis]) for basis in (cheap, text, [*cheap, *text])]
        largest = [largest_partial(signals, quality.to_numpy(), basis) for basis in (bases[0], bases[2])]
        shares = [1 - rest(quality.to_numpy(), basis).var() / quality.to_numpy().var() for basis in bases]
        yield named(model, dataset), *map(number, (*largest, *shares))


def surface_of(rows: pl.DataFrame) -> list[np.ndarray]:
    """What one sees of candidates without reading them: how the question ends, and lengths of question and answer."""
    places = rows.select("prefix", "question_start", "question_end").iter_rows()
    questions = [prefix[start:end].split("\n")[0].rstrip() for prefix, start, end in places]
    answers = [choices[gold] for choices, gold in rows.select("choices", "gold").iter_rows()]
    columns = [[text.endswith(end) for text in questions] for end in ("?", ".")]
    columns += [stats.rankdata([len(text) for text in texts]) for texts in (questions, answers)]
    columns += [stats.rankdata([len(text.split()) for text in answers])]
    return [np.array(column, dtype=float) for column in columns]


def activation_ranks(study: Study, model: str, dataset: str) -> np.ndarray:
    """Centred ranks of every defined activation signal that varies: [signals, candidates]."""
    found = []
    for path in sorted((study.results / f"metrics/{model}/{dataset}").glob("*.parquet")):
        table = pl.read_parquet(path)
        values = table["value"].to_numpy().reshape(-1, table["candidate"].n_unique())
        ranks = stats.rankdata(values[np.isfinite(values).all(axis=1)], axis=1)
        found.append(ranks - ranks.mean(axis=1, keepdims=True))
    return np.concatenate(found)


def largest_partial(signals: np.ndarray, quality: np.ndarray, basis: np.ndarray) -> float:
    """Largest |correlation| of a signal with quality, of what a basis [candidates, columns] leaves of both."""
    left, wanted = rest(signals.T, basis), rest(quality, basis)
    length = np.linalg.norm(left, axis=0)
    kept = length > 1e-6 * np.linalg.norm(signals, axis=1).max()
    return float(np.abs(wanted @ left[:, kept] / length[kept]).max() / np.linalg.norm(wanted))


def rest(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What a regression on the columns of `basis` leaves of values [candidates, …]."""
    return values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0]


def scores_of_sets(study: Study, model: str, dataset: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean gold log probability of every random set, and of its members alone on items it was not tried on: [sets]."""
    shots = study.table("shots", model, dataset).filter(pl.col("name").str.starts_with("random"), order=0)
    tried = shots["item"].unique().to_list()
    alone = study.table("evaluation", model, dataset).filter(~pl.col("item").is_in(tried))
    quality = dict(alone.group_by("candidate").agg(pl.col("gold_logprob").mean()).iter_rows())
    of_set = shots.group_by("set").agg(pl.col("gold_logprob").mean(), pl.col("members").first())
    members = [np.mean([quality[member] for member in row]) for row in of_set["members"].to_list()]
    return of_set["gold_logprob"].to_numpy(), np.array(members)


def curves(study: Study) -> dict[tuple[str, str, str], Curves]:
    """Learning curves by data set, model and representation; an encoder is no model's, and stands once."""
    found = {}
    for model, dataset, _ in sorted(study.pairs(), key=lambda pair: pair[1]):
        for (name,), frame in study.table("learning", model, dataset).group_by("representation", maintain_order=True):
            found.setdefault((dataset, "" if name == ENCODER else model, str(name)), Curves.of(frame))
    return found


def representations(study: Study) -> Iterator[Sequence[str]]:
    """Question 7: what random labels lead to on each representation, compared with the encoder's in the same splits."""
    yield "", "vectors", "all labels", "random labels", "less the encoder's (95 %)", "corrected p"
    found = curves(study)
    areas = {place: one.areas()[REFERENCE] for place, one in found.items()}
    means = {
        place: mean_of(area - areas[place[0], "", ENCODER], generator(0, "representations"))
        for place, area in areas.items()
        if place[1]
    }
    corrected = dict(zip(means, holm(np.array([mean.p for mean in means.values()])), strict=True))
    for place, one in found.items():
        mean = means.get(place)
        compared = ("", "") if mean is None else (more(mean.value, mean.low, mean.high), chance(corrected[place]))
        yield place[0], vectors(place), number(one.probe.mean(), ".3f"), number(areas[place].mean(), ".3f"), *compared


def labels(study: Study) -> Iterator[Sequence[str]]:
    """Question 7: strategies that differ from random labels on any representation, by p corrected within it."""
    yield "", "vectors", "start", "strategy", "difference in mean accuracy (95 %)", "corrected p", "balanced (95 %)"
    models = {model for model, _, _ in study.pairs()}
    for place in curves(study):
        table = study.table("learning_summary", place[1] or min(models), place[0])
        shown = table.filter(pl.col("p_maxt") <= LEVEL, representation=place[2]).sort("difference", descending=True)
        for row in shown.iter_rows(named=True):
            difference, alike = (
                more(*(row[f"{kind}{name}"] for name in ("difference", "low", "high"))) for kind in ("", "balanced_")
            )
            yield place[0], vectors(place), row["start"], row["strategy"], difference, chance(row["p_maxt"]), alike


def vectors(place: tuple[str, str, str]) -> str:
    """What stands for questions, by data set, model and representation."""
    _, model, name = place
    return f"{NAMES.get(model, model)}, {name.replace('_', ' ')}" if model else name


def more(value: float | None, low: float | None, high: float | None) -> str:
    """A difference in accuracy with its interval."""
    return f"{number(value, '+.3f')} ({number(low, '+.3f')} to {number(high, '+.3f')})"


def named(model: str, dataset: str) -> str:
    """A column or row of a table."""
    return f"{NAMES.get(model, model)}, {dataset}"


def as_table(rows: Iterable[Sequence[str]]) -> str:
    """Rows, of which the first names the columns, in Markdown."""
    first, *others = rows
    lines = [first, ["---"] * len(first), *others]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(results: Path) -> None:
    """Print all tables."""
    study = Study(results)
    for question in (signals, accuracies, probes, sparse, selectors, swap, sets, representations, labels, surface):
        sys.stdout.write(f"{question.__doc__}\n\n{as_table(question(study))}\n\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
