import numpy as np
import pytest

from iclscope.statistics.signals.generalisability import Noise
from iclscope.statistics.signals.latent import (
    EXPLAINED,
    OPEN,
    PREDICTS,
    SMALL,
    USELESS,
    Interval,
    latent_interval,
    of_family,
    statuses,
    too_small,
)
from iclscope.statistics.signals.studentised import Spread


def noise(alpha, error=0.0):
    return Noise(np.full(5, 1.0), 1 - alpha, error, 99)


def spread(*errors):
    return Spread(np.square(errors), np.zeros(len(errors)), 10_000, 100)


RHO = np.array([0.3, 0.02, -0.25])


def test_a_known_ceiling_divides_rho_and_its_limits():
    found = latent_interval(RHO, spread(0.1, 0.1, 0.1), noise(0.25))
    low, high = spread(0.1, 0.1, 0.1).interval(RHO)
    np.testing.assert_allclose(found.value, RHO / 0.5)
    np.testing.assert_allclose(found.low, low / 0.5)
    np.testing.assert_allclose(found.high, high / 0.5)


def test_doubt_about_the_ceiling_widens_away_from_zero():
    known, doubted = (latent_interval(RHO, spread(0.05, 0.05, 0.05), noise(0.25, error)) for error in (0.0, 0.1))
    assert doubted.high[0] > known.high[0] + 0.02
    assert doubted.low[0] < known.low[0]
    assert doubted.low[2] < known.low[2] - 0.02
    assert doubted.high[1] - known.high[1] < (doubted.high[0] - known.high[0]) / 2


def test_limits_of_a_certain_rho_are_those_of_the_ceiling():
    uncertain = noise(0.25, 0.1)
    alpha_low, alpha_high = uncertain.alpha_interval()
    found = latent_interval(np.array([0.3]), spread(1e-9), uncertain)
    assert found.high[0] == pytest.approx(0.3 / np.sqrt(alpha_low), rel=1e-4)
    assert found.low[0] == pytest.approx(0.3 / np.sqrt(alpha_high), rel=1e-4)


def test_limits_mirror_with_the_sign():
    there, back = (latent_interval(rho, spread(0.05, 0.1, 0.2), noise(0.4, 0.1)) for rho in (RHO, -RHO))
    np.testing.assert_allclose(there.low, -back.high)
    np.testing.assert_allclose(there.high, -back.low)


def test_a_ceiling_that_may_be_zero_leaves_limits_open():
    found = latent_interval(RHO, spread(0.1, 0.1, 0.1), noise(0.1, 0.3))
    assert found.high[0] == found.high[1] == np.inf
    assert found.low[1] == found.low[2] == -np.inf
    nothing = latent_interval(RHO, spread(0.1, 0.1, 0.1), noise(-0.1))
    assert np.isnan(nothing.value).all()
    assert (nothing.high == np.inf).all()


def said(p, beyond, low, high, ceiling=0.9):
    useful = Interval(np.zeros(1), np.array([low]), np.array([high]))
    return statuses(np.array([p]), np.array([beyond]), too_small(useful, ceiling, 0.2, 0.5))[0]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((0.01, 0.01, 0.1, 0.4), PREDICTS),
        ((0.01, 0.20, 0.1, 0.4), EXPLAINED),
        ((0.01, np.nan, 0.1, 0.4), EXPLAINED),
        ((0.01, 0.01, 0.05, 0.19), SMALL),
        ((0.20, 0.01, 0.1, 0.4), OPEN),
        ((0.20, 0.20, -0.1, 0.19), USELESS),
        ((0.20, 0.20, -0.1, 0.21), OPEN),
        ((0.20, 0.20, -0.1, 0.1, 0.4), OPEN),
        ((0.20, 0.20, -0.1, 0.1, 0.0), OPEN),
        ((0.01, 0.01, 0.05, 0.19, 0.4), PREDICTS),
    ],
)
def test_status_follows_the_rules(arguments, status):
    assert said(*arguments) == status


def test_a_family_says_its_strongest_claim_and_nothing_useful_only_of_all():
    assert of_family(np.array([USELESS, PREDICTS, EXPLAINED])) == PREDICTS
    assert of_family(np.array([USELESS, OPEN, EXPLAINED])) == EXPLAINED
    assert of_family(np.array([USELESS, SMALL])) == SMALL
    assert of_family(np.array([USELESS, USELESS])) == USELESS
    assert of_family(np.array([USELESS, OPEN])) == OPEN
    assert of_family(np.array([SMALL, OPEN])) == OPEN
    assert of_family(np.array([], dtype=str)) == OPEN
