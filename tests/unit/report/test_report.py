import itertools
import re

import polars as pl
import pytest

import iclscope
import synthetic
from iclscope.report import figures
from iclscope.report.chapters import demonstrations
from iclscope.report.pages import flattened
from iclscope.report.parts import Material
from read_pages import build

HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(2)> {{ 7 * 7 }}"


@pytest.fixture(scope="module")
def tables():
    return synthetic.frames(synthetic.SMALL)


@pytest.fixture(scope="module")
def hostile(tables):
    best = tables["quality"].filter(target="gold_logprob").sort("value")["candidate"][-1]
    sample = tables["candidates"].with_columns(
        prefix=pl.when(pl.col("id") == best).then(pl.lit(HOSTILE)).otherwise("prefix"),
        answer_end=pl.when(pl.col("id") == best).then(len(HOSTILE)).otherwise("answer_end").cast(pl.Int32),
    )
    return {**tables, "candidates": sample}


@pytest.fixture(scope="module")
def pages(hostile, tmp_path_factory):
    return build(tmp_path_factory.mktemp("report"), hostile)


@pytest.fixture(scope="module", params=["page", "index"])
def page(request, pages):
    return pages[request.param == "index"]


def test_pages_need_nothing_but_themselves(page):
    addresses = [a[key] for a in page.all("a", "img", "link", "script") for key in ("href", "src") if key in a]
    assert addresses
    local = r"data:image/svg\+xml;base64,|#|[\w/]+\.html$|\.\./[\w/]+\.parquet$"
    assert all(re.match(local, address) for address in addresses)
    assert not page.all("link", "iframe", "object", "embed")
    assert all(attributes.keys() <= {"type", "id"} for attributes in page.all("script"))  # no script of another file
    styles = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert "url(" not in styles
    assert "@import" not in styles


def test_text_of_candidates_stays_text(pages):
    page = pages[0]
    assert HOSTILE in page.text
    assert "alert(1)" not in page.scripts
    assert all("onerror" not in attributes for _, attributes in page.elements)


def test_headings_step_down_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


def test_pictures_tables_and_links_can_be_used_without_seeing(page):
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(cell["scope"] in ("row", "col") for cell in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a[key] for _, a in page.elements for key in ("aria-labelledby",) if key in a]
    assert set(named) <= set(ids)
    assert {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")} <= set(ids)


def test_index_and_page_link_to_each_other(pages):
    page, index = pages
    assert "index.html" in {a["href"] for a in page.all("a")}
    assert "data.html" in {a["href"] for a in index.all("a")}


def test_pages_state_question_answer_settings_and_run_record(page):
    assert iclscope.__doc__ in page.text
    assert "the data cannot tell" in page.text or "This run cannot tell" in page.text
    assert "correlation.smallest_useful_effect 0.2" in page.text
    assert "datasets.data.max_tokens.items 64" in page.text
    assert "config_digest 0123abcd" in page.text
    assert "versions.torch 2.13.0" in page.text
    assert "secret_of_the_record" not in page.text  # the settings have a table of their own


def test_page_holds_every_figure_and_table_of_every_model(pages):
    page = pages[0]
    names = [drawing.name for chapter in figures.CHAPTERS for drawing in chapter.figures]
    assert len(page.all("img")) == 2 * len(names)
    for caption in ("a row per quality target", "largest |ρ| with", "without a defined correlation", "the control"):
        assert page.text.count(caption) >= 2
    assert page.text.count("correlation.parquet") == 4
    saved = [button["data-name"] for button in page.all("button") if button.get("data-save") == "png"]
    assert saved == 2 * list(dict.fromkeys(saved))
    assert set(saved) == set(names)


def test_the_index_shows_what_gains_cost_where_there_are_several_studies(pages, tables, tmp_path):
    saved = [button["data-name"] for button in pages[1].all("button") if button.get("data-save") == "png"]
    assert saved == ["overview", "gain_by_tokens_over_all"]
    assert "Mean over 1 data set and 2 models of the gain" in pages[1].text
    _, alone = build(tmp_path, tables, models=("small",))
    assert "gain_by_tokens_over_all" not in {button.get("data-name") for button in alone.all("button")}


def test_numbers_are_never_nan_or_none(page):
    assert not re.search(r"\b(nan|NaN|None|inf)\b", page.text)


def test_a_study_without_defined_numbers_is_reported_as_such(tables, tmp_path):
    page, index = build(tmp_path, synthetic.undefined(tables), models=("small",))
    assert "This run cannot tell" in page.text
    assert "every candidate has the same quality" in page.text
    assert "undefined" in index.text
    assert "with the largest |ρ| with" not in page.text  # a table without rows is left out
    assert not re.search(r"\b(nan|NaN|None|inf)\b", page.text + index.text)


def test_the_verdict_speaks_where_there_is_one(tables, tmp_path):
    entry = {
        "conclusion": "No useful signal was found.",
        "sentences": ["First sentence, ρ = 0.1."],
        "selectors": {"nearest": {"status": "no better than random"}},
    }
    numbers = {"rho": 0.5, "low": 0.1, "high": 0.8}
    agreement = {
        "dataset": "data",
        "models": ["small", "large"],
        "candidates": 48,
        "status": "survives",
    }
    pooled = {"metric": "length", "data_sets": 2, "positive": 1, "tau": None, "next_low": None, "next_high": None}
    verdict = {
        "models": {"small": {"data": entry}},
        "headline": "Nothing predicts <quality>.",
        "agreement_between_models": [
            {**agreement, "target": "gold_logprob", **numbers},
            {**agreement, "target": "margin", **numbers, "rho": 0.77},
        ],
        "features_across_data_sets": [{**pooled, **numbers}],
    }
    page, index = build(tmp_path, tables, verdict=verdict)
    assert "No useful signal was found." in page.text
    assert "First sentence, ρ = 0.1." in page.text
    assert page.text.count("no better than random") == 1  # the verdict is about the leading target alone
    assert "Nothing predicts <quality>." in index.text
    assert "small and large gold log probability 48 0.50 0.10 to 0.80 survives" in index.text
    assert "length 1 of 2 0.50 0.10 to 0.80 undefined undefined" in index.text
    assert "0.77" not in index.text  # of a target that leads nowhere
    assert "This run cannot tell: no activation signal" in page.text  # the model without a verdict answers for itself


def test_long_demonstrations_are_shortened_but_keep_their_answer(tables):
    text = "question " * 200 + "the answer"
    sample = tables["candidates"].with_columns(prefix=pl.lit(text), answer_end=pl.lit(len(text), pl.Int32))
    sheet = demonstrations.extremes(Material(synthetic.results(tables), sample))
    assert len(sheet.rows) == 10
    for row in sheet.rows:
        assert len(row[0]) < 450
        assert row[0].endswith("the answer")
    ranks = [int(row[1]) for row in sheet.rows]
    assert ranks == [1, 2, 3, 4, 5, 44, 45, 46, 47, 48]


def test_demonstrations_that_provoke_one_answer_are_counted(tables):
    sheet = demonstrations.extremes(Material(synthetic.results(tables), tables["candidates"]))
    assert sheet.caption.endswith(
        ". 8 of 48 demonstrations make the model give one answer to more than 90 % of the items."
    )
    assert {row[-1] for row in sheet.rows} <= {"0.500", "0.600", "0.700", "0.800", "0.900", "1.00"}
    none = tables | {"quality": tables["quality"].with_columns(one_answer=pl.lit(None, pl.Float64))}
    without = demonstrations.extremes(Material(synthetic.results(none), tables["candidates"]))
    assert "answer" not in without.caption
    assert {len(row) for row in without.rows} == {len(without.header)} == {len(sheet.header) - 1}


def test_flattened_records_keep_every_value():
    rows = flattened({"a": {"b": [1, 2], "c": {}}, "d": True, "e": None, "f": [{"g": 1}]})
    assert rows == [("a.b", "1, 2"), ("a.c", "none"), ("d", "yes"), ("e", "none"), ("f", "g: 1")]


def luminance(colour):
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_from_the_paper_in_both_themes(page):
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", page.source, re.S)
    ]
    assert len(themes) == 2
    for theme in themes:
        for name in ("ink", "quiet", "accent"):
            light, dark = sorted((luminance(theme[name]), luminance(theme["paper"])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5
