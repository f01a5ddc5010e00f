"""What a study will compute, counted before it runs: tokens by the engine's own functions, FLOPs from config.json.

Tokens are those that a model really reads. They equal the run's where a pack holds all prompts of a candidate; shorter
packs read again what prompts in two of them begin with, half a percent. Only how long generated answers will be, and
which candidates sets will hold, is an estimate. Not counted are the few prompts on which each block checks that packing
can be trusted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import factorial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from iclscope.activations.reading import Demonstration
from iclscope.activations.sites import Block, find_blocks
from iclscope.engine import models
from iclscope.engine.packing import whole_tree
from iclscope.engine.prompts import Prompt, PromptEncoder, zero_shot_prompts
from iclscope.matrix import blocks
from iclscope.signals.content_free import Probe
from iclscope.tasks.samples import labels_of
from iclscope.tasks.turns import prefix_of

STOP_TOKENS = 3  # a generated answer ends this many tokens after the last that counts, with its stop sequence

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Work:
    """Tokens that a model reads, predictions that its head makes of them, and pairs of a token and a key it sees."""

    tokens: int = 0
    predictions: int = 0
    pairs: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Work)))

    def __mul__(self, times: int) -> "Work":
        return Work(*(times * getattr(self, field.name) for field in fields(Work)))


NOTHING = Work()


@dataclass(frozen=True)
class Architecture:
    """A model, which need not have weights (PyTorch's meta device), and what follows from its shape.

    parameters: all of them. linear: weights of the blocks, which multiply every token. head: those of the
    language-model head, which multiply a prediction. attention: layers × heads × width of a head.
    """

    model: Any
    blocks: list[Block]
    parameters: int
    linear: int
    head: int
    attention: int

    def flops(self, work: Work) -> float:
        """Floating-point operations of some work: two per weight and token, four per width, token and key."""
        return 2.0 * (self.linear * work.tokens + self.head * work.predictions + 2 * self.attention * work.pairs)


def architecture(folder: str | Path) -> Architecture:
    """The architecture that the config.json in `folder` describes."""
    with torch.device("meta"):
        return shape_of(models.from_config(folder, models.load_config(folder)))


def shape_of(model: Any) -> Architecture:
    """A model's shape; its weights are not looked at."""
    text, found = model.config.get_text_config(), find_blocks(model)
    maps = [part for block in found for part in block.block.modules() if isinstance(part, nn.Linear | Conv1D)]
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Architecture(
        model,
        found,
        model.num_parameters(),
        sum(part.weight.numel() for part in maps),
        model.get_output_embeddings().weight.numel(),
        len(found) * text.num_attention_heads * width,
    )


def packed(prompts: Sequence[Prompt], before: Sequence[int] = (0,)) -> Work:
    """Work of scoring prompts that share a prefix, once for each number of tokens that come before theirs."""
    tree = whole_tree(prompts)
    work = Work(len(tree.tokens), len(tree.predicting), int((tree.positions + 1).sum()))
    return sum((work + Work(n, 0, n * (n + 1) // 2 + n * work.tokens) for n in before), NOTHING)


def scoring(encoder: PromptEncoder, prefixes: Sequence[str], items: Sequence[Row]) -> Work:
    """Work of scoring all items after each prefix.

    Tokens do not merge across the line break before a prefix's last line, so the items are encoded once behind every
    distinct last line, and of each prefix it only counts how many tokens come before.
    """
    members = defaultdict(list)
    for prefix in prefixes:
        members[prefix[prefix.rstrip().rfind("\n") + 1 :]].append(prefix)
    total = NOTHING
    for tail, group in members.items():
        prompts = encoder.encode(tail, items)
        whole = [encoder.encode(prefix, items[:1])[0] for prefix in group]
        total += packed(prompts, [len(prompt.context) - len(prompts[0].context) for prompt in whole])
    return total


def evaluation(
    encoder: PromptEncoder, candidates: Sequence[Row], items: Sequence[Row], block: Mapping[str, int]
) -> Work:
    """Work of the whole score matrix, zero-shot prompts included, in blocks of `block['items']` items."""
    prefixes = [row["prefix"] for row in candidates]
    total = NOTHING
    for start, end in blocks.cut(len(items), block["items"]):
        part = items[start:end]
        total += scoring(encoder, prefixes, part) + packed(zero_shot_prompts(encoder, part))
    return total


def shots(encoder: PromptEncoder, candidates: Sequence[Row], items: Sequence[Row], settings: Mapping[str, Any]) -> Work:
    """Work of trying sets of demonstrations, which are as long as sets of neighbours among the candidates.

    settings: the config's `shots`. Sets that turn out to be the same are read once; here none are.
    """
    tried = items[: settings.get("items", len(items))]
    labels = bool(labels_of(candidates))
    rules = len(settings["choose"]) - (not labels and "balanced" in settings["choose"])
    random, half = settings["random_sets"], len(tried) // 2
    total = NOTHING
    for k in settings["sizes"]:
        shipped = rules * min(settings["orders"], factorial(k))
        whole = random + (-(-random // 2) if labels else 0) + shipped
        prefixes = [
            prefix_of([candidates[(k * place + member) % len(candidates)] for member in range(k)])
            for place in range(max(whole, rules))
        ]
        total += scoring(encoder, prefixes[:whole], tried)
        for part in (tried[:half], tried[half:]):
            total += scoring(encoder, prefixes[:rules], part) if rules else NOTHING
    return total


def generation(encoder: PromptEncoder, candidates: Sequence[Row], items: Sequence[Row], limit: int) -> Work:
    """Work of generating the answers, each as long as the reference answer and a stop sequence; `limit` in tokens."""
    prompts = encoder.encode(candidates[0]["prefix"], items)
    lengths = [min(limit, len(prompt.continuations[0]) + STOP_TOKENS) for prompt in prompts]
    pairs = sum(n * len(prompt.context) + n * n // 2 for n, prompt in zip(lengths, prompts, strict=True))
    return Work(sum(lengths), sum(lengths), pairs) * (len(candidates) + 1)


def extraction(demonstrations: Iterable[Demonstration]) -> Work:
    """Work of reading the activations of all demonstrations under one mask."""
    lengths = [len(one.tokens.ids) for one in demonstrations]
    return Work(sum(lengths), 0, sum(n * n for n in lengths))


def features(
    encoder: PromptEncoder,
    demonstrations: Sequence[Demonstration],
    item_demonstrations: Sequence[Demonstration],
    candidates: Sequence[Row],
    probe: Probe | None = None,
) -> Work:
    """Work of the features: perplexity of the demonstrations, embeddings of the questions, zero-shot scores.

    And the scores behind a question without content, if there is a `probe`.
    """
    read = extraction(demonstrations)
    questions = [one.tokens.question[1] for one in item_demonstrations]
    embedded = Work(sum(questions), 0, sum(n * n for n in questions))
    asked = packed(probe.prompts(encoder, candidates)) if probe else NOTHING
    return read + Work(predictions=read.tokens) + embedded + packed(zero_shot_prompts(encoder, candidates)) + asked
