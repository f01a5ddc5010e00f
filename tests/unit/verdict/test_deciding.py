import numpy as np
import pytest
from scipy.stats import norm

from iclscope.verdict.deciding import needed
from iclscope.verdict.selectors import BEATS, EQUIVALENT, selector_status

STUDIES = 4000
COMPARED = 10


def row(gain, from_candidates, from_items):
    """As much of a row of the selection table as is looked at."""
    error = float(np.hypot(from_candidates, from_items))
    return {"gain": gain, "standard_error": error, "error_candidates": from_candidates, "freedom": 1e6}


def decided(before, items=1.0, candidates=1.0, seed=0):
    """Share of studies with so many times the items and candidates that decide, if the gain was found as it is."""
    from_candidates = before["error_candidates"] ** 2
    from_items = before["standard_error"] ** 2 - from_candidates
    grown = row(before["gain"], np.sqrt(from_candidates / candidates), np.sqrt(from_items / items))
    said = 0
    for gain in before["gain"] + grown["standard_error"] * np.random.default_rng(seed).standard_normal(STUDIES):
        p = 2 * norm.sf(abs(gain) / grown["standard_error"])
        found = grown | {"gain": gain, "selector": "x", "p_study": min(1.0, COMPARED * p)}
        said += selector_status(found, 0.05) in (BEATS, EQUIVALENT)
    return said / STUDIES


@pytest.mark.parametrize("gain", [0.001, 0.03, 0.4])
def test_what_is_said_to_decide_decides_in_four_of_five_studies(gain):
    before = row(gain, 0.2, 0.3)
    found = needed(before, 0.05, COMPARED, candidates=1000, items=1000)
    growths = [{"items": found.both, "candidates": found.both}]
    growths += [{name: size / 1000} for name, size in vars(found).items() if name != "both" and size]
    for growth in growths:
        assert decided(before, **growth) >= 0.78
        if gain != 0.03:  # which may be told from random and lie within the margin: fewer would do
            assert decided(before, **growth) <= 0.92
            assert decided(before, **{name: 0.7 * times for name, times in growth.items()}) < 0.8


def test_candidates_alone_decide_where_items_are_sure():
    before = row(0.3, 0.2, 0.02)
    found = needed(before, 0.05, COMPARED, candidates=48, items=48)
    assert decided(before, candidates=found.candidates / 48) == pytest.approx(0.8, abs=0.03)


def test_items_alone_do_not_decide_what_hangs_on_the_candidates():
    found = needed(row(0.1, 1.0, 0.1), 0.05, compared=5, candidates=48, items=48)
    assert found.items is None
    assert needed(row(0.1, 0.0, 1.0), 0.05, compared=5, candidates=48, items=48).candidates is None


def test_nothing_is_needed_to_be_known_without_a_standard_error():
    unknown = {"gain": 0.0, "standard_error": None, "error_candidates": None}
    assert needed(unknown, 0.05, 3, 48, 48) is None
