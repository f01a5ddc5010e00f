"""Demonstrations to use: the answer to whoever wants some, and a table of all that were compared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from iclscope.report.parts import Caption, Chapter, Material, Picture, Sheet
from iclscope.report.style import BLUE, GREEN, GREY, INK, VERMILION, new_figure
from iclscope.tables import BEATS_RANDOM, LOWERS_ACCURACY, RANDOM_SETS, RANDOM_WILL_DO, SHOTS_SUMMARY, TASK_SCORE
from iclscope.verdict.wording import TARGET_UNITS, count, enumeration, interval, plural, quantity, target_name

CHAPTER = Chapter(
    "shots",
    "several demonstrations",
    "Several demonstrations",
    note="Sets were chosen from the score matrix by one half of the items and judged on the other, both ways. Gains "
    "are those over random sets of the same size, intervals for other items and other random sets; the set to ship was "
    "chosen by all items.",
)

WORDS = {
    "balanced": "best of each label",
    "top": "best",
    "cover": "best together",
    "random": "random",
    "random_balanced": "random, labels even",
}
LOOKS = {  # in the order in which they stand side by side
    "random": (GREY, "o"),
    "random_balanced": (GREEN, "o"),
    "balanced": (BLUE, "o"),
    "top": (VERMILION, "s"),
    "cover": ("#A8477F", "D"),
}
APART, WIDTH = 0.18, 0.13  # of what stands side by side, where numbers of demonstrations are 1 apart
GOLDEN = 0.618  # fraction by which points move aside, each after the other: they never form a pattern

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """What to use for one data set and model: title, the gain in a line, the text, and facts by name.

    `copies` maps the label of a button to what it copies, as JSON; `files` are names and addresses.
    """

    dataset: str
    model: str
    title: str
    gain: str
    text: str
    facts: Sequence[tuple[str, str]]
    copies: Mapping[str, str]
    files: Sequence[tuple[str, str]]


def read_lines(path: str | Path) -> list[Line]:
    """The picks of one model and data set, the recommended one first."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


def card(lines: Sequence[Line], address: str) -> Card:
    """The recommended pick; `address` of the file of picks, beside which the task file stands."""
    first = lines[0]
    use, random = first["verdict"] != RANDOM_WILL_DO, plural(first["k"], "random demonstration")
    messages = json.dumps(first["messages"], ensure_ascii=False, indent=2)
    return Card(
        dataset=first["dataset"],
        model=first["model"]["name"],
        title=f"Use {'this demonstration' if first['k'] == 1 else 'these demonstrations'}" if use else "Random will do",
        gain=_expected(first) if use else f"Nothing is shown to beat {random} by enough to be of use.",
        text=first["prefix"].rstrip(),
        facts=[
            *(_accuracy(first) if use else ()),
            ("Score", _score(first)),
            ("Cost", _cost(first)),
            ("How sure", _sure(lines) if use else _why_random(lines)),
        ],
        copies={"Copy text": json.dumps(first["prefix"]), "Copy as chat": json.dumps(messages)},
        files=[
            ("all picks (JSON Lines)", address),
            ("task for the harness", str(Path(address).with_suffix(".yaml").as_posix())),
        ],
    )


@CHAPTER.remark
def not_tried(material: Material) -> str | None:
    """What sets a data set cannot have, and why."""
    table = _read(material)
    missing = None if table is None else table.filter(pl.col("reason").is_not_null())
    if missing is None or missing.is_empty():
        return None
    names = [f"“{WORDS[name]}”" for name in missing["name"].unique(maintain_order=True)]
    return f"Not here: sets called {enumeration(names)}, as {missing['reason'][0]}."


@CHAPTER.picture
def scores_of_sets(material: Material) -> Picture | None:
    """Score against the number of demonstrations: random sets as points, chosen ones with the interval of the gain."""
    table = _read(material)
    if table is None:
        return None
    table = table.filter(pl.col("value").is_not_null())
    numbers, names = table["k"].unique().sort().to_list(), [name for name in LOOKS if name in table["name"]]
    figure = new_figure(height=3.1)
    ax = figure.subplots()
    for place, k in enumerate(numbers):
        mine = table.filter(k=k)
        there, random = [name for name in names if name in mine["name"]], _mean(mine.filter(name="random"))
        for turn, name in enumerate(there):
            ax.hlines(random, place - 0.45, place + 0.45, color=GREY, linewidth=0.7, linestyle=":")
            _kind(ax, place + APART * (turn - (len(there) - 1) / 2), mine.filter(name=name), random)
    for name in names:
        colour, marker = LOOKS[name]
        ax.plot([], [], marker, color=colour, markersize=4.5, label=WORDS[name])
    ax.legend(frameon=False, fontsize=6.5, ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1))
    ax.set_xticks(range(len(numbers)), [count(k) for k in numbers])
    target = table["target"][0]
    ax.set(xlabel="demonstrations", ylabel=f"{target_name(target)} ({TARGET_UNITS[target]})")
    ax.set_xlim(-0.5, len(numbers) - 0.5)
    return Picture("scores_of_sets", figure, _caption(table), (material.learning["shots_summary"],))


def _kind(ax: Axes, x: float, rows: pl.DataFrame, random: float) -> None:
    """Sets of one name and size around `x`; `random` is the mean of random sets."""
    colour, marker = LOOKS[rows["name"][0]]
    if (row := rows.row(0, named=True))["share"] is None:
        if row["low"] is not None:
            ax.vlines(x, random + row["low"], random + row["high"], color=colour, linewidth=1.2)
        ax.plot(x, row["value"], marker, color=colour, markersize=4.5)
        return
    aside = (GOLDEN * np.arange(rows.height) % 1 - 0.5) * WIDTH
    ax.plot(x + aside, rows["value"].to_numpy(), marker, color=colour, markersize=2.8, alpha=0.45, markeredgewidth=0)
    ax.hlines(_mean(rows), x - WIDTH / 2, x + WIDTH / 2, color=INK, linewidth=1.4, zorder=3)


def _mean(rows: pl.DataFrame) -> float:
    """Expected score of random sets of one kind, by the chance of each to be drawn."""
    return float((rows["share"] * rows["value"]).sum())


def _caption(table: pl.DataFrame) -> Caption:
    chosen = table.filter(pl.col("share").is_null()).sort("k", "name")
    said = _beaten(chosen.filter(verdict=BEATS_RANDOM), chosen.height)
    return Caption(
        "What sets of demonstrations score",
        f"Mean {target_name(table['target'][0])} of the items. Points: random sets, with their expected score as a "
        "dash; sets of one are all candidates of the score matrix. Other marks: what one half of the items chose, on "
        "the other half, both ways; their bars: the 95 % interval of the gain over random sets, drawn from the dash of "
        f"these. {said}",
        f"Scores of random and of chosen sets against the number of demonstrations. {said}",
    )


def _beaten(sure: pl.DataFrame, number: int) -> str:
    """Which chosen sets beat random ones, by their verdict."""
    if sure.is_empty():
        return f"Of {plural(number, 'choice')}, none is shown to beat random sets."
    names = "; ".join(_called(row) for row in sure.iter_rows(named=True))
    return f"Of {plural(number, 'choice')}, these are shown to beat random sets, corrected for their number: {names}."


def _read(material: Material) -> pl.DataFrame | None:
    name = SHOTS_SUMMARY.name
    return SHOTS_SUMMARY.read(material.learning[name]) if name in material.learning else None


@CHAPTER.sheet
def compared(material: Material) -> Sheet | None:
    """Every set with its gains, the recommended one first."""
    if not material.picks:
        return None
    target = material.picks[0]["target"]
    rows = [
        (
            WORDS[line["name"]],
            count(line["k"]),
            quantity(line["value"]),
            quantity(line["gain"], signed=True) if line["name"] != "random" else "",
            interval(line["low"], line["high"], signed=True) if line["name"] != "random" else "",
            quantity(line["over_balanced"]["gain"], signed=True) if line["over_balanced"] else "",
            quantity(line["gains"][TASK_SCORE]["gain"], signed=True) if TASK_SCORE in line["gains"] else "",
            quantity(line["deviation_order"]) if line["deviation_order"] is not None else "",
            quantity(line["deviation_random"]),
            count(round(line["prompt_tokens"])),
            line["verdict"],
        )
        for line in material.picks
    ]
    header = (
        "demonstrations", "number", "mean score", "gain", "its 95 % interval", "gain over label-balanced",
        "gain in accuracy", "deviation over orders", "deviation over random sets", "tokens of a prompt", "verdict",
    )  # fmt: skip
    tried = plural(material.picks[0]["items"], "item")
    caption = f"Sets of demonstrations in {target_name(target)}, on {tried}; the first is recommended"
    return Sheet(caption, header, rows, words=(0, 10))


def _expected(line: Line) -> str:
    """The expected gain with its interval."""
    unit = TARGET_UNITS[line["target"]]
    return (
        f"Expected gain {quantity(line['gain'], signed=True)} {unit} over {_random(line['k'])} (95 % interval "
        f"{interval(line['low'], line['high'], signed=True)}), in {target_name(line['target'])}."
    )


def _accuracy(line: Line) -> list[tuple[str, str]]:
    """What the task scores, where sets have it and it is not the target already."""
    found = line["gains"].get(TASK_SCORE)
    if line["target"] == TASK_SCORE or found is None or found["low"] is None:
        return []
    gain, low, high = (_points(found[key]) for key in ("gain", "low", "high"))
    return [("Accuracy", f"{gain} percentage points (95 % interval {low} to {high}) over {_random(line['k'])}.")]


def _points(share: float) -> str:
    """A share as a whole number of hundredths, with its sign."""
    text = f"{round(100 * share):+d}".replace("-", "\N{MINUS SIGN}")
    return "0" if text == "+0" else text


def _score(line: Line) -> str:
    """The mean score with the demonstrations and without any."""
    unit = TARGET_UNITS[line["target"]]
    return (
        f"{quantity(line['value'])} {unit} in {target_name(line['target'])}, "
        f"{quantity(line['zero_shot'])} without any demonstration."
    )


def _cost(line: Line) -> str:
    """What the demonstrations add to every prompt, in tokens."""
    return f"{count(round(line['added_tokens']))} tokens more in every prompt."


def _sure(lines: Sequence[Line]) -> str:
    """On what a gain rests."""
    first = lines[0]
    number = plural(sum(line["name"] not in RANDOM_SETS for line in lines), "choice")
    even = " and sets with even labels" if first["over_balanced"] else ""
    order = first["deviation_order"]
    in_order = "" if order is None else f" Another order of them moves the score by ±{quantity(order)}."
    return (
        f"Better than {_random(first['k'])}{even} on items that did not choose them, corrected for the {number} "
        f"compared, and for all data sets and models; on {plural(first['items'], 'item')} in all. The interval is for "
        "other items and other random ones. It is that of what half of the items choose; all of them chose "
        f"{'this one' if first['k'] == 1 else 'these'}.{in_order}"
    )


def _why_random(lines: Sequence[Line]) -> str:
    """What the best choice gains, which is not enough."""
    chosen = [line for line in lines if line["name"] not in RANDOM_SETS]
    best = max(chosen, key=lambda line: line["value"])
    unit = TARGET_UNITS[best["target"]]
    why = {
        BEATS_RANDOM: f"but {_random(lines[0]['k'])} score nearly as well or better",
        LOWERS_ACCURACY: "but lowers accuracy",
    }
    number = "the one choice compared" if len(chosen) == 1 else f"one of {count(len(chosen))} choices"
    said = why.get(best["verdict"], f"which chance may give to {number}")
    return (
        f"What scores best ({_called(best)}) gains {quantity(best['gain'], signed=True)} {unit} over "
        f"{_random(best['k'])} (95 % interval {interval(best['low'], best['high'], signed=True)}), {said}. "
        f"Take any{_evenly(lines[0])}, such as these."
    )


def _called(line: Line) -> str:
    """A choice in words."""
    alone = "the best candidate alone" if line["k"] == 1 else f"the {line['k']} best candidates"
    several = {"balanced": f"{line['k']}, the best of each label", "cover": f"{line['k']} that are best together"}
    return several.get(line["name"], alone)


def _evenly(line: Line) -> str:
    return ", labels as even as can be" if line["name"] == "random_balanced" else ""


def _random(k: int) -> str:
    return "a random one" if k == 1 else f"{k} random ones"
