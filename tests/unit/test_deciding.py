import numpy as np
import pytest
from scipy.stats import norm

from iclscope.verdict.deciding import needed
from iclscope.verdict.rules import BEATS, EQUIVALENT, selector_status


def row(gain, from_candidates, from_items):
    """As much of a row of the selection table as is looked at."""
    error = float(np.hypot(from_candidates, from_items))
    return {"gain": gain, "standard_error": error, "error_candidates": from_candidates}


def after(before, alpha, compared, items=1.0, pools=1.0):
    """The row that a study with so many times the items and pools of candidates would show."""
    from_candidates = before["error_candidates"] ** 2
    from_items = before["standard_error"] ** 2 - from_candidates
    grown = (alpha + (1 - alpha) / items) * from_candidates / pools
    found = row(before["gain"], np.sqrt(grown), np.sqrt(from_items / items))
    p = 2 * norm.sf(abs(found["gain"]) / found["standard_error"])
    return found | {"kind": "static", "selector": "x", "p_holm": min(1.0, compared * p)}


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("gain", [0.001, 0.03, 0.4])
def test_what_is_said_to_decide_decides_and_a_little_less_does_not(alpha, gain):
    before = row(gain, 0.2, 0.3)
    found = needed(before, 0.05, alpha, compared=10, candidates=1000, items=1000)
    growths = [{"items": found.both, "pools": found.both}]
    growths += [{"items": found.items / 1000}] if found.items else []
    for growth in growths:
        more = {name: 1.001 * times for name, times in growth.items()}
        less = {name: 0.99 * times for name, times in growth.items()}
        assert selector_status(after(before, alpha, 10, **more), 0.05) in (BEATS, EQUIVALENT)
        assert selector_status(after(before, alpha, 10, **less), 0.05) == "undecided"


def test_candidates_come_in_the_fewest_whole_pools_that_decide():
    before = row(0.3, 0.2, 0.02)
    found = needed(before, 0.05, 0.5, compared=10, candidates=48, items=48)
    pools = found.candidates // 48
    assert found.candidates == 48 * pools > 48
    assert selector_status(after(before, 0.5, 10, pools=pools), 0.05) == BEATS
    assert selector_status(after(before, 0.5, 10, pools=pools - 1), 0.05) == "undecided"


def test_items_alone_do_not_decide_what_hangs_on_the_candidates():
    found = needed(row(0.1, 1.0, 0.1), 0.05, 1.0, compared=5, candidates=48, items=48)
    assert found.items is None
    assert needed(row(0.1, 0.0, 1.0), 0.05, 1.0, compared=5, candidates=48, items=48).candidates is None


def test_nothing_is_needed_to_be_known_without_a_standard_error():
    unknown = {"gain": 0.0, "standard_error": None, "error_candidates": None}
    assert needed(unknown, 0.05, 0.5, 3, 48, 48) is None
