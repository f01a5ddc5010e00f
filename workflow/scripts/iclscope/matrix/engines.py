"""What computes a block: the embedded engine, or a server that was found to have the study's model."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from iclscope.engine import models
from iclscope.engine.attention.choice import ROUNDED
from iclscope.engine.prompts import Prompt
from iclscope.engine.reference import LAYOUTS, generation_method, score_alone, score_plain, scoring_method
from iclscope.engine.scoring import score, score_groups
from iclscope.engine.serving import KEY, Server, started
from iclscope.runtime import devices
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import PreparedModel

logger = logging.getLogger(__name__)

AGREES = 0.02  # nats, within which a server must meet the embedded engine in float32
TRIED_TOKENS = 8  # of a generated answer, whose text tells the server's tokenizer
AT_ONCE = 2048  # tokens of a padded batch of the local computation
UNPACKED = 1  # tokens per forward pass, which are the server's own concern

Work = Callable[..., Any]


class Embedded:
    """The engine of this package, which runs the model in this process."""

    def __init__(self, model: PreparedModel, batch_tokens: int | str) -> None:
        self._model, self.tokenizer = models.load(*model)
        self.context_length = models.context_length(self._model)
        self.batch_tokens = batch_tokens
        self.origin: dict[str, Any] = {}  # for provenance, which has versions and settings anyway

    def scoring(self, tried: Sequence[Prompt], batch_tokens: int) -> Work:
        """Takes groups of prompts and tokens per pass, as `scoring.score_groups`; `tried` as in `scoring_method`."""
        method = scoring_method(self._model, tried, batch_tokens)
        if method is score:
            return partial(score_groups, self._model)
        return lambda groups, length: [method(self._model, group, length) for group in groups]

    def answering(self, tried: Sequence[Prompt], batch_tokens: int, new_tokens: int) -> Work:
        """Takes groups of prompts and so on, as `generation.generate`."""
        method = generation_method(self._model, self.tokenizer, tried, batch_tokens, new_tokens)
        return partial(method, self._model, self.tokenizer)


class Served:
    """A server. It is refused unless it gives some prompts the scores that the model has here, on the CPU."""

    batch_tokens = UNPACKED

    def __init__(self, model: PreparedModel, url: str, key: str) -> None:
        self._local = model._replace(device="cpu")
        self.tokenizer = models.load_tokenizer(model.folder)
        self.context_length = models.load_context_length(model.folder)
        self._server = Server(url, model.name, key)
        self.origin = {"engine": self._server.engine}

    def scoring(self, tried: Sequence[Prompt], _: int) -> Work:
        """As that of `Embedded`."""
        self._check_scores(tried)
        return lambda groups, _: [self._server.score(group) for group in groups]

    def answering(self, tried: Sequence[Prompt], _: int, new_tokens: int) -> Work:
        """Likewise."""
        self._check_scores(tried)
        self._check_text(tried, min(new_tokens, TRIED_TOKENS))
        return partial(self._server.generate, self.tokenizer)

    def _check_scores(self, tried: Sequence[Prompt]) -> None:
        """Refuse a server whose log probabilities of the shortest and the longest prompt are another model's."""
        few = [min(tried, key=_length), max(tried, key=_length)]
        model, _ = models.load(*self._local)
        wanted, tolerance = np.concatenate(score_alone(model, few, AT_ONCE)), AGREES
        if model.dtype != torch.float32:
            layouts = np.abs(np.concatenate(score_plain(model, few, AT_ONCE)) - wanted).max()
            tolerance = float(np.clip(LAYOUTS * layouts, *ROUNDED))
        found = np.concatenate(self._server.score(few))
        difference = float(np.nan_to_num(np.abs(found - wanted), nan=np.inf).max())
        if difference > tolerance:
            name, dtype = self._local.name, self._local.dtype
            raise StudyError(
                f"{self._server.place} gives log probabilities that differ by up to {difference:.3g} nats from those "
                f"of models.{name}, where rounding explains {tolerance:.3g}; serve that very model and revision, "
                f"unquantised and in {dtype}, or take evaluation.engine out"
            )
        logger.info("%s agrees with the model within %.2g nats", self._server.url, difference)

    def _check_text(self, tried: Sequence[Prompt], limit: int) -> None:
        """Refuse a server whose text for generated tokens is another than the study's: it ends answers by it."""
        for prompt in (min(tried, key=_length), max(tried, key=_length)):
            tokens, theirs = self._server.begin_answer(prompt.context, limit)
            ours = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
            if _visible(theirs) != _visible(ours):
                raise StudyError(
                    f"{self._server.place} takes tokens for {theirs!r} that are {ours!r} to models."
                    f"{self._local.name}; serve the model with the tokenizer of its own folder"
                )


@contextmanager
def engine_of(model: PreparedModel, settings: Mapping[str, Any]) -> Iterator[Embedded | Served]:
    """The engine that the section `evaluation` of a configuration names for a model; what it starts ends with it."""
    asked = settings.get("engine")
    if asked is None:
        yield Embedded(model, settings["batch_tokens"])
    elif asked["name"] == "vllm":
        device = devices.take(devices.pick(model.device))
        with started(asked["python"], model.folder, model.dtype, device) as url:
            yield Served(model, url, f"{KEY}.python")
    else:
        url = asked["url"]
        yield Served(model, url if isinstance(url, str) else url[model.name], f"{KEY}.url")


def _length(prompt: Prompt) -> int:
    return len(prompt.context)


def _visible(text: str) -> str:
    """Text without what engines treat each in their way: white space, and a character that is not whole yet."""
    return "".join(text.split()).rstrip("\N{REPLACEMENT CHARACTER}")
