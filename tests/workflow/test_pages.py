"""The pages in a real browser: they open from a file, sort, filter, link, compare, and run no script but their own."""

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import synthetic
import synthetic_pages
from browser import PHONE, launched, opened

DEFAULT_STUDY = Path(__file__).parents[2] / "results/report"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> </script> {{ 7 * 7 }} " + "<b>bold</b> " * 20
DESIGN = synthetic.SMALL
LOOKS = {"desktop": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The pages of a make-believe study whose best candidate is an attack; also the folder of its tables."""
    tables = synthetic.frames(DESIGN)
    best = tables["quality"].filter(target="gold_logprob").sort("value")["candidate"][-1]
    attacked = pl.col("id") == best
    tables["candidates"] = tables["candidates"].with_columns(
        prefix=pl.when(attacked).then(pl.lit(HOSTILE)).otherwise("prefix"),
        answer_end=pl.when(attacked).then(len(HOSTILE)).otherwise("answer_end").cast(pl.Int32),
    )
    folder = tmp_path_factory.mktemp("hostile")
    return synthetic_pages.build(folder, tables, DESIGN, models=("small",)) | {"folder": folder}


@pytest.fixture
def explorer(browser, hostile):
    with opened(browser, hostile["small"]) as page:
        page.wait_for_selector("#scatter canvas")
        yield page


@pytest.fixture(scope="module", params=["tiny", "default"])
def report(request):
    """The report folder of a study that the workflow ran; the default one where it has been run."""
    if request.param == "tiny":
        return request.getfixturevalue("finished").folder / "results/report"
    if not (DEFAULT_STUDY / "index.html").is_file():
        pytest.skip("the default study has not been run here: make study")
    return DEFAULT_STUDY


def listed(page):
    """Rows of the candidates' table as texts of their cells."""
    return page.locator("#candidates tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].map(c => c.innerText))"
    )


def numbers(cells):
    return [float(text.replace("−", "-")) for text in cells.all_inner_texts()]


@pytest.mark.parametrize("look", LOOKS)
def test_pages_open_from_files_and_can_be_used_by_everyone(browser, report, look, tmp_path):
    for file in sorted(report.rglob("*.html")):
        with opened(browser, file, **LOOKS[look]) as page:
            page.wait_for_timeout(300)
            page.screenshot(path=tmp_path / f"{file.stem}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{file} is wider than {look}"
            violations = Axe().run(page).response["violations"]
            assert [(v["id"], v["nodes"][0]["html"]) for v in violations] == [], file


def test_every_link_leads_somewhere(browser, report):
    waiting, seen = {report / "index.html"}, set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        with opened(browser, file) as page:
            addresses = page.locator("a[href]").evaluate_all("links => links.map(a => a.getAttribute('href'))")
            anchors = set(page.locator("[id]").evaluate_all("all => all.map(e => e.id)"))
        for address in filter(None, addresses):
            path, _, anchor = unquote(address).partition("#")
            target = (file.parent / path).resolve() if path else file
            assert target.is_file(), f"{file}: {address}"
            assert path or anchor in anchors | {""}, f"{file}: {address}"  # Vega fills its links of `#` when used
            if target.suffix == ".html" and target not in seen:
                waiting.add(target)
    assert seen == set(report.rglob("*.html"))


def test_tables_sort_by_number_and_filter_by_text(browser, hostile):
    with opened(browser, hostile["page"]) as page:
        sheet = page.locator(".dt-container", has_text="activation signals with the largest").first
        before = numbers(sheet.locator("tbody td:nth-child(6)"))
        button = sheet.get_by_role("button", name="ρ: Activate to sort", exact=True)
        button.focus()
        page.keyboard.press("Enter")
        expect(sheet.locator("tbody td:nth-child(6)").first).to_have_text(f"{min(before):.2f}".replace("-", "−"))
        assert numbers(sheet.locator("tbody td:nth-child(6)")) == sorted(before) != before
        sheet.get_by_label("Filter").fill("kurtosis")
        expect(sheet.locator("tbody tr", has_not_text="kurtosis")).to_have_count(0)
        assert {row.split()[0] for row in sheet.locator("tbody tr").all_inner_texts()} == {"kurtosis"}


def test_figures_are_saved_as_svg_and_png(browser, hostile):
    signatures = {"SVG": b"<?xml", "PNG": b"\x89PNG"}
    with opened(browser, hostile["page"]) as page:
        for kind, signature in signatures.items():
            with page.expect_download() as download:
                page.get_by_role("button", name=f"Save as {kind}").first.click()
            assert download.value.suggested_filename == f"rho_by_layer.{kind.lower()}"
            assert Path(download.value.path()).read_bytes().startswith(signature)


def test_page_is_printed_on_a4(browser, hostile):
    with opened(browser, hostile["page"]) as page:
        printed = page.pdf(prefer_css_page_size=True)
    sizes = {tuple(map(float, size)) for size in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)", printed)}
    assert sizes
    for size in sizes:
        assert size == pytest.approx((595.28, 841.89), abs=1)  # 210 mm x 297 mm in points


def test_text_of_candidates_shows_as_text(explorer):
    first = explorer.locator("#candidates tbody tr").first
    first.locator("summary").click()
    assert HOSTILE.strip() in first.inner_text()
    assert HOSTILE.strip() in explorer.locator("#first-text").inner_text()
    assert explorer.locator("#candidates img, #candidates b, .pair img, .pair b").count() == 0
    explorer.get_by_label("Search", exact=True).fill("onerror")
    expect(explorer.locator("#candidates tbody tr")).to_have_count(1)


def test_candidates_are_searched_sorted_and_filtered(explorer, hostile):
    quality = pl.read_parquet(hostile["folder"] / "quality.parquet").filter(target="gold_logprob").sort("value")
    ranked = quality["candidate"].to_list()[::-1]
    assert [int(row[3]) for row in listed(explorer)] == ranked[:20]
    explorer.get_by_role("button", name="quality: Activate to sort").click()
    expect(explorer.locator("#candidates tbody tr:first-child td:nth-child(4)")).to_have_text(str(ranked[-1]))
    assert [int(row[3]) for row in listed(explorer)] == ranked[::-1][:20]
    explorer.get_by_label("Label", exact=True).select_option("no")
    assert {row[4] for row in listed(explorer)} == {"no"}
    explorer.get_by_label("Search", exact=True).fill("planet 21 ")
    expect(explorer.locator("#candidates tbody tr")).to_have_count(1)
    assert [row[3] for row in listed(explorer)] == ["21"]
    assert explorer.evaluate("plot.data('dots').map(dot => dot.id)") == [21]  # the plot shows what the table lists


def test_any_signal_is_plotted_against_any_quality_and_listed(explorer, hostile):
    explorer.get_by_label("Signal", exact=True).select_option(label="nll")
    explorer.get_by_label("Quality", exact=True).select_option(label="accuracy (share of items)")
    explorer.wait_for_function("plot.data('dots')[0].quality <= 1")
    shown = {dot["id"]: (dot["x"], dot["quality"]) for dot in explorer.evaluate("plot.data('dots')")}
    nll = pl.read_parquet(hostile["folder"] / "features.parquet")["nll"]
    quality = (
        pl.read_parquet(hostile["folder"] / "quality.parquet").filter(target="accuracy").sort("candidate")["value"]
    )
    np.testing.assert_allclose([shown[i] for i in range(48)], np.column_stack([nll, quality]), rtol=1e-3)
    assert explorer.locator("#candidates thead").get_by_text("nll", exact=True).is_visible()


def centre(page, candidate):
    """Where a candidate's dot stands on the screen."""
    page.locator("#scatter").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """id => { const dot = plot.data('dots').find(d => d.id === id), o = plot.origin();
        const box = document.querySelector('#scatter canvas').getBoundingClientRect();
        const edge = plot.padding();
        return [box.x + edge.left + o[0] + plot.scale('x')(dot.x),
                box.y + edge.top + o[1] + plot.scale('y')(dot.quality)] }""",
        candidate,
    )
    return x, y


def test_pointing_at_a_dot_shows_its_text_and_a_click_compares_it(explorer):
    other = explorer.evaluate("data.candidates.find(c => !picked.includes(c.id)).id")
    explorer.mouse.move(*centre(explorer, other))
    explorer.wait_for_selector("#vg-tooltip-element.visible")
    explorer.mouse.click(*centre(explorer, explorer.evaluate("rows.find(r => r.rank === 1).id")))
    explorer.mouse.move(*centre(explorer, explorer.evaluate("rows.find(r => r.rank === 1).id")))
    explorer.wait_for_function("document.querySelector('#vg-tooltip-element').innerText.includes('<script>alert(2)')")
    assert explorer.locator("#vg-tooltip-element img, #vg-tooltip-element b").count() == 0


def test_dragging_over_dots_lists_only_them(explorer):
    xs, ys = zip(*(centre(explorer, i) for i in range(48)), strict=True)
    explorer.mouse.move(min(xs) - 5, min(ys) - 5)
    explorer.mouse.down()
    explorer.mouse.move(float(np.median(xs)), max(ys) + 5, steps=4)
    explorer.mouse.up()
    explorer.wait_for_selector("#unbrush:visible")
    inside = explorer.evaluate("listed().map(row => row.id)")
    assert sorted(inside) == [i for i in range(48) if xs[i] <= np.median(xs)]
    explorer.locator("#unbrush").click()
    assert explorer.evaluate("listed().length") == 48


def test_two_candidates_are_compared_item_by_item(explorer, hostile):
    scores = pl.read_parquet(hostile["folder"] / "evaluation.parquet").select("candidate", "item", "correct")
    explorer.get_by_label("Candidate A").first.fill("4")
    explorer.get_by_label("Candidate A").first.press("Enter")
    explorer.get_by_role("button", name="Compare candidate").first.click()  # takes the place of the older choice
    a, b = explorer.evaluate("picked")
    explorer.get_by_label("Score").select_option(label="accuracy")
    first, second = (scores.filter(candidate=c).sort("item")["correct"] for c in (a, b))
    said = re.findall(r"\d+", explorer.locator("#difference").inner_text())
    assert list(map(int, said)) == [(first > second).sum(), 48, (first < second).sum(), (first == second).sum()]
    differing = {i for i in range(48) if first[i] != second[i]}
    listed = [int(t) for t in explorer.locator("#items tbody td:first-child").all_inner_texts()]
    assert set(listed) <= differing  # those that differ come first


def test_a_thousand_candidates_by_five_hundred_items_fit_a_page(browser, tmp_path):
    design = synthetic.Design(candidates=1000, items=500, layers=3)
    file = synthetic_pages.build(tmp_path, synthetic.frames(design), design, models=("small",))["small"]
    assert file.stat().st_size < 15e6
    with opened(browser, file) as page:
        page.wait_for_selector("#scatter canvas")
        assert "1 to 20 of 1,000 candidates" in page.locator("#candidates_wrapper").inner_text()
        assert "1 to 10 of 500 items" in page.locator("#items_wrapper").inner_text()
