"""The look of the figures: page width, one sans-serif face, colours for all eyes, and reproducible files."""

import io
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from iclscope.runtime.files import atomic_file

WIDTH = 7.0  # inches
DPI = 200

# Hues of Okabe and Ito (2008), told apart with any colour vision; darkened where they would be too pale for text.
BLUE, VERMILION, GREEN = "#0072B2", "#BF5000", "#007A5A"
INK, GREY, PALE = "#222222", "#6b6b6b", "#dcdcdc"

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that figures are the same on every machine
    "font.size": 7.5,
    "hatch.color": GREY,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.0,
    "savefig.dpi": DPI,
    "svg.fonttype": "path",
    "svg.hashsalt": "iclscope",
    "text.color": INK,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 7,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 7,
}

# Used as a decorator: artists take their look when they are made.
styled = matplotlib.rc_context(rc=STYLE)  # type: ignore[arg-type]


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of the page's width; height in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@styled
def svg(figure: Figure) -> bytes:
    """The figure as SVG, byte for byte the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


@styled
def save(figure: Figure, stem: str | Path) -> None:
    """Write `stem`.png and `stem`.svg, byte for byte the same for the same figure."""
    with atomic_file(f"{stem}.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    figure.set_layout_engine("none")  # what was found for one format holds for the other
    with atomic_file(f"{stem}.svg") as temporary:
        temporary.write_bytes(svg(figure))
