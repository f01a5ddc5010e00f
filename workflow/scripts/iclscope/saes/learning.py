"""A sparse autoencoder of the study: trained on texts, or taken as it is, and measured on texts it has not seen."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from iclscope.activations.reading import Demonstration
from iclscope.engine import models
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel, folder_of
from iclscope.runtime.logs import progress
from iclscope.saes import dictionary as dictionaries, guard
from iclscope.saes.dictionary import Dictionary, load
from iclscope.saes.explained import components_unexplained, rows_of, survey, unexplained
from iclscope.saes.reading import Place, Tokens, median_norm, read
from iclscope.saes.texts import divided, shown, texts_of
from iclscope.saes.training import batches, train
from iclscope.statistics.resampling import generator
from iclscope.tables import SAE_DICTIONARY, SAE_TRAINING, TWIN

logger = logging.getLogger(__name__)

BATCH = 1024  # tokens of a step of training
MEMORY = 2**30  # bytes of activations that are held at once
HOOKS = {"resid": "blocks.{}.hook_resid_post", "mlp_out": "blocks.{}.hook_mlp_out"}


@dataclass(frozen=True)
class Files:
    """What an SAE is made from: pool and items of every data set, and the record of a dictionary from elsewhere."""

    pools: Sequence[str | Path] | None = None
    item_rows: Sequence[str | Path] | None = None
    dictionary: str | Path | None = None


class Sight(NamedTuple):
    """What the model shows: activations to train on that memory holds, whether these are all, and held-out ones.

    median: of the norm; mean [d]: of the activations to train on.
    """

    train: Tokens
    whole: bool
    held_out: Tokens
    median: float
    mean: torch.Tensor


def run(
    *,
    files: Files,
    model: PreparedModel,
    settings: Mapping[str, Any],
    sae_out: Sequence[str | Path],
    features_out: str | Path,
    training_out: str | Path,
    job: Job,
) -> None:
    """Write an SAE (config and weights), what its features do, and its training with what held-out texts say of it.

    settings: its entry under `saes` in the config, and its `name`. A dictionary from elsewhere is not trained.
    """
    name, key = settings["name"], f"saes.{settings['name']}"
    loaded, tokenizer = models.load(*model)
    place = Place.of(settings)
    layer = place.index(loaded, key)
    texts = texts_of(settings, files.pools or [], files.item_rows or [], key)
    rng = generator(job.seed, f"texts of {name}")
    sides = divided(texts, tokenizer, models.context_length(loaded), settings["tokens"], rng)
    reader = partial(read, loaded, site=place.site, layer=layer)
    given = load(folder_of(files.dictionary), key).to(loaded.device) if files.dictionary else None
    if given:
        guard.check(loaded, sides[0], given, (place.site, layer), key)
    sight = look(reader, sides, key)
    rows: list[dict[str, Any]] = []
    if given:
        k = given.k or max(1, round(unexplained(given, sight.held_out.x, sight.mean)[1]))
        learned, twin = given, twin_of(given.width, k, sight.mean, name, job.seed).to(loaded.device)
    else:
        k = settings["k"]
        twin = twin_of(settings["width"], k, sight.mean, name, job.seed).to(loaded.device)
        learned, rows = _trained(twin, sight, sides[0], reader, settings, job.seed)
        guard.check(loaded, sides[0], learned, (place.site, layer), key, trained=True)
    about = {"model_name": model.name, "hook_name": HOOKS[place.site].format(layer), "site": place.site, "layer": layer}
    measured = {"k": k, "median_norm": sight.median, "mean": sight.mean.tolist()}
    learned.save(sae_out[0], sae_out[1], about | measured)
    both = {name: learned, name + TWIN: twin}
    tables = [_features(called, sight.train, sides[0], tokenizer, one) for called, one in both.items()]
    SAE_DICTIONARY.write(pl.concat(tables), features_out, job.provenance)
    curve = pl.DataFrame([*rows, judged(learned, twin, sight, rows)], schema=SAE_TRAINING.schema)
    SAE_TRAINING.write(curve, training_out, job.provenance)


def twin_of(width: int, k: int, mean: torch.Tensor, name: str, seed: int) -> Dictionary:
    """The untrained dictionary of the SAE `name`, with which training begins; each job that needs it makes the same."""
    return dictionaries.untrained(width, k, mean, generator(seed, f"dictionary {name}"))


def look(reader: Any, sides: tuple[list[Demonstration], list[Demonstration]], key: str) -> Sight:
    """Read the texts to train on, as many as memory holds, and those held out; refuse too few tokens."""
    parts: list[Tokens] = []
    size, seen = 0, set()
    for tokens in progress(reader(sides[0]), None, "activations for the SAE", "batch"):
        parts.append(tokens)
        size += tokens.x.numel() * 4
        seen.update(tokens.text.unique().tolist())
        if size >= MEMORY:
            break
    held_out = list(reader(sides[1]))
    if not parts or not held_out:
        raise StudyError(f"{key}.texts: too few texts to train on some and measure on others; name more")
    train = Tokens.joined(parts)
    median = median_norm(train)
    train, kept = train.usable(median), Tokens.joined(held_out).usable(median)
    if len(train.x) < 2 or not len(kept.x):
        raise StudyError(f"{key}.texts: no text has two tokens; name longer ones")
    logger.info("%d tokens to train on, %d held out, median norm %.3g", len(train.x), len(kept.x), median)
    return Sight(train, len(seen) == len(sides[0]), kept, median, train.x.mean(dim=0))


def _trained(
    start: Dictionary,
    sight: Sight,
    texts: Sequence[Demonstration],
    reader: Any,
    settings: Mapping[str, Any],
    seed: int,
) -> tuple[Dictionary, list[dict[str, Any]]]:
    """The dictionary after all epochs, and the rows of its training."""

    def again() -> Iterator[torch.Tensor]:
        return (tokens.usable(sight.median).x for tokens in reader(texts))

    own = sum(len(one.tokens.ids) for one in texts)
    tokens = len(sight.train.x) if sight.whole else own
    steps = settings["epochs"] * -(-tokens // BATCH)
    order = torch.Generator().manual_seed(int(generator(seed, f"order {settings['name']}").integers(2**31)))
    more = None if sight.whole else again
    stream = batches(sight.train.x, more, settings["epochs"], BATCH, order)
    return train(start, progress(stream, steps, "training of the SAE", "step"), steps)


def judged(learned: Dictionary, twin: Dictionary, sight: Sight, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The row of training after all others: what held-out activations say of a dictionary, and of simpler ones."""
    x, last = sight.held_out.x, rows[-1] if rows else {"step": 0, "tokens": 0}
    left, active = unexplained(learned, x, sight.mean)
    components = components_unexplained(sight.train.x, x, sight.mean, twin.k)
    untrained, _ = unexplained(twin, x, sight.mean)
    logger.info(
        "held-out texts: %.3f unexplained with %.1f active features; %d principal components %.3f, untrained %.3f",
        left, active, twin.k, components, untrained,
    )  # fmt: skip
    return {
        "step": last["step"] + 1,
        "tokens": last["tokens"],
        "unexplained": left,
        "active": active,
        "components": components,
        "untrained": untrained,
    }


def _features(
    name: str, tokens: Tokens, texts: Sequence[Demonstration], tokenizer: Any, dictionary: Dictionary
) -> pl.DataFrame:
    """Rows of the table of features."""
    found = survey(dictionary, tokens)
    known = {one.id: one for one in texts}
    contexts = {
        place: shown(known[int(tokens.text[place])], int(tokens.position[place]), tokenizer)
        for place in np.unique(found.strongest.numpy()).tolist()
        if place >= 0
    }
    return pl.DataFrame(rows_of(name, found, contexts), schema=SAE_DICTIONARY.schema)
