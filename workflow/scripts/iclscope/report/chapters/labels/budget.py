"""How many examples to label, which ones, and whether to prompt with them or to train a probe."""

import polars as pl
from matplotlib.axes import Axes

from iclscope.report.drawing import grid
from iclscope.report.parts import Caption, Chapter, Material, Picture, Sheet
from iclscope.report.style import BLUE, GREEN, GREY, VERMILION, new_figure
from iclscope.statistics.intervals import LEVEL
from iclscope.tables import BUDGET, TASK_SCORE
from iclscope.verdict.wording import (
    TARGET_UNITS,
    count,
    enumeration,
    interval,
    p_value,
    percent,
    plural,
    quantity,
    target_name,
)

CHAPTER = Chapter(
    "budget",
    "how many labels",
    "How many examples to label",
    note="Pools of labelled candidates, drawn at random or chosen by a strategy that sees neither a label nor a score. "
    "Intervals are over other candidates and other items.",
)

SHARES = "share of items"
RANDOM, PROBE, OVER_NEAREST = "random", "probe", "probe_over_nearest"
SPACES = {"mean": "mean final state", "last": "last token's final state", "encoder": "sentence encoder"}
RULES = {
    "any": ("any demonstration", GREY),
    "nearest": ("the nearest", GREEN),
    "search": ("the best on half of the items", BLUE),
    PROBE: ("a probe, no prompt", VERMILION),
}


@CHAPTER.remark
def not_compared(material: Material) -> str | None:
    """What is missing here, a probe or strategies, and why."""
    table = _read(material)
    if table is None:
        return None
    missing = table.filter(pl.col("reason").is_not_null()).with_columns(
        what=pl.when(pl.col("rule").is_in([PROBE, OVER_NEAREST])).then(pl.lit("a probe")).otherwise(pl.col("strategy"))
    )
    found = missing.group_by("reason", maintain_order=True).agg(pl.col("what").unique(maintain_order=True))
    sentences = [f"Not here: {enumeration(row['what'])}, as {row['reason']}." for row in found.iter_rows(named=True)]
    return " ".join(sentences) or None


@CHAPTER.picture
def labels_needed(material: Material) -> Picture | None:
    """Score against labels in random pools, a panel per kind of vectors, with bands; None without the table."""
    table = _read(material)
    if table is None:
        return None
    target = _target(table)
    random = table.filter(pl.col("value").is_not_null(), target=target, strategy=RANDOM)
    spaces = random["representation"].unique(maintain_order=True).to_list()
    figure = new_figure(height=2.9)
    axes = grid(figure, len(spaces), len(spaces))
    for ax, space in zip(axes, spaces, strict=True):
        _panel(ax, random.filter(representation=space))
        ax.set_title(SPACES[space])
        if TARGET_UNITS[target] == SHARES:
            ax.set_ylim(0, 1)
    axes[0].legend(frameon=False, fontsize=6.5)
    figure.supxlabel("labelled examples", fontsize=8)
    figure.supylabel(target_name(target), fontsize=8)
    return Picture("labels_needed", figure, _caption(table), (material.learning["budget"],))


def _panel(ax: Axes, rows: pl.DataFrame) -> None:
    """What each rule scores, with its 95 % band."""
    for rule, (label, colour) in RULES.items():
        mine = rows.filter(rule=rule).sort("budget")
        if mine.is_empty():
            continue
        ax.plot(mine["budget"], mine["value"], color=colour, linewidth=1.2, label=label)
        sure = mine.filter(pl.col("low").is_not_null())
        ax.fill_between(sure["budget"], sure["low"], sure["high"], color=colour, alpha=0.12, linewidth=0)
    ax.set_xscale("log", base=2)
    ticks = rows["budget"].unique().sort().to_list()
    ax.set_xticks(ticks, [str(tick) for tick in ticks])


def _caption(table: pl.DataFrame) -> Caption:
    conclusion = conclusion_of(table)
    return Caption(
        "What more labels are worth",
        f"Mean {target_name(_target(table))} of the items against how many candidates have a label, expected over "
        "random pools, a panel per kind of vectors of the questions, with 95 % bands. Grey: any demonstration; green: "
        "for each item the one with the most similar question; blue: the best on half of the items, judged on the "
        f"other; vermilion: logistic regression on the labels, without a prompt. {conclusion}",
        f"Curves of score against labels, a panel per kind of vectors. {conclusion}",
    )


def conclusion_of(table: pl.DataFrame) -> str:
    """Up to how many labels to prompt and from how many on to train a probe, and whether a strategy gains."""
    leads = table.filter(pl.col("low").is_not_null(), rule=OVER_NEAREST)
    spaces = leads["representation"].unique(maintain_order=True).to_list()
    sentences = [f"By the {SPACES[space]}: {_prompt_or_probe(leads.filter(representation=space))}" for space in spaces]
    return " ".join([*sentences, _on_strategies(table)])


def _prompt_or_probe(leads: pl.DataFrame) -> str:
    """What the lead of the probe over the nearest demonstration says, by budget."""
    most = max(leads["budget"])
    behind = max(leads.filter(pl.col("high") < 0)["budget"], default=None)
    lost = max(leads.filter(pl.col("value") <= 0)["budget"], default=0)
    ahead = min(leads.filter(pl.col("low") > 0, pl.col("budget") > lost)["budget"], default=None)
    if behind is None:
        if ahead is None:
            return f"no difference between prompting and a probe is seen with up to {count(most)} labels."
        return f"from {plural(ahead, 'label')} on train a probe; with fewer, no difference is seen."
    if ahead is None:
        return f"with up to {plural(behind, 'label')} prompt; a probe is nowhere ahead with up to {count(most)}."
    return f"with up to {plural(behind, 'label')} prompt, from {count(ahead)} on train a probe."


def _on_strategies(table: pl.DataFrame) -> str:
    """Which strategies gain over random labels, after correction."""
    rows = table.filter(pl.col("area").is_not_null(), target=_target(table), rule="nearest")
    sure = rows.filter(pl.col("p_holm") < LEVEL, pl.col("area") > 0)
    found = [
        f"{name} by the {SPACES[space]}" for name, space in sure.select("strategy", "representation").unique().rows()
    ]
    if not found:
        return "No strategy is shown to label better than chance."
    return f"For the nearest demonstration, {enumeration(found)} label better than chance."


@CHAPTER.sheet
def strategies(material: Material) -> Sheet | None:
    """What every strategy gains at the largest budget and over all, for each rule and kind of vectors."""
    table = _read(material)
    if table is None:
        return None
    mine = table.filter(pl.col("gain").is_not_null(), target=_target(table))
    if mine.is_empty():
        return None
    most = max(mine["budget"])
    last = mine.filter(budget=most).sort("rule", "representation", "area", descending=[False, False, True])
    rows = [
        (
            row["strategy"],
            RULES[row["rule"]][0],
            SPACES[row["representation"]],
            quantity(row["value"]),
            quantity(row["gain"], signed=True),
            "" if row["low"] is None else interval(row["low"], row["high"], signed=True),
            quantity(row["area"], signed=True),
            "" if row["p_holm"] is None else p_value(row["p_holm"]),
            "" if row["label_match"] is None else percent(row["label_match"]),
        )
        for row in last.iter_rows(named=True)
    ]
    header = (
        "strategy", "demonstration", "questions as", "score", "gain over random labels", "95 % interval",
        "mean gain over budgets", "corrected p", "own label",
    )  # fmt: skip
    caption = (
        f"Which {plural(most, 'example')} to label, in {target_name(_target(table))}. p: of the mean gain over budgets "
        "of 1, 2, 4 and so on, corrected for the strategies. Own label: share of items whose demonstration has theirs"
    )
    return Sheet(caption, header, rows, words=(0, 1, 2))


def _target(table: pl.DataFrame) -> str:
    """Accuracy, which a probe has too, else the target that claims are about."""
    targets = table.filter(pl.col("value").is_not_null())["target"].unique(maintain_order=True).to_list()
    return TASK_SCORE if TASK_SCORE in targets else targets[0]


def _read(material: Material) -> pl.DataFrame | None:
    return BUDGET.read(material.learning["budget"]) if "budget" in material.learning else None
