"""How many tokens go through a model at once: found on a job's first work, halved when memory runs out.

Scores depend on it by float rounding alone, so that the trials are real work whose results are kept.
"""

import gc
import logging
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from iclscope.runtime.errors import MEMORY_WORDS, StudyError

logger = logging.getLogger(__name__)

T = TypeVar("T")

LADDER = (1536, 3072, 12288)  # tokens: from what fills two CPU cores to what fills the largest GPU
TRIALS = 2  # per length, of which the fastest counts
WORTH = 1.1  # a longer pack must be this much faster: less is noise, and the choice should be the same each time
SHORTEST = 64  # tokens: a model that lacks memory for these cannot be used


class PackLength:
    """Tokens per forward pass: as given, or for `auto` the shortest of LADDER whose successor is hardly any faster.

    `clock` returns seconds.
    """

    def __init__(self, given: int | str, clock: Callable[[], float] = time.perf_counter) -> None:
        self.settled = given != "auto"
        self.tokens = int(given) if self.settled else LADDER[0]
        self._clock = clock
        self._rates: dict[int, list[float]] = {}
        self._warm = False

    def run(self, work: Callable[[int], T], amount: Callable[[], int]) -> T:
        """The result of `work(tokens per forward pass)`, repeated with half the length whenever memory runs out.

        amount: counts the tokens that the work computes; called only while the length is sought. Raises StudyError
        where even SHORTEST tokens do not fit.
        """
        while True:
            started = self._clock()
            try:
                result = work(self.tokens)
            except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
                if not _lacks_memory(error):
                    raise
                message = str(error).split("\n")[0]
            else:
                if not self.settled:
                    self._learn(self._clock() - started, amount())
                return result
            self._halve(message)

    def _learn(self, seconds: float, amount: int) -> None:
        """Take a timed piece of work into account; the first one only warms up."""
        if not self._warm:
            self._warm = True
            return
        rates = self._rates.setdefault(self.tokens, [])
        rates.append(amount / max(seconds, 1e-9))
        if len(rates) >= TRIALS:
            self._climb(amount)

    def _climb(self, amount: int) -> None:
        place = LADDER.index(self.tokens)
        if place and max(self._rates[self.tokens]) < WORTH * max(self._rates[LADDER[place - 1]]):
            self._settle(LADDER[place - 1])
        elif place + 1 == len(LADDER) or amount < self.tokens:  # which a longer pack would not change
            self._settle(self.tokens)
        else:
            self.tokens = LADDER[place + 1]

    def _settle(self, tokens: int) -> None:
        self.tokens, self.settled = tokens, True
        measured = ", ".join(f"{length}: {max(rates):.0f}" for length, rates in self._rates.items())
        logger.info("%d tokens go through the model at once (tokens a second by length: %s)", tokens, measured or "-")

    def _halve(self, message: str) -> None:
        if self.tokens <= SHORTEST:
            raise StudyError(
                f"out of memory with {self.tokens} tokens at a time ({message}); free memory on the device, or take a "
                "smaller model or models.*.dtype: bfloat16"
            )
        self.tokens, self.settled = self.tokens // 2, True
        logger.warning("out of memory: %d tokens go through the model at once from here on (%s)", self.tokens, message)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _lacks_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in text for words in MEMORY_WORDS)
