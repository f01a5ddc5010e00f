"""What gains say of each selector: the rows of the tables selection and gains."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.statistics.corrections import holm
from iclscope.statistics.gains.best_possible import BestPossible
from iclscope.statistics.gains.decisions import exchange_interval
from iclscope.statistics.gains.pools import Errors, Gains, Ids, pick_p
from iclscope.statistics.intervals import TINY
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator
from iclscope.tables import BEST_POSSIBLE, GAINS, SELECTION

RANDOM = "random"


@dataclass(frozen=True)
class Compared:
    """Gains [selectors, sizes] of the selectors `names`; `offered` [selectors] are the candidates each chooses among.

    Infinite for one that draws anew for every item, and so makes no single pick in any pool. `labels` says of those
    that pick for every item how often the pick has the item's label, and what that alone gains.
    """

    names: Sequence[str]
    gains: Gains
    offered: Float
    labels: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def place(self, name: str) -> int:
        """The row of a selector."""
        return list(self.names).index(name)


@dataclass(frozen=True)
class Judge:
    """How gains become rows: for the selectors `named` by name → kind, in pools of `pool` candidates.

    `searches` are the numbers of items of the plain searches that are compared, in rising order. Clusters number those
    of candidates [C] and of items [N] from 0.
    """

    named: dict[str, str]
    pool: int
    searches: NDArray[np.int64]
    candidate_clusters: Ids
    item_clusters: Ids
    draws: int
    seed: int

    def selection(self, compared: Compared, best: BestPossible) -> pl.DataFrame:
        """The selection table of one target without its name, without levels and without costs."""
        one = compared.gains.at(self.pool)
        clusters = self.candidate_clusters, self.item_clusters
        errors, chance = one.errors(*clusters), one.errors_of_chance(*clusters)
        covariance = one.covariance(self.pool, *clusters)
        bounds, p = errors.interval(one.gain), chance.p(one.gain)
        named = [(name, compared.place(name)) for name in self.named if name in compared.names]
        most = None if best.gain is None else float(best.gain[compared.gains.sizes.index(self.pool)])
        rows = []
        for name, row in named:
            gain, known = float(one.gain[row, 0]), errors.total[row, 0] > TINY
            columns = {"selector": name, "kind": self.named[name], "pool": self.pool}
            if np.isnan(gain):
                rows.append(columns | {"reason": f"it chooses among {compared.offered[row]:.0f} candidates: too few"})
                continue
            columns |= {"gain": gain, "regret": None if most is None else most - gain}
            if known:
                columns |= {"low": float(bounds[0][row, 0]), "high": float(bounds[1][row, 0]), "p": float(p[row, 0])}
                columns |= _errors_of(errors, row)
            if name in compared.labels:
                columns |= dict(zip(("label_match", "label_gain"), compared.labels[name], strict=True))
            columns |= self._exchange(name, row, compared, one.gain[:, 0], covariance)
            rows.append(columns)
        return _with_holm(rows)

    def curve(self, compared: Compared, quality: Float, best: BestPossible) -> pl.DataFrame:
        """The table gains of one target, without its name: a row per selector and pool that it can choose from."""
        clusters = self.candidate_clusters, self.item_clusters
        errors, chance = compared.gains.errors(*clusters), compared.gains.errors_of_chance(*clusters)
        (low, high), p = errors.interval(compared.gains.gain), chance.p(compared.gains.gain)
        picks = pick_p(compared.gains.gain, chance, quality)
        rows = list(self._bounds(compared.gains.sizes, best))
        for name in [name for name in self.named if name in compared.names and name != RANDOM]:
            row = compared.place(name)
            for column, size in enumerate(compared.gains.sizes):
                gain = float(compared.gains.gain[row, column])
                if np.isnan(gain):
                    continue
                point = {"selector": name, "pool": size, "gain": gain}
                known = errors.total[row, column] > TINY
                if known and size < compared.offered[row]:
                    point |= {"low": low[row, column], "high": high[row, column], "p": p[row, column]}
                elif known and self.named[name] == "static":  # a single pick: its tails are those of the candidates
                    point |= {"p": picks[row, column]}
                rows.append(point)
        return pl.DataFrame(rows, schema={n: GAINS.schema[n] for n in GAINS.schema.names() if n != "target"})

    def _bounds(self, sizes: Sequence[int], best: BestPossible) -> Iterator[dict[str, Any]]:
        """The best that is possible in pools of each size but the last, which is all candidates."""
        if best.gain is not None:
            for size, gain, low, high in zip(sizes, best.gain, best.low, best.high, strict=False):  # type: ignore[arg-type]
                yield {"selector": BEST_POSSIBLE, "pool": size, "gain": gain, "low": low, "high": high}

    def _exchange(self, name: str, row: int, compared: Compared, gain: Float, covariance: Float) -> dict[str, Any]:
        """The exchange rate of a selector and its interval; None for more items than the largest search."""
        if name == RANDOM:
            return dict.fromkeys(("search_items", "search_low", "search_high"), 0.0)
        rows = [row, *(compared.place(f"search_{items}") for items in self.searches)]
        rng = generator(self.seed, f"exchange rate {name}")
        rates = exchange_interval(gain[rows], covariance[np.ix_(rows, rows)], self.searches, self.draws, rng)
        names = ("search_items", "search_low", "search_high")
        return {name: rate if np.isfinite(rate) else None for name, rate in zip(names, rates, strict=True)}


def _errors_of(errors: Errors, row: int) -> dict[str, float]:
    """Standard error of a gain, the part from candidates, and degrees of freedom."""
    names = ("standard_error", "error_candidates", "freedom")
    return {name: float(part[row, 0]) for name, part in zip(names, errors, strict=True)}


def _with_holm(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows of the selection table with p corrected for their number; random has none."""
    schema = {
        name: SELECTION.schema[name] for name in SELECTION.schema.names() if name not in ("target", "value", "cost")
    }
    frame = pl.DataFrame(rows, schema=schema)
    p = frame["p"].fill_null(np.nan).to_numpy()
    tested = np.isfinite(p)
    corrected = np.full(len(p), np.nan)
    corrected[tested] = holm(p[tested])
    return frame.with_columns(pl.Series("p_holm", corrected).fill_nan(None))
