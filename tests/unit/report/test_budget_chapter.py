"""What the page says of labels: when to prompt, when to train a probe, and which strategies gain."""

import polars as pl
import pytest

from iclscope.report.chapters.labels import budget
from iclscope.report.parts import Material
from iclscope.tables import BUDGET


def row(rule, n, value, reach, strategy="random", **more):
    known = {"target": "accuracy", "rule": rule, "representation": "encoder", "strategy": strategy, "budget": n}
    return known | {"value": value, "low": value - reach, "high": value + reach, "standard_error": reach / 2} | more


def table(leads, p=0.5):
    """Leads of a probe by budget, each with an interval of ±0.1, and a strategy with a corrected p."""
    rows = [row("probe_over_nearest", n, lead, 0.1) for n, lead in leads.items()]
    rows += [row(rule, n, 0.5 + n / 100, 0.1) for rule in ("any", "nearest", "search", "probe") for n in leads]
    rows.append(row("nearest", 1, 0.6, 0.1, "facility", gain=0.1, area=0.1, p_holm=p, label_match=0.4))
    return pl.DataFrame(rows, schema=BUDGET.schema)


@pytest.mark.parametrize(
    ("leads", "sentence"),
    [
        ({1: -0.2, 4: -0.15, 16: 0, 32: 0.2}, "with up to 4 labels prompt, from 32 on train a probe."),
        ({1: -0.2, 4: 0, 16: 0.05}, "with up to 1 label prompt; a probe is nowhere ahead with up to 16."),
        ({1: 0, 4: 0.2, 16: 0.3}, "from 4 labels on train a probe; with fewer, no difference is seen."),
        ({1: 0, 4: 0.05}, "no difference between prompting and a probe is seen with up to 4 labels."),
        ({1: 0, 4: 0.2, 8: 0, 16: 0.2}, "from 16 labels on train a probe; with fewer, no difference is seen."),
        ({1: 0.2, 4: -0.2, 8: 0.2}, "with up to 4 labels prompt, from 8 on train a probe."),
    ],
)
def test_prompt_or_probe_follows_from_intervals_that_leave_zero(leads, sentence):
    assert budget.conclusion_of(table(leads)).startswith(f"By the sentence encoder: {sentence}")


def test_a_strategy_is_named_where_its_corrected_p_is_below_the_level():
    assert "No strategy is shown to label better than chance." in budget.conclusion_of(table({1: 0}))
    found = budget.conclusion_of(table({1: 0}, p=0.01))
    assert "For the nearest demonstration, facility by the sentence encoder label better than chance." in found


def test_figure_and_table_are_there_with_the_file_alone(tmp_path):
    BUDGET.write(table({1: -0.2, 4: 0.2}), tmp_path / "budget.parquet", {})
    material = Material(None, pl.DataFrame(), learning={"budget": tmp_path / "budget.parquet"})
    picture, sheet = budget.labels_needed(material), budget.strategies(material)
    assert picture.tables == (tmp_path / "budget.parquet",)
    assert [line.get_label() for line in picture.figure.axes[0].lines][:2] == ["any demonstration", "the nearest"]
    assert sheet.rows[0][:4] == ("facility", "the nearest", "sentence encoder", "0.600")
    assert (
        budget.labels_needed(Material(None, pl.DataFrame()))
        is budget.strategies(Material(None, pl.DataFrame()))
        is None
    )


def test_what_is_missing_stands_there_with_its_reason(tmp_path):
    """A probe has accuracy alone for a score: without it, the figure is of the target that there is."""
    common = {"target": "gold_logprob", "representation": "encoder", "budget": 1}
    rows = [{**common, "rule": rule} for rule in ("any", "nearest")]
    unsure = [{**row, "strategy": name, "reason": "nothing is unsure"} for row in rows for name in ("x", "y")]
    probe = {**rows[0], "target": "accuracy", "rule": "probe", "strategy": "random", "reason": "there are no classes"}
    known = [{**row, "strategy": "random", "value": -1.5, "low": -2.0, "high": -1.0} for row in rows]
    BUDGET.write(pl.DataFrame([probe, *known, *unsure], schema=BUDGET.schema), tmp_path / "budget.parquet", {})
    material = Material(None, pl.DataFrame(), learning={"budget": tmp_path / "budget.parquet"})
    assert budget.not_compared(material) == (
        "Not here: a probe, as there are no classes. Not here: x and y, as nothing is unsure."
    )
    assert budget.strategies(material) is None
    assert [line.get_label() for line in budget.labels_needed(material).figure.axes[0].lines] == [
        "any demonstration", "the nearest",
    ]  # fmt: skip
    BUDGET.write(table({1: 0}), tmp_path / "whole.parquet", {})
    whole = {"budget": tmp_path / "whole.parquet"}
    assert budget.not_compared(Material(None, pl.DataFrame(), learning=whole)) is None
    assert budget.not_compared(Material(None, pl.DataFrame())) is None
