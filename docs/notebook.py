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
    tables = [path.relative_to("results/correlation") for path in Path("results/correlation").glob("*/*.parquet")]
    names = {f"{table.parent} on {table.stem}": table for table in sorted(tables)}  # model/dataset.parquet
    chosen = mo.ui.dropdown(names, value=next(iter(names)), label="study")
    chosen  # noqa: B018
    return (chosen,)


@app.cell
def _(chosen, pl, plt):
    # The figure "correlation by layer" in ten lines: a panel per mask, its strongest series in blue.
    headline = pl.read_parquet(f"results/headline/{chosen.value}").filter("primary")
    target, null = headline.select("target", "null_95").row(0)
    correlation = pl.read_parquet(f"results/correlation/{chosen.value}")
    signals = correlation.filter(target=target, family="activation").sort("layer")
    figure, axes = plt.subplots(signals["mask"].n_unique(), sharex=True, squeeze=False, figsize=(7, 10), layout="tight")
    for axis, ((mask,), mine) in zip(axes.flat, signals.group_by("mask", maintain_order=True), strict=True):
        for _, series in mine.group_by("site", "pooling", "metric"):
            top = series["rho"].abs().max() == mine["rho"].abs().max() is not None
            axis.plot("layer", "rho", data=series, color="#0072b2" if top else "#bbbbbb", zorder=2 + top)
        axis.axhspan(-(null or 0), null or 0, color="#eeeeee")  # what the largest |ρ| stays inside by chance
        axis.set(title=mask, ylabel=f"ρ with {target}")
    figure  # noqa: B018
    return (figure,)


@app.cell
def _(chosen, mo):
    from iclscope.report.describe import description_of

    mo.plain_text(description_of(f"results/correlation/{chosen.value}"))  # what the table holds, and where it came from


if __name__ == "__main__":
    app.run()
