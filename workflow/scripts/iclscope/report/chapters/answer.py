"""The table under the answer: the correlation study in a row per quality target."""

from iclscope.report.parts import Sheet
from iclscope.verdict.results import Results
from iclscope.verdict.wording import count, p_value, target_name, two_decimals


def headline(results: Results) -> Sheet:
    """A row per quality target."""
    header = (
        "target",
        "α",
        "noise ceiling",
        "null line",
        "largest ρ",
        "corrected p",
        "ρ where not chosen",
        "ρ of length",
        "signals",
        "undefined",
        "significant",
    )
    rows = [
        (
            target_name(row["target"]),
            two_decimals(row["alpha"]),
            two_decimals(row["ceiling"]),
            two_decimals(row["null_95"]),
            two_decimals(row["best_rho"]),
            p_value(row["best_p_maxt"]),
            two_decimals(row["nested_rho"]),
            two_decimals(row["length_rho"]),
            count(row["signals"]),
            count(row["undefined"]),
            count(row["significant"]),
        )
        for row in results.headline.iter_rows(named=True)
    ]
    return Sheet("The correlation study, a row per quality target", header, rows)
