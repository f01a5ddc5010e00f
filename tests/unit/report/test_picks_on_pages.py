"""Demonstrations to use on the pages: found first, copied whole, never trusted, and with their numbers in words."""

import json

import pytest

import synthetic
import synthetic_pages
from read_pages import Page
from synthetic_pages import pick
from test_report import HOSTILE

TEXT = f"\n\nIs the sky blue?\r\nAnswer: yes\n\n{HOSTILE}</pre>\u2028\n\n"
RANDOM = pick(
    "random_balanced", 4, "large", "Any.\n\n", verdict="random will do", over_balanced=None, deviation_order=None
)
BEST = pick("top", 4, "large", "x", verdict="undecided", gain=0.01, low=-0.125, high=0.145, value=-1.25)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    lines = {
        "small": [pick("balanced", 4, "small", TEXT), pick("top", 1, "small", "y", deviation_order=None)],
        "large": [RANDOM, BEST],
    }
    folder = tmp_path_factory.mktemp("report")
    files = synthetic_pages.build(folder, synthetic.frames(synthetic.SMALL), synthetic.SMALL, picks=lines)
    return {name: Page(files[name]) for name in ("page", "index")}


@pytest.fixture(params=["page", "index"])
def page(request, pages):
    return pages[request.param]


def test_what_to_use_stands_before_the_researchers_question(page):
    said = [page.text.index(words) for words in ("Use these demonstrations", "Random will do", "Does a signal")]
    assert said[2] > max(said[:2])


def test_gain_cost_and_certainty_are_said_with_their_numbers(page):
    for words in (
        "Expected gain +0.250 nats over 4 random ones (95 % interval +0.125 to +0.375), in balanced gold log "
        "probability.",
        "−5 percentage points (95 % interval −20 to +10) over 4 random ones.",
        "−1.50 nats in balanced gold log probability, −3.50 without any demonstration.",
        "1,200 tokens more in every prompt.",
        "corrected for the 2 choices compared, and for all data sets and models; on 40 items in all. The interval is "
        "for other items and other random ones. It is that of what half of the items choose; all of them chose these. "
        "Another order of them moves the score by ±0.062.",
        "Nothing is shown to beat 4 random demonstrations by enough to be of use.",
        "What scores best (the 4 best candidates) gains +0.010 nats over 4 random ones (95 % interval −0.125 to "
        "+0.145), which chance may give to the one choice compared. Take any, labels as even as can be, such as these.",
    ):
        assert words in page.text, words


def test_text_is_shown_and_copied_as_it_is_and_never_run(page):
    assert "<script>alert(1)</script>" in page.text
    assert not [attributes for attributes in page.all("img") if attributes.get("src") == "x"]
    copied = [json.loads(a["data-copy"]) for a in page.all("button") if "data-copy" in a]
    assert copied[0] == TEXT
    assert json.loads(copied[1])[0] == {"role": "user", "content": TEXT}
    assert len(copied) == 4


def test_files_lie_beside_the_page(page):
    addresses = {a["href"] for a in page.all("a") if "picks" in a.get("href", "")}
    wanted = {f"../picks/{model}/data.{kind}" for model in ("small", "large") for kind in ("jsonl", "yaml")}
    assert addresses == wanted


def test_all_that_were_compared_stand_in_a_table(pages):
    text = pages["page"].text
    assert "Sets of demonstrations in balanced gold log probability, on 40 items; the first is recommended" in text
    assert "best of each label 4 −1.50 +0.250 +0.125 to +0.375 +0.250 −0.054 0.062 0.500 1,240 beats random" in text
    assert "random, labels even 4 −1.50 +0.250 +0.125 to +0.375 −0.054 0.500 1,240 random will do" in text
