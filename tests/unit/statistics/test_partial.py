import numpy as np
import polars as pl
import pytest
from scipy.stats import pearsonr, rankdata

from iclscope.signals.correlation import confounders
from iclscope.statistics.partial import Confounders
from iclscope.statistics.ranks import centred_ranks

N = 50


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "length": rng.integers(10, 40, N),
            "label": rng.integers(0, 3, N),
            "nll": rng.standard_normal(N),
            "answer_nll": rng.standard_normal(N),
        }
    )


def residual(values, columns):
    """What is left of `values` after a least-squares fit with an intercept."""
    design = np.column_stack([np.ones(len(values)), *columns])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def test_partial_rho_is_the_correlation_of_rank_residuals(features):
    rng = np.random.default_rng(1)
    length = features["length"].to_numpy()
    values = rng.standard_normal((3, N)) + 0.1 * length
    quality = rng.standard_normal(N) - 0.05 * length
    columns = {
        "partial_length": [rankdata(length)],
        "partial_label": [rankdata(length), *(features["label"].to_numpy() == k for k in range(3))],
        "partial_nll": [
            rankdata(length),
            *(features["label"].to_numpy() == k for k in range(3)),
            rankdata(features["nll"]),
        ],
    }
    sets, _ = confounders(features)
    assert sets.keys() == columns.keys()
    for name, confounder in sets.items():
        found = confounder.partial(centred_ranks(values), centred_ranks(quality))
        target = residual(rankdata(quality), columns[name])
        expected = [pearsonr(residual(rankdata(v), columns[name]), target).statistic for v in values]
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_partial_rho_of_one_confounder_by_the_textbook_formula():
    rng = np.random.default_rng(2)
    x, y, z = centred_ranks(rng.standard_normal((3, N)) + rng.standard_normal(N))
    r = np.corrcoef([x, y, z])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    found = Confounders.of([z.astype(float)], N).partial(x[None], y)
    assert found[0] == pytest.approx(expected)


def test_relation_that_length_alone_explains_vanishes(features):
    rng = np.random.default_rng(3)
    length = features["length"].to_numpy()
    ranks = centred_ranks(length + rng.standard_normal((200, N)))
    quality = centred_ranks(length + rng.standard_normal(N))
    rho = confounders(features)[0]["partial_length"].partial(ranks, quality)
    raw = np.corrcoef(np.vstack([ranks, quality]))[-1, :-1]
    assert raw.min() > 0.9
    assert abs(rho.mean()) < 0.15


def test_labels_add_their_number_less_one(features):
    sets, nuisances = confounders(features)
    sizes = {name: c.basis.shape[1] for name, c in sets.items()}
    assert sizes == {"partial_length": 1, "partial_label": 3, "partial_nll": 4}
    assert nuisances.basis.shape[1] == 5


def test_generated_answers_have_no_label(features):
    sets, nuisances = confounders(features.with_columns(label=pl.lit(None, pl.Int32)))
    assert {name: c.basis.shape[1] for name, c in sets.items()} == {"partial_length": 1, "partial_nll": 2}
    assert nuisances.basis.shape[1] == 3


def test_confounder_itself_has_no_partial_rho(features):
    ranks = centred_ranks(features["length"].to_numpy())
    quality = centred_ranks(np.random.default_rng(4).standard_normal(N))
    assert np.isnan(confounders(features)[0]["partial_length"].partial(ranks[None], quality)).all()
    assert np.isnan(confounders(features)[0]["partial_length"].partial(quality[None], ranks)).all()


def test_partial_rho_without_confounders_is_rho():
    x, y = np.random.default_rng(5).standard_normal((2, N))
    rho = Confounders.of([], N).partial(centred_ranks(x)[None], centred_ranks(y))
    assert rho[0] == pytest.approx(pearsonr(rankdata(x), rankdata(y)).statistic)
