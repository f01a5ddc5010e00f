"""Signals that need no activations, and the control."""

from iclscope.report.parts import Chapter, Material, Sheet
from iclscope.verdict.wording import correlation_interval, p_value, target_name, two_decimals

CHAPTER = Chapter("controls", "controls", "Cheaper signals and controls")


@CHAPTER.sheet
def features(material: Material) -> Sheet:
    """Features and controls against the primary target."""
    results = material.results
    header = (
        "signal",
        "ρ",
        "95 % interval",
        "p alone",
        "corrected p",
        "given length",
        "and label",
        "and NLL",
        "and zero-shot",
        "what may be said",
    )
    both = [*results.family("feature").iter_rows(named=True), *results.family("control").iter_rows(named=True)]
    rows = [
        (
            f"{row['metric']} (control)" if row["family"] == "control" else row["metric"],
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            p_value(row["p"]),
            p_value(row["p_study"]),
            two_decimals(row["partial_length"]),
            two_decimals(row["partial_label"]),
            two_decimals(row["partial_nll"]),
            two_decimals(row["partial_zero_shot"]),
            row["reason"] or row["status"] or "",
        )
        for row in both
    ]
    caption = f"Signals that need no activations, and the control, against {target_name(results.target)}"
    return Sheet(caption, header, rows, words=(0, len(header) - 1))
