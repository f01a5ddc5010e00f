"""All models and data sets side by side, for the index."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from iclscope.report.parts import Caption, Sheet
from iclscope.report.style import BLUE, INK, PALE, VERMILION, new_figure, styled
from iclscope.verdict.findings import size
from iclscope.verdict.results import Results
from iclscope.verdict.wording import correlation_interval, count, p_value, target_name, two_decimals


def caption(studies: Sequence[Results]) -> Caption:
    """Caption of the figure that compares all models and data sets."""
    parts = []
    for results in studies:
        h = results.headline_of(results.target)
        best = None if h["best_rho"] is None else abs(h["best_rho"])
        parts.append(
            f"{results.dataset} with {results.model} ({size(results)}): {two_decimals(best)} against a null line of "
            f"{two_decimals(h['null_95'])} and a ceiling of {two_decimals(h['ceiling'])}"
        )
    return Caption(
        "The largest correlation, between chance and noise",
        "Blue dot: the largest |ρ| of all activation signals with the primary quality target. Grey bar: what max |ρ| "
        "stays under by chance in 95 of 100 tables of this size. Black tick: noise ceiling, the most that a perfect "
        "signal would reach. A dot inside the grey bar is what chance alone would show.",
        f"One row per data set and model. {'; '.join(parts)}.",
    )


@styled
def largest_correlations(studies: Sequence[Results]) -> Figure:
    """The largest |rho| of every model and data set between what chance gives and what noise allows."""
    figure = new_figure(height=0.9 + 0.3 * len(studies))
    ax = figure.subplots()
    for height, results in enumerate(studies):
        headline = results.headline_of(results.target)
        null, ceiling, best = headline["null_95"], headline["ceiling"], headline["best_rho"]
        if null is not None:
            ax.barh(height, null, height=0.62, color=PALE)
            ax.vlines(null, height - 0.31, height + 0.31, color=VERMILION, linewidth=1.6, label="null line")
        if ceiling is not None:
            ax.vlines(ceiling, height - 0.31, height + 0.31, color=INK, linewidth=1.6, label="noise ceiling")
        if best is not None:
            ax.plot(abs(best), height, "o", color=BLUE, markersize=6, label="largest |ρ|")
        else:
            ax.text(0.01, height, "undefined", va="center", color=INK)
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=3, frameon=False)
    names = [f"{r.dataset} · {r.model}\n{target_name(r.target)}" for r in studies]
    ax.set_yticks(range(len(studies)), names)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlim=(0, 1), ylim=(len(studies) - 0.5, -0.5), xlabel="|Spearman's ρ| with candidate quality")
    return figure


def tables(verdict: Mapping[str, Any], targets: Collection[str]) -> dict[str, Sheet]:
    """What the verdict says across models and data sets in the given targets; a table without rows is left out."""
    agreement = [
        (
            row["dataset"],
            " and ".join(row["models"]),
            target_name(row["target"]),
            count(row["candidates"]),
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            row["status"],
        )
        for row in verdict.get("agreement_between_models", [])
        if row["target"] in targets
    ]
    pooled = [
        (
            row["metric"],
            f"{row['positive']} of {row['data_sets']}",
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            correlation_interval(row["next_low"], row["next_high"]),
            two_decimals(row["tau"]),
        )
        for row in verdict.get("features_across_data_sets", [])
    ]
    tables = {
        "agreement": Sheet(
            "Do good demonstrations stay good with another model? Correlation of true quality, over disjoint items",
            ("data set", "models", "target", "candidates", "ρ", "95 % interval", "quality"),
            agreement,
            words=(0, 1, 2, 6),
        ),
        "signals": _signals_across(verdict),
        "pooled": Sheet(
            "Signals that need no activations, over data sets, models averaged (Hartung-Knapp, from three on)",
            ("signal", "ρ above 0", "mean ρ", "95 % interval", "another data set", "spread τ"),
            pooled,
            words=(0,),
        ),
    }
    return {name: table for name, table in tables.items() if table.rows}


def _signals_across(verdict: Mapping[str, Any]) -> Sheet:
    """Activation signals of each model over its data sets."""
    rows = [
        (
            row["model"],
            row["strongest"],
            count(row["signals"]),
            count(row["same_sign"]),
            count(round(row["same_sign_by_chance"])),
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            p_value(row["p"]),
        )
        for row in verdict.get("signals_across_data_sets", [])
    ]
    return Sheet(
        "Activation signals over all data sets: how many keep their sign, and the strongest (p corrected for all)",
        ("model", "strongest", "signals", "same sign", "by chance", "mean ρ", "95 % interval", "corrected p"),
        rows,
        words=range(2),
    )
