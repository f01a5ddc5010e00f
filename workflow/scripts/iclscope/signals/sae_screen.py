"""Which single features of an SAE go along with quality: corrected for how many were tried, and chosen again and again.

A candidate's code is the largest value of each feature over the tokens of a pooling. Features that are active in 10 to
90 % of the candidates are tried; that filter sees no quality.
"""

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.matrix import quality
from iclscope.matrix.quality import read_scores
from iclscope.runtime.jobs import Job
from iclscope.signals.correlation import confounders
from iclscope.signals.grid import read_features
from iclscope.signals.sae_codes import Reading
from iclscope.statistics.ranks import Float, Ranks, centred_ranks, correlations
from iclscope.statistics.resampling import generator
from iclscope.statistics.signals.shuffles import Shuffles, p_of_largest
from iclscope.statistics.signals.stability import stability_of
from iclscope.statistics.signals.studentised import ItemDraws, assess
from iclscope.tables import RELIABILITY, SAE_DICTIONARY, SAE_SCREEN

logger = logging.getLogger(__name__)

FEWEST, MOST = 0.1, 0.9  # share of the candidates in which a feature is active


@dataclass(frozen=True)
class Files(quality.Files):
    """What the screen reads: beside quality, its reliability and the cheap features, the codes of one SAE."""

    reliability: str | Path
    features: str | Path
    sae_features: str | Path
    dictionary: str | Path


@dataclass(frozen=True)
class Tried:
    """Features that are tried: `about` has a row for each, ranks are [features, candidates]."""

    about: pl.DataFrame
    ranks: Ranks

    @classmethod
    def of(cls, reading: Reading, poolings: list[str]) -> "Tried":
        """Of every pooling, those that neither too few nor too many candidates have."""
        frames, ranks = [], []
        for pooling in poolings:
            codes = reading.candidates.pooled(pooling).largest.toarray()
            prevalence = (codes > 0).mean(axis=0)
            chosen = np.flatnonzero((prevalence >= FEWEST) & (prevalence <= MOST))
            frames.append(
                pl.DataFrame({"feature": chosen, "prevalence": prevalence[chosen]}).select(
                    pl.lit(pooling).alias("pooling"), pl.col("feature").cast(pl.Int32), "prevalence"
                )
            )
            ranks.append(centred_ranks(codes[:, chosen].T))
        return cls(pl.concat(frames), np.concatenate(ranks))


def run(*, files: Files, settings: Mapping[str, Any], sae_screen_out: str | Path, job: Job) -> None:
    """Write the screen of an SAE in the primary target; settings: `name`, `poolings`, `permutations`, `bootstrap`."""
    target = RELIABILITY.read(files.reliability).row(by_predicate=pl.col("primary"), named=True)["target"]
    scores, groups = read_scores(files, [target])
    reading = Reading.of(files.sae_features, files.dictionary, settings["name"])
    tried = Tried.of(reading, settings["poolings"])
    matrix = scores[target].matrix
    rng = generator(job.seed, "correlation bootstrap")
    draws = ItemDraws.of(matrix, groups.items, settings["bootstrap"], rng, groups.candidates)
    logger.info("%s: %d features and poolings are tried", target, len(tried.ranks))
    frame = pl.DataFrame(schema=SAE_SCREEN.schema)
    if draws is not None and len(tried.ranks):
        seed = [job.seed, zlib.crc32(b"permutations")]
        shuffles = Shuffles(len(matrix), settings["permutations"], seed, groups.candidates)
        found = screen(tried, draws, shuffles, generator(job.seed, f"halves for {settings['name']}"))
        sets, _ = confounders(read_features(files.features, len(matrix)))
        partial = sets["partial_label"].partial(tried.ranks, draws.quality) if "partial_label" in sets else None
        contexts = SAE_DICTIONARY.read(files.dictionary).filter(sae=settings["name"]).sort("feature")["contexts"]
        frame = found.with_columns(
            target=pl.lit(target),
            partial_label=pl.Series(partial, dtype=pl.Float64).fill_nan(None) if partial is not None else pl.lit(None),
            context=contexts.list.get(0, null_on_oob=True).gather(found["feature"]),
        )
    table = frame.select(SAE_SCREEN.schema.names()).cast(SAE_SCREEN.schema)
    SAE_SCREEN.write(table, sae_screen_out, job.provenance)


def screen(tried: Tried, draws: ItemDraws, shuffles: Shuffles, rng: np.random.Generator) -> pl.DataFrame:
    """What is known of every feature that is tried, most stable and then strongest first."""
    found = assess(tried.ranks, draws, shuffles)

    def strength(ours: NDArray[np.bool_]) -> Float:
        return np.abs(correlations(tried.ranks, draws.quality[ours].astype(np.float64), ours))

    signals, candidates = tried.ranks.shape
    stable = stability_of(strength, signals, candidates, rng)
    frame = tried.about.with_columns(
        rho=pl.Series(found.rho),
        p_maxt=pl.Series(p_of_largest(found.statistic, [found.null.largest])),
        stability=pl.Series(stable.share),
        expected_false=pl.Series(stable.expected_false),
    )
    order = [pl.col("p_maxt"), -pl.col("stability"), -pl.col("rho").abs()]
    return frame.with_columns(pl.col("expected_false").fill_nan(None)).sort(order, maintain_order=True)
