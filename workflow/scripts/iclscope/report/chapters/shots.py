"""Demonstrations to use: the answer to whoever wants some, and a table of all that were compared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iclscope.report.parts import Chapter, Material, Sheet
from iclscope.tables import BEATS_RANDOM, LOWERS_ACCURACY, RANDOM_SETS, RANDOM_WILL_DO, TASK_SCORE
from iclscope.verdict.wording import TARGET_UNITS, count, interval, plural, quantity, target_name

CHAPTER = Chapter(
    "shots",
    "several demonstrations",
    "Several demonstrations",
    note="Sets were chosen from the score matrix by one half of the items and judged on the other, both ways. Gains "
    "are those over random sets of the same size; the set to ship was chosen by all items.",
)

WORDS = {
    "balanced": "best of each label",
    "top": "best",
    "cover": "best together",
    "random": "random",
    "random_balanced": "random, labels even",
}

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
        f"compared, and for all data sets and models; on {plural(first['items'], 'item')} in all.{in_order}"
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
