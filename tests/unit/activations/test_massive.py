"""Where massive activations are: hand-made statistics, and the report's table of them."""

import polars as pl

import synthetic
from iclscope.activations import massive
from iclscope.activations.massive import COLUMNS, locate
from iclscope.report.chapters.massive import places
from iclscope.report.parts import Material
from iclscope.runtime.jobs import Job
from iclscope.tables import ACTIVATIONS, MASSIVE, SAMPLE
from read_pages import build
from test_docs_code import fill
from test_runs_of_extraction import sample
from tiny import build_tokenizer

TEXTS = {0: ["The", " sky", "?", " yes"], 1: ["The", " whale", " no"], 2: ["A", ".", " no"]}
SPAN = {"question_start": 0, "question_end": 1, "answer_start": 2, "answer_end": 3}


def rows():
    """Candidate, layer, massive activations per token, max |x| per token."""
    made = [
        (0, 0, [0, 0, 0, 0], [1.0, 2.0, 3.0, 2.0]),
        (1, 0, [0, 0, 0], [1.0, 5.0, 1.0]),
        (2, 0, [0, 0, 0], [1.0, 1.0, 4.0]),
        (0, 1, [2, 0, 1, 0], [900.0, 2.0, 700.0, 2.0]),
        (1, 1, [2, 0, 0], [900.5, 5.0, 1.0]),
        (2, 1, [0, 3, 0], [1.0, 150.0, 4.0]),
    ]
    keys = [
        {"candidate": c, "layer": layer, "site": "resid", "n_tokens": len(m), "massive": m, "max_abs": x, **SPAN}
        for c, layer, m, x in made
    ]
    return pl.DataFrame(keys, schema_overrides={name: ACTIVATIONS.schema[name] for name in COLUMNS})


def test_places_of_massive_and_largest_activations():
    quiet, loud = locate(rows().select(COLUMNS), TEXTS).iter_rows(named=True)
    assert (quiet["layer"], quiet["candidates"], quiet["massive"], quiet["with_massive"]) == (0, 3, 0, 0)
    assert (quiet["positions"], quiet["tokens"]) == ([], [])
    assert (quiet["largest_position"], quiet["low"], quiet["high"]) == (2, 3.0, 5.0)
    assert (loud["layer"], loud["candidates"], loud["massive"], loud["with_massive"]) == (1, 3, 8, 3)
    assert loud["positions"] == [0, 1, 2]  # two candidates, then one each
    assert loud["tokens"] == ["The", ".", "?"]
    assert (loud["largest_position"], loud["largest_token"]) == (0, "The")
    assert (loud["low"], loud["high"]) == (150.0, 900.5)


def test_run_and_sheet(tmp_path):
    texts = [("is the sky blue?\nAnswer:", "yes"), ("is a whale a fish?\nAnswer:", "no")]
    build_tokenizer().save_pretrained(tmp_path)
    SAMPLE.write(sample(texts), tmp_path / "candidates.parquet", {})
    tokenizer = build_tokenizer()
    files = {}
    for mask in ("causal", "self_only"):
        keys = []
        for candidate, (question, answer) in enumerate(texts):
            n = len(tokenizer(f"{question} {answer}")["input_ids"])
            spans = {"question_start": 0, "question_end": n - 1, "answer_start": n - 1, "answer_end": n}
            for layer in range(4):
                count = [int(mask == "causal" and layer != 1), *[0] * (n - 1)]
                largest = [4000.0 if count[0] else 2.0 + candidate, *[1.0] * (n - 1)]
                keys.append({"candidate": candidate, "layer": layer, "site": "resid", "n_tokens": n, **spans,
                             "massive": count, "max_abs": largest})  # fmt: skip
        lists = {c.name: [] for c in ACTIVATIONS.columns if isinstance(c.dtype, pl.List) and c.name not in keys[0]}
        files[mask] = tmp_path / f"{mask}.parquet"
        ACTIVATIONS.write(fill(ACTIVATIONS, [{**key, **lists} for key in keys]), files[mask], {})
    massive.run(
        activations=files, candidates=tmp_path / "candidates.parquet", model=tmp_path,
        massive_out=tmp_path / "massive.parquet", job=Job(1, {}),
    )  # fmt: skip
    found = MASSIVE.read(tmp_path / "massive.parquet")
    assert found.height == 2 * 4
    first = tokenizer.decode(tokenizer("is")["input_ids"][:1])
    assert found.filter(mask="causal", layer=2)["tokens"].to_list() == [[first]]
    results = synthetic.results(synthetic.frames(synthetic.SMALL))
    sheet = places(Material(results, pl.DataFrame(), massive=tmp_path / "massive.parquet"))
    assert list(sheet.rows) == [
        ("causal", "resid", "0, 2–3", "0", f"“{first}”", "2 of 2", "4,000, all alike"),
        ("self_only", "resid", "none", "none", "", "0 of 2", "2.00 to 3.00"),
    ]
    assert all(len(row) == len(sheet.header) for row in sheet.rows)


def test_the_page_shows_it(tmp_path):
    keys = [{"mask": "causal", "site": "resid", "layer": 2, "candidates": 9, "massive": 9, "with_massive": 9,
             "positions": [0], "tokens": ["<b>"], "largest_token": "<b>", "low": 512.0, "high": 512.0}]  # fmt: skip
    MASSIVE.write(fill(MASSIVE, keys), tmp_path / "massive.parquet", {})
    page, _ = build(tmp_path, synthetic.frames(synthetic.SMALL), more={"massive": tmp_path / "massive.parquet"})
    assert "512, all alike" in page.text
    assert "“<b>”" in page.text
    assert ("b", {}) not in page.elements
