"""Partial Spearman correlation: what remains of rho when candidates are compared at equal length, label and NLL.

Ranks of signal and quality are each regressed on the confounders, and the residuals are correlated. Signals are not
residualised one by one: with an orthonormal basis of the confounders, the residual's product with the quality's
residual and its length follow from one matrix product each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import BLOCK, Ranks

Float = NDArray[np.float64]

UNEXPLAINED = 1e-6  # a residual with less than this share of the variance is rounding: the confounder itself


@dataclass(frozen=True)
class Confounders:
    """An orthonormal basis [C, k] of centred confounders, the intercept left out."""

    basis: Float

    @classmethod
    def of(cls, columns: list[Float], candidates: int) -> "Confounders":
        """From columns [C] of any scale; what follows from the others, as the last label does, adds nothing."""
        matrix = np.stack(columns, axis=1) if columns else np.zeros((candidates, 0))
        matrix = matrix - matrix.mean(axis=0)
        matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=0), np.finfo(np.float64).tiny)
        left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
        return cls(basis=left[:, singular > 1e-9])

    def partial(self, ranks: Ranks, quality: Ranks) -> Float:
        """Partial rho of `quality` [C] with every signal [signals, C], centred ranks; NaN if nothing is left of one."""
        target = quality.astype(np.float64)
        rest = target - self.basis @ (self.basis.T @ target)
        if rest @ rest <= UNEXPLAINED * (target @ target):
            return np.full(len(ranks), np.nan)
        rho = np.empty(len(ranks))
        for first in range(0, len(ranks), BLOCK):
            rows = ranks[first : first + BLOCK].astype(np.float64)
            total = (rows**2).sum(axis=1)
            left = total - ((rows @ self.basis) ** 2).sum(axis=1)
            left = np.where(left > UNEXPLAINED * total, left, np.nan)
            rho[first : first + BLOCK] = (rows @ rest) / np.sqrt(left * (rest @ rest))
        return rho
