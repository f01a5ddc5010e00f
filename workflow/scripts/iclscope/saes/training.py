"""Training of a top-k sparse autoencoder on batches of activations (Gao et al. 2024, Scaling and evaluating SAEs).

Mean squared error with k active features, unit decoder rows, and an auxiliary loss in which features that have been
silent for long rebuild what the others leave. Adam, with a warm-up and a linear decay of the learning rate. Activations
are scaled so that a neuron has variance about 1, and the scale is folded into the biases afterwards.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import embedding_bag

from iclscope.saes.dictionary import Dictionary

LEARNING_RATE = 3e-3
WARM_UP, DECAY = 0.05, 0.8  # shares of the steps: until the first it rises, from the second on it falls to zero
AUXILIARY = 1 / 32  # weight of the auxiliary loss
SILENT = 0.03  # share of the tokens of training; silent over as many, a feature counts as dead
REPORTED = 20  # rows of the training curve


def train(start: Dictionary, batches: Iterable[torch.Tensor], steps: int) -> tuple[Dictionary, list[dict[str, Any]]]:
    """Train from `start` on `steps` batches [n, d]; the trained dictionary, and rows of the training table."""
    student, rows = _Student(start, steps), []
    for step, batch in enumerate(batches, start=1):
        student.learn(batch)
        if step == steps or step % max(1, steps // REPORTED) == 0:
            rows.append(student.row())
    return student.dictionary(), rows


class _Student:
    """A dictionary while it is trained: parameters, optimiser, and when each feature was last active."""

    def __init__(self, start: Dictionary, steps: int) -> None:
        self.start, self.steps, self.step, self.tokens, self.total = start, steps, 0, 0, 0
        self.scale = 0.0  # of the activations, from the first batch
        self.encoder, self.decoder = start.encoder.clone(), start.decoder.clone()
        self.encoder_bias, self.decoder_bias = start.encoder_bias.clone(), torch.zeros_like(start.decoder_bias)
        self.parameters = [self.encoder, self.encoder_bias, self.decoder, self.decoder_bias]
        for tensor in self.parameters:
            tensor.requires_grad_()
        self.optimiser = torch.optim.Adam(self.parameters, lr=LEARNING_RATE)
        self.rate = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)
        self.silent = torch.zeros(start.width, device=start.decoder.device)  # tokens since it was active
        self.loss = self.unexplained = math.nan

    def _rate(self, step: int) -> float:
        share = step / self.steps
        return min(1.0, (share + 1 / self.steps) / WARM_UP, max(0.0, (1 - share) / (1 - DECAY)))

    def learn(self, batch: torch.Tensor) -> None:
        """One step on activations [n, d]."""
        x = batch.to(self.decoder.device).float() - self.start.decoder_bias
        self.scale = self.scale or float(x.square().mean().sqrt())
        x = x / self.scale
        h = (x - self.decoder_bias) @ self.encoder + self.encoder_bias
        values, places = h.topk(self.start.k, dim=-1)
        decoded = embedding_bag(places, self.decoder, per_sample_weights=values.relu(), mode="sum")  # of k rows a token
        rest = x - self.decoder_bias - decoded
        error = rest.square().sum()
        loss = error / x.numel() + AUXILIARY * self._auxiliary(h, rest.detach())
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.rate.step()
        with torch.no_grad():
            self.decoder /= self.decoder.norm(dim=-1, keepdim=True)
        self.silent += len(x)
        self.silent[places[values > 0]] = 0
        self.step, self.tokens = self.step + 1, self.tokens + len(x)
        self.loss = float(loss.detach())
        self.unexplained = float(error.detach() / (x - x.mean(dim=0)).square().sum().clamp_min(1e-12))

    @property
    def dead(self) -> torch.Tensor:
        """Which features have been silent for long."""
        return self.silent > SILENT * self.tokens_planned

    @property
    def tokens_planned(self) -> float:
        """Tokens of the whole training, as the batches so far let expect."""
        return self.tokens / max(1, self.step) * self.steps

    def _auxiliary(self, h: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        """Share of `rest` [n, d] that the dead features with the largest pre-activations `h` [n, width] leave."""
        dead = self.dead.nonzero()[:, 0]
        many = min(len(dead), h.shape[1] // 2, rest.shape[1] // 2)
        if not self.step or not many:
            return h.new_zeros(())
        h = h.index_select(1, dead)
        values, places = h.topk(many, dim=-1)
        codes = torch.zeros_like(h).scatter(-1, places, values.relu())
        left = rest - codes @ self.decoder.index_select(0, dead)
        return left.square().mean() / rest.square().mean().clamp_min(1e-12)

    def row(self) -> dict[str, Any]:
        """A row of the training table."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "loss": self.loss,
            "unexplained": self.unexplained,
            "dead": float(self.dead.float().mean()),
        }

    def dictionary(self) -> Dictionary:
        """What has been learned, for activations as they are."""
        encoder, bias, decoder, centre = (tensor.detach().clone() for tensor in self.parameters)
        centre = self.start.decoder_bias + self.scale * centre
        return replace(
            self.start, encoder=encoder, encoder_bias=self.scale * bias, decoder=decoder, decoder_bias=centre
        )


def batches(
    first: torch.Tensor,
    more: Callable[[], Iterator[torch.Tensor]] | None,
    epochs: int,
    size: int,
    generator: torch.Generator,
) -> Iterator[torch.Tensor]:
    """Batches of at most `size` activations [n, d] in random order, `epochs` times all of them.

    first: those that memory holds. more: None if these are all; else it begins to read all of them anew, and they come
    through a shuffle buffer as large as `first`, of which one half stays whenever the other leaves.
    """
    for _ in range(epochs):
        if more is None:
            yield from _cut(first, size, generator)
            continue
        held = first[:0]
        for part in more():
            held = torch.cat([held, part])
            if len(held) >= len(first):
                held = held[torch.randperm(len(held), generator=generator)]
                half = len(held) // 2
                yield from held[half:].split(size)
                held = held[:half]
        yield from _cut(held, size, generator)


def _cut(x: torch.Tensor, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    for rows in torch.randperm(len(x), generator=generator).split(size):
        yield x[rows]
