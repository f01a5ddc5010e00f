"""What a model answers after a demonstration and a question without content (Zhao et al. 2021; Ma et al. 2023).

The answers are the labels, where all rows have the same choices. Where choices differ or answers are generated they are
a few answers of other candidates. Neither an item nor its label is looked at.
"""

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclscope.engine.prompts import Prompt, PromptEncoder
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Task
from iclscope.tasks.samples import labels_of

logger = logging.getLogger(__name__)

ANSWERS = 16  # of other candidates, which stand in for labels

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Probe:
    """What is asked behind every candidate: `questions`, one for each filler, and the `answers` of each candidate.

    `labels`: whether the answers are the same choices for all.
    """

    questions: Sequence[str]
    answers: Sequence[Sequence[str]]
    labels: bool

    def prompts(self, encoder: PromptEncoder, candidates: Sequence[Row]) -> list[Prompt]:
        """The prompts of all candidates one after the other, each with all questions in their order."""
        return [
            prompt
            for row, answers in zip(candidates, self.answers, strict=True)
            for prompt in encoder.encode(
                row["prefix"],
                [
                    {"question": question, "target_delimiter": row["target_delimiter"], "choices": answers}
                    for question in self.questions
                ],
            )
        ]


def probe_of(candidates: Sequence[Row], task: Task, settings: Mapping[str, Any], seed: int) -> Probe | None:
    """What is asked of candidates, rows of the sample table; `settings` is the config's `features`.

    Where there are no labels, up to 16 other answers, none of which is the candidate's own. None without
    `content_free`, and where all candidates have one answer and no labels. Raises StudyError for a filler that the task
    cannot hold.
    """
    if "content_free" not in settings:
        return None
    from iclscope.tasks.fillers import content_free_questions  # the harness takes a second to import

    questions = content_free_questions(task, candidates, settings["content_free"], seed)
    own = [row["choices"][row["gold"]] for row in candidates]
    if labels := labels_of(candidates):
        if unseen := sorted(set(labels) - set(own)):
            logger.warning("%s: no candidate has the label %s; content_free passes over it", task.key, unseen)
        return Probe(questions, [labels] * len(candidates), labels=True)
    known = sorted(set(own))
    generator = np.random.default_rng([seed, zlib.crc32(b"content-free answers")])
    few = [known[place] for place in generator.permutation(len(known))[: ANSWERS + 1]]
    answers = [[answer for answer in few if answer != mine][:ANSWERS] for mine in own]
    return Probe(questions, answers, labels=False) if len(known) > 1 else None


def check_lengths(prompts: Sequence[Prompt], context: int) -> None:
    """Refuse fillers with which a prompt and its longest answer exceed the `context` of the model in tokens."""
    longest = max(len(prompt.context) + max(map(len, prompt.continuations)) for prompt in prompts)
    if longest > context:
        raise StudyError(
            f"features.content_free: with its longest filler a prompt takes {longest} tokens, and the model's context "
            f"is {context}; shorten the filler"
        )


def columns_of(
    candidates: Sequence[Row], probe: Probe, logprobs: Sequence[NDArray[np.floating[Any]]], tokens: Sequence[int]
) -> dict[str, Any]:
    """Those content-free columns of the features table that have values.

    logprobs: of the answers to each prompt of `probe.prompts`, in nats. tokens: of each candidate's questions.
    """
    places = np.array_split(np.arange(len(logprobs)), len(candidates))
    grids = [np.array([logprobs[place] for place in mine], dtype=np.float64) for mine in places]  # [fillers, answers]
    if not probe.labels:
        return {"content_free": [grid.mean() for grid in grids], "content_free_tokens": tokens}
    grid = np.stack(grids)  # [candidates, fillers, labels]
    total = np.logaddexp.reduce(grid, axis=2, keepdims=True)
    share = np.logaddexp.reduce(grid - total, axis=1) - np.log(grid.shape[1])  # in nats [candidates, labels]
    golds = np.bincount([row["gold"] for row in candidates], minlength=grid.shape[2])
    return {
        "content_free": share @ (golds / golds.sum()),
        "content_free_entropy": -(np.exp(share) * share).sum(axis=1),
        "content_free_mass": np.exp(total).mean(axis=(1, 2)),
        "content_free_shares": np.exp(share).tolist(),
        "content_free_tokens": tokens,
    }
