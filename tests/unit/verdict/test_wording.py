import math

import pytest

from iclscope.verdict import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.314, "0.31"), (-0.314, "−0.31"), (-0.001, "0.00"), (1, "1.00"), (None, "undefined"), (math.nan, "undefined")],
)
def test_correlation_has_two_decimals_and_a_minus_sign(value, text):
    assert wording.two_decimals(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.51234, "0.512"),
        (-2.8312, "−2.83"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (0.0004, "0.000"),
        (-0.0004, "0.000"),
        (0, "0.000"),
        (None, "undefined"),
    ],
)
def test_quantity_has_three_digits_and_at_most_three_decimals(value, text):
    assert wording.quantity(value) == text


def test_signed_quantity_shows_the_plus_but_a_rounded_zero_has_no_sign():
    assert wording.quantity(0.0512, signed=True) == "+0.051"
    assert wording.quantity(-0.0512, signed=True) == "−0.051"
    assert wording.quantity(0.0001, signed=True) == "0.000"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "p < 0.001"), (0.0321, "p = 0.032"), (0.0999, "p = 0.10"), (1.0, "p = 1.00")]
)
def test_p_phrase(p, text):
    assert wording.p_phrase(p) == text


def test_intervals_and_counts():
    assert wording.correlation_interval(-0.123, 0.456) == "−0.12 to 0.46"
    assert wording.interval(-0.5, 0.25, signed=True) == "−0.500 to +0.250"
    assert wording.interval(None, 0.25) == wording.UNDEFINED
    assert wording.plural(1, "signal") == "1 signal"
    assert wording.plural(14400, "signal") == "14,400 signals"
    assert wording.count(None) == wording.UNDEFINED


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_enumeration(words, text):
    assert wording.enumeration(words) == text


def test_unbroken_keeps_numbers_with_their_signs():
    assert wording.unbroken("ρ = 0.3, p < 0.1 in 95 % of") == "ρ\xa0=\xa00.3, p\xa0<\xa00.1 in 95\xa0% of"


def test_an_unknown_target_keeps_its_name():
    assert wording.target_name("gold_logprob") == "gold log probability"
    assert wording.target_name("brevity") == "brevity"


def test_chances_are_whole_per_cent_and_never_certain():
    chances = [0.0, 0.004, 0.5, 0.126, 0.999, 1.0]
    said = ["less than 1 %", "less than 1 %", "50 %", "13 %", "more than 99 %", "more than 99 %"]
    assert [wording.percent(chance) for chance in chances] == said
