"""Which selector to ship: what is believed of every gain once chance is taken off, and what choosing one may cost."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

SPREADS = 60  # values of the prior's standard deviation that are weighed
ROUNDING = 1e-12  # share of the largest variance below which a variance is float rounding
CLOSE = 1e-6  # share of a drawn gain that is float rounding


@dataclass(frozen=True)
class Decision:
    """Beliefs about the gains of selectors, arrays [selectors]; `ship` is the row to choose, None for random choice.

    `mean`, `low` and `high` describe the gain, `positive` is its chance to be above 0; `net` is the mean gain minus
    the price of the cost, `best` the chance to have the largest net gain of all selectors and of random choice, and
    `regret` how much less than the best one it nets on average. `random_best` and `random_regret` say the same of
    random choice.
    """

    mean: Float
    low: Float
    high: Float
    positive: Float
    net: Float
    best: Float
    regret: Float
    random_best: float
    random_regret: float
    ship: int | None


def posterior(gains: Float, covariance: Float, draws: int, rng: np.random.Generator) -> Float:
    """Draws [draws, selectors] of true gains, shrunk towards 0 over selectors.

    `gains` [selectors] err with `covariance` [selectors, selectors]. The prior is normal around random choice, 0: a
    part that all selectors share and as large a part of each. Its standard deviation is weighed over a grid by how
    well it predicts all gains together, so that a few selectors do not pretend to know it (uniform prior of it:
    Gelman 2006, Bayesian Analysis 1).
    """
    count = len(gains)
    # In units of the prior's square root, the prior is round: posterior draws are independent along the axes of errors.
    alike = (np.sqrt(1 + count) - 1) / count
    root, inverse = np.eye(count) + alike, np.eye(count) - alike / np.sqrt(1 + count)
    variance, axes = np.linalg.eigh(inverse @ covariance @ inverse)
    variance = np.maximum(variance, variance.max() * ROUNDING)
    along = axes.T @ inverse @ gains
    largest = 2 * max(np.abs(along).max(), np.sqrt(variance.max()))
    spread2 = (np.arange(1, SPREADS + 1) / SPREADS * largest)[:, None] ** 2
    fit = -0.5 * (np.log(variance + spread2) + along**2 / (variance + spread2)).sum(axis=1)
    chance = np.exp(fit - fit.max())
    kept = spread2[rng.choice(SPREADS, size=draws, p=chance / chance.sum())]
    share = kept / (kept + variance)
    rounds = share * along + np.sqrt(share * variance) * rng.standard_normal((draws, count))
    return rounds @ axes.T @ root


def decide(draws: Float, cost: Float, price: float, margin: float = 0.0, level: float = 0.95) -> Decision:
    """What to ship, from posterior `draws` [draws, selectors] of the gains.

    `cost` [selectors] is in the unit of the `price`, which says how much gain one unit is worth. The largest mean net
    gain is chosen, which is the least regret on average, or the cheapest that comes within a `margin` of no use of it;
    random choice gains and costs nothing.
    """
    net = draws - price * cost
    everyone = np.column_stack([net, np.zeros(len(net))])
    largest = everyone.max(axis=1, keepdims=True)
    best = np.bincount(everyone.argmax(axis=1), minlength=everyone.shape[1]) / len(net)
    regret = (largest - everyone).mean(axis=0)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    expected, costs = everyone.mean(axis=0), np.append(cost, 0.0)
    enough = np.flatnonzero(expected >= expected.max() - margin)
    chosen = int(enough[np.lexsort([-expected[enough], costs[enough]])[0]])
    return Decision(
        mean=draws.mean(axis=0),
        low=low,
        high=high,
        positive=(draws > 0).mean(axis=0),
        net=net.mean(axis=0),
        best=best[:-1],
        regret=regret[:-1],
        random_best=float(best[-1]),
        random_regret=float(regret[-1]),
        ship=chosen if chosen < draws.shape[1] else None,
    )


def exchange_rate(gain: Float, curve: Float, sizes: NDArray[np.int64]) -> Float:
    """Items that a plain search needs for a `gain` [draws], given its own gains, the `curve` [draws, K].

    The search was tried with `sizes` [K] items, in rising order; between them lies a straight line. 0 for no gain at
    all; infinite where even the largest search gains less. More items never hurt a search, so that a dip of the
    curve is noise and is filled.
    """
    rising = np.maximum.accumulate(np.maximum(curve, 0), axis=1)
    rising, items = np.column_stack([np.zeros(len(curve)), rising]), np.append(0.0, sizes)
    after = (rising < (gain - CLOSE * np.abs(gain))[:, None]).sum(axis=1)  # first point that gains as much
    known = np.clip(after, 1, len(sizes))
    row = np.arange(len(gain))
    step = rising[row, known] - rising[row, known - 1]
    part = (gain - rising[row, known - 1]) / np.where(step > 0, step, 1)
    found = items[known - 1] + np.clip(part, 0, 1) * (items[known] - items[known - 1])
    return np.where(gain <= 0, 0.0, np.where(after > len(sizes), np.inf, found))


def exchange_interval(
    gains: Float, covariance: Float, sizes: NDArray[np.int64], draws: int, rng: np.random.Generator, level: float = 0.95
) -> tuple[float, float, float]:
    """Exchange rate with its interval: items, low, high; infinite for more than the largest search.

    `gains` [1 + K] is the selector's gain, then the gains of the search; they err together with `covariance`.
    """
    drawn = rng.multivariate_normal(gains, covariance, size=draws, method="eigh")
    rate = exchange_rate(gains[:1], gains[None, 1:], sizes)
    bounds = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.quantile(exchange_rate(drawn[:, 0], drawn[:, 1:], sizes), bounds, method="inverted_cdf")
    return float(rate[0]), float(low), float(high)
