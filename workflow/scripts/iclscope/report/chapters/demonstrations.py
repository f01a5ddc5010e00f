"""The best and the worst demonstrations, with their text."""

import polars as pl

from iclscope.report.parts import Chapter, Material, Sheet
from iclscope.verdict.wording import quantity, target_name

CHAPTER = Chapter(
    "demonstrations",
    "demonstrations",
    "Best and worst demonstrations",
    note="Among many candidates some come out on top by luck; reliability says how much to trust this order.",
    explores=True,
)

EXTREMES = 5
ONE_SIDED = 0.9  # share of the items
LONGEST_TEXT = 400  # characters of a demonstration that are shown


@CHAPTER.sheet
def extremes(material: Material) -> Sheet:
    """Best and worst candidates in the primary target with their text, and how many provoke one answer."""
    results = material.results
    ranked = results.quality.filter(pl.col("target") == results.target).sort(
        "value", descending=True, maintain_order=True
    )
    ranked = ranked.with_row_index("rank", offset=1)
    chosen = pl.concat([ranked.head(EXTREMES), ranked.tail(EXTREMES)]).unique("rank", maintain_order=True)
    texts = {row["id"]: row["prefix"][: row["answer_end"]] for row in material.candidates.iter_rows(named=True)}
    rows = [
        (
            _shortened(texts[row["candidate"]]),
            str(row["rank"]),
            str(row["candidate"]),
            quantity(row["value"]),
            quantity(row["standard_error"]),
            quantity(row["one_answer"]),
        )
        for row in chosen.iter_rows(named=True)
    ]
    caption = f"The best and the worst demonstrations in {target_name(results.target)}"
    header = ("demonstration", "rank", "candidate", "quality", "standard error", "items with one answer")
    if ranked["one_answer"].null_count():  # answers are generated, or choices differ
        return Sheet(caption, header[:-1], [row[:-1] for row in rows])
    return Sheet(f"{caption}. {_one_sided(ranked['one_answer'])}", header, rows)


def _one_sided(shares: pl.Series) -> str:
    """How many demonstrations drown the items out; `shares` of the items that get one answer."""
    times = int((shares > ONE_SIDED).sum())
    make = "makes" if times == 1 else "make"
    return (
        f"{times} of {len(shares)} demonstrations {make} the model give one answer to more than {ONE_SIDED:.0%} of the "
        "items."
    ).replace("%", " %")


def _shortened(text: str) -> str:
    """The text, or its beginning and its end, where the answer stands."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[: LONGEST_TEXT * 3 // 4].rstrip()} … {text[-LONGEST_TEXT // 4 :].lstrip()}"
