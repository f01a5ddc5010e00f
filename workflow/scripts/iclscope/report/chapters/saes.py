"""Sparse autoencoders: what they explain, what their features say of quality, and whether that beats simpler things."""

from collections.abc import Iterator
from pathlib import Path

from iclscope.report.parts import Chapter, Material, Sheet
from iclscope.tables import SAE_SCREEN, SAE_TRAINING, TWIN
from iclscope.verdict import saes
from iclscope.verdict.wording import count, p_value, percent, target_name, two_decimals

CHAPTER = Chapter("saes", "sparse autoencoders", "Sparse autoencoders")

SHOWN = 8  # features of an SAE


@CHAPTER.sheet
def explained(material: Material) -> Sheet | None:
    """What every SAE explains of held-out texts, and its strongest metric, beside its twin; None without an SAE."""
    rows = [
        (name, *_explained(of.training), *_strongest(material, name), *_strongest(material, name + TWIN))
        for name, of in material.saes.items()
    ]
    if not rows:
        return None
    header = (
        "SAE", "variance explained", "by principal components", "by the untrained twin", "active features",
        "strongest metric", "ρ", "corrected p", "of the twin", "ρ", "corrected p",
    )  # fmt: skip
    caption = (
        "Share of the variance of held-out activations that an SAE explains, beside as many principal components and "
        f"its untrained twin, and the metric of each that goes along most with {target_name(material.results.target)}. "
        f"{saes.conclusion(material.results)}"
    )
    return Sheet(caption, header, rows, words=(0, 5, 8))


def _explained(path: str | Path) -> tuple[str, ...]:
    last = SAE_TRAINING.read(path).row(-1, named=True)
    shares = (two_decimals(1 - last[name]) for name in ("unexplained", "components", "untrained"))
    return (*shares, two_decimals(last["active"]))


def _strongest(material: Material, name: str) -> tuple[str, str, str]:
    row = saes.strongest(material.results, name)
    if row is None:
        return "none", two_decimals(None), p_value(None)
    return f"{row['metric']}, {row['pooling']}", two_decimals(row["rho"]), p_value(row["p_study"])


@CHAPTER.sheet
def features(material: Material) -> Sheet | None:
    """The features of every SAE that go along most with quality, each with its strongest context; None without any."""
    rows = [row for name, of in material.saes.items() for row in _features(name, of.screen)]
    if not rows:
        return None
    header = (
        "SAE",
        "feature",
        "pooling",
        "candidates",
        "ρ",
        "corrected p",
        "chosen",
        "given label",
        "strongest context",
    )
    caption = (
        f"Single features against {target_name(material.results.target)}, those that 10 to 90 % of the candidates "
        "have: p corrected for all that were tried in this table, the share of half samples in which a feature is "
        "among the strongest, and the text around the token, in « », where it is strongest"
    )
    return Sheet(caption, header, rows, words=(0, 2, 8))


def _features(name: str, path: str | Path) -> Iterator[tuple[str, ...]]:
    for row in SAE_SCREEN.read(path).head(SHOWN).iter_rows(named=True):
        yield (
            name,
            count(row["feature"]),
            row["pooling"],
            percent(row["prevalence"]),
            two_decimals(row["rho"]),
            p_value(row["p_maxt"]),
            percent(row["stability"]),
            two_decimals(row["partial_label"]),
            (row["context"] or "").replace("\n", "\\n"),
        )
