"""The table under the answer: the correlation study in a row per quality target."""

from iclscope.report.parts import Sheet
from iclscope.verdict.results import Results
from iclscope.verdict.wording import correlation_interval, count, p_value, target_name, two_decimals


def headline(results: Results) -> Sheet:
    """A row per quality target; claims are about the primary one."""
    header = (
        "target",
        "role",
        "α",
        "noise ceiling",
        "null line",
        "largest ρ",
        "worth",
        "its 95 % interval",
        "corrected p",
        "ρ of length",
        "signals",
        "undefined",
    )
    rows = [
        (
            target_name(row["target"]),
            "primary" if row["primary"] else "exploratory",
            two_decimals(row["alpha"]),
            two_decimals(row["ceiling"]),
            two_decimals(row["null_95"]),
            two_decimals(row["best_rho"]),
            two_decimals(row["best_value"]),
            correlation_interval(row["best_value_low"], row["best_value_high"]),
            p_value(results.strongest["p_study"]) if row["primary"] and results.strongest else "",
            two_decimals(row["length_rho"]),
            count(row["signals"]),
            count(row["undefined"]),
        )
        for row in results.headline.iter_rows(named=True)
    ]
    return Sheet("The correlation study, a row per quality target", header, rows, words=(0, 1))
