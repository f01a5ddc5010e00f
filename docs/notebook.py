"""A notebook on the results of a study: `marimo edit docs/notebook.py` in the folder that holds `results/`."""

import marimo

app = marimo.App()


@app.cell
def _():
    from pathlib import Path

    import marimo as mo
    import matplotlib.pyplot as plt
    import polars as pl

    return Path, mo, pl, plt


@app.cell
def _(Path, mo):
    tables = sorted(Path("results/correlation").glob("*/*.parquet"))  # model/dataset.parquet
    chosen = mo.ui.dropdown({f"{t.parent.name} on {t.stem}": t for t in tables}, label="study", allow_select_none=False)
    chosen  # noqa: B018
    return (chosen,)


@app.cell
def _(chosen, pl, plt):
    # The figure "correlation by layer" in ten lines: a panel per mask, its strongest series in blue.
    correlation = pl.read_parquet(chosen.value)
    headline = pl.read_parquet(str(chosen.value).replace("/correlation/", "/headline/")).sort("alpha", nulls_last=True)
    target, null = headline.drop_nulls("alpha").select("target", "null_95").row(-1)
    signals = correlation.filter(target=target, family="activation").sort("layer")
    figure, axes = plt.subplots(signals["mask"].n_unique(), sharex=True, sharey=True, squeeze=False, figsize=(7, 9))
    for axis, ((mask,), mine) in zip(axes.flat, signals.group_by("mask", maintain_order=True), strict=True):
        for _, series in mine.group_by("site", "pooling", "metric"):
            top = series["rho"].abs().max() == mine["rho"].abs().max() is not None
            axis.plot(series["layer"], series["rho"], color="#0072b2" if top else "#cccccc", zorder=2 + top)
        axis.set(title=f"{mask}, null line ±{null:.2f}", ylabel=f"ρ with {target}")
    figure  # noqa: B018
    return (figure,)


@app.cell
def _(chosen, mo):
    from iclscope.describe import describe

    mo.plain_text(describe(chosen.value))  # what the table holds, and where it came from


if __name__ == "__main__":
    app.run()
