"""What several figures draw: panels, and the two lines without which a correlation means nothing.

These are the null line (what max |rho| stays under by chance in 95 of 100 such studies) and the noise ceiling (what a
perfect signal would reach).
"""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclscope.report.style import GREY, INK, VERMILION
from iclscope.verdict.wording import two_decimals

LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.3}


def grid(figure: Figure, panels: int, columns: int) -> list[Axes]:
    """`panels` axes in rows of `columns` with common scales; the labels of a scale appear at the margin only."""
    columns = min(columns, panels)
    axes = figure.subplots(math.ceil(panels / columns), columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in axes[panels:]:
        ax.remove()
        axes[list(axes).index(ax) - columns].xaxis.set_tick_params(labelbottom=True)
    return list(axes[:panels])


def reference_lines(ax: Axes, null: float | None, ceiling: float | None, reach: float) -> None:
    """Zero, and on both sides of it the null line and the noise ceiling, where they lie on the scale."""
    ax.axhline(0, color=GREY, linewidth=0.5)
    for height, colour, dashes in ((null, VERMILION, (0, (4, 2))), (ceiling, INK, ":")):
        if height is not None and height <= reach:
            ax.axhline(height, color=colour, linewidth=0.9, linestyle=dashes)
            ax.axhline(-height, color=colour, linewidth=0.9, linestyle=dashes)


def reference_labels(ax: Axes, null: float | None, ceiling: float | None, reach: float, side: int) -> None:
    """Names of the reference lines on one side of zero (1 above, -1 below); an arrow to a ceiling beyond the scale."""
    outwards, inwards = ("bottom", "top") if side > 0 else ("top", "bottom")
    label: dict[str, Any] = {
        "transform": ax.get_yaxis_transform(),
        "fontsize": 6,
        "ha": "right",
        "bbox": LABEL_BOX,
        "zorder": 5,
    }
    if null is not None:
        ax.text(0.99, side * null, "95 % null of max |ρ|", va=inwards, color=VERMILION, **label)
    if ceiling is not None:
        arrow = "" if ceiling <= reach else " ↑" if side > 0 else " ↓"
        text = f"noise ceiling {two_decimals(ceiling)}{arrow}"
        far = null is None or ceiling > null
        ax.text(0.99, side * min(ceiling, reach), text, va=inwards if far else outwards, color=INK, **label)
