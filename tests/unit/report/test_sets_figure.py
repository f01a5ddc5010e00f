"""What the page of a data set shows of sets of demonstrations: every set that was tried, and why others were not."""

import polars as pl

import synthetic
from iclscope.report.chapters import shots as chapter
from iclscope.report.parts import Material
from iclscope.tables import SHOTS_SUMMARY
from read_pages import build

RANDOM = [
    {"name": "random", "k": 1, "number": n, "share": 0.25, "value": v} for n, v in enumerate([-2.0, -3.0, -1.0, -4.0])
]
EVEN = [{**row, "name": "random_balanced", "share": share} for row, share in zip(RANDOM, (0.5, 0.5, 0, 0), strict=True)]
SETS = [{"name": "random", "k": 4, "number": n, "share": 0.5, "value": v} for n, v in enumerate([-2.0, -1.0])]
BEST = {"name": "top", "k": 1, "number": 0, "value": -1.5, "gain": 1.0, "low": 0.25, "high": 1.75}
CHOSEN = [
    BEST | {"verdict": "beats random"},
    BEST | {"k": 4, "gain": 0.0, "low": None, "high": None, "verdict": "undecided"},
]
MISSING = [{"name": name, "k": 4, "number": 0, "reason": "its answers are free"} for name in ("balanced", "cover")]


def material(folder, rows):
    frame = pl.DataFrame([{"target": "gold_logprob", **row} for row in rows], schema=SHOTS_SUMMARY.schema)
    SHOTS_SUMMARY.write(frame, folder / "shots_summary.parquet", {})
    return Material(None, pl.DataFrame(), learning={"shots_summary": folder / "shots_summary.parquet"})


def test_every_set_is_a_point_with_the_expected_score_and_chosen_ones_have_the_interval_of_their_gain(tmp_path):
    picture = chapter.scores_of_sets(material(tmp_path, [*RANDOM, *EVEN, *SETS, *CHOSEN]))
    (ax,) = picture.figure.axes
    drawn = [line.get_ydata().tolist() for line in ax.get_lines() if len(line.get_ydata())]
    assert drawn == [[-2.0, -3.0, -1.0, -4.0], [-2.0, -3.0, -1.0, -4.0], [-1.5], [-2.0, -1.0], [-1.5]]
    strokes = [one for lines in ax.collections for one in lines.get_segments()]
    dashes = [one[0, 1] for one in strokes if one[0, 1] == one[1, 1] and one[1, 0] - one[0, 0] < 0.5]
    assert dashes == [-2.5, -2.5, -1.5]  # random, labels even, random sets of four
    assert [one[:, 1].tolist() for one in strokes if one[0, 0] == one[1, 0]] == [[-2.25, -0.75]]  # -2.5 + .25, + 1.75
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "4"]
    assert picture.tables == (tmp_path / "shots_summary.parquet",)
    assert picture.caption.text.endswith(
        "Of 2 choices, these are shown to beat random sets, corrected for their number: the best candidate alone."
    )


def test_where_none_beats_random_the_caption_says_so(tmp_path):
    picture = chapter.scores_of_sets(material(tmp_path, [*RANDOM, *SETS, *CHOSEN[1:]]))
    assert picture.caption.text.endswith("Of 1 choice, none is shown to beat random sets.")


def test_what_a_data_set_cannot_have_stands_on_its_page_with_the_reason(tmp_path):
    files = material(tmp_path, [*RANDOM, *SETS, *CHOSEN, *MISSING]).learning
    page, _ = build(tmp_path / "page", synthetic.frames(synthetic.SMALL), learning=files)
    said = "Not here: sets called “best of each label” and “best together”, as its answers are free."
    assert said in page.text
    assert any(image.get("alt", "").startswith("Scores of random and of chosen sets") for image in page.all("img"))
    names = [attributes.get("data-name") for attributes in page.all("button")]
    assert names.count("scores_of_sets") == 4  # as SVG and as PNG, for two models


def test_a_study_without_sets_has_neither_figure_nor_sentence():
    none = Material(None, pl.DataFrame())
    assert chapter.scores_of_sets(none) is chapter.not_tried(none) is None


def test_where_nothing_is_missing_nothing_is_said(tmp_path):
    assert chapter.not_tried(material(tmp_path, [*RANDOM, *SETS, *CHOSEN])) is None
