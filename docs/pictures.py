"""Draws the pictures of the documentation into docs/images: the workflow's stages and the attention masks.

PYTHONPATH=workflow/scripts python docs/pictures.py
"""

import re
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from iclscope.activations.masks import MASKS, Segments
from iclscope.report.style import BLUE, GREY, INK, PALE, VERMILION, new_figure, save, styled

ROOT = Path(__file__).parents[1]

PROMPT = ["<bos>", "Ann", "has", "2", "pens", ".", "How", "many", "?", "2", "pens"]
EXAMPLE = Segments(tokens=len(PROMPT), question=(1, 9), answer=(9, 11))
UNSEEN = "#f3f3f3"
KEY_COLOURS = {"neither": GREY, "question": BLUE, "answer": VERMILION}

# Place (column, row) of each stage, what it makes, and whether it runs a model.
STAGES: dict[str, tuple[float, float, str, bool]] = {
    "prepare": (0, 1, "model, rows", False),
    "sample": (1, 1, "candidates,\nitems", False),
    "activations": (2, 2.2, "statistics per\ntoken and mask", True),
    "features": (2, 1.55, "length, NLL,\nsimilarity …", True),
    "representations": (2, 0.9, "questions as\nvectors", True),
    "saes": (2, 0.25, "sparse features\nof every token", True),
    "evaluation": (2, -0.4, "score of every\ncandidate × item", True),
    "learning": (2, -1.45, "which questions\nto label next", True),
    "metrics": (3, 2.2, "one number per\nlayer and mask", False),
    "quality": (3, -0.24, "mean score,\nnoise ceiling", False),
    "budget": (4, -0.2, "value of labels,\nwhich to buy", False),
    "shots": (3, -1, "sets of k, and\nwhich to ship", True),
    "selection": (4, 1.5, "gain of each\nselector", False),
    "correlation": (4, 0.6, "ρ, intervals,\ncorrected p", False),
    "plots": (5, 1, "PNG, SVG", False),
    "report": (6, 1, "pages, verdict,\nrun record", False),
}
BOX = (0.8, 0.52)
BENT = {("learning", "report"): 0.4, ("shots", "report"): 0.3, ("evaluation", "budget"): 0.4}  # around a box


def rule_graph() -> nx.DiGraph:
    """The rules of the default study and what each waits for, as Snakemake sees them."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "dot"]
    dot = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', dot))
    return nx.DiGraph((names[first], names[then]) for first, then in re.findall(r"(\d+) -> (\d+)", dot))


def stage_graph() -> nx.DiGraph:
    """The stages, which are the files of workflow/rules, without edges that a longer way implies."""
    stage = {
        rule: file.stem
        for file in (ROOT / "workflow/rules").glob("*.smk")
        for rule in re.findall(r"^(?:rule|checkpoint) (\w+):", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    edges = {(stage[a], stage[b]) for a, b in rule_graph().edges if a in stage and b in stage}
    return nx.transitive_reduction(nx.DiGraph(sorted((a, b) for a, b in edges if a != b)))


@styled
def draw_stages(graph: nx.DiGraph) -> Figure:
    """The stages as boxes, from left to right."""
    figure = new_figure(height=4.0)
    axes = figure.subplots()
    axes.set(xlim=(-0.44, 6.44), ylim=(-1.9, 2.5))
    axes.axis("off")
    for name in sorted(graph.nodes):
        _stage(axes, name)
    for first, then in sorted(graph.edges):
        (x, y, *_), (u, v, *_) = STAGES[first], STAGES[then]
        ends = (x + BOX[0] / 2, y), (u - BOX[0] / 2, v)
        way = f"arc3,rad={BENT.get((first, then), 0)}"
        look = {"arrowstyle": "-|>", "mutation_scale": 7, "color": GREY, "lw": 0.8, "shrinkA": 1, "shrinkB": 1}
        axes.add_patch(FancyArrowPatch(*ends, connectionstyle=way, **look))
    note = "blue: runs a model; an arrow is left out where a longer way implies it"
    axes.text(3, -1.83, note, ha="center", color=GREY, size=6.5)
    return figure


def _stage(axes: Axes, name: str) -> None:
    x, y, text, runs_model = STAGES[name]
    width, height = BOX
    look = {"facecolor": "#e3eef6", "edgecolor": BLUE} if runs_model else {"facecolor": UNSEEN, "edgecolor": GREY}
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.06", lw=0.8, **look))
    axes.text(x, y + 0.13, name, ha="center", va="center", weight="bold", size=min(7.5, 86 / len(name)), color=INK)
    axes.text(x, y - 0.08, text, ha="center", va="center", size=6, color=INK, linespacing=1.1)


@styled
def draw_masks() -> Figure:
    """A panel per registered mask: which tokens (rows) see which (columns) in a small demonstration."""
    columns = 3
    rows = -(-len(MASKS) // columns)
    figure = new_figure(height=2.5 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(MASKS) :]:
        axes.axis("off")
    for axes, (name, mask) in zip(panels.flat, MASKS.items(), strict=False):
        _mask_panel(axes, name, mask(EXAMPLE))
    marks = {"sees a token of the question": "question", "sees a token of the answer": "answer"}
    handles = [
        Line2D([], [], ls="", marker="s", ms=6, color=KEY_COLOURS[part], label=label)
        for label, part in {**marks, "sees the first token": "neither"}.items()
    ]
    handles.append(Line2D([], [], ls="", marker="s", ms=6, color=UNSEEN, mec=PALE, label="does not see it"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _mask_panel(axes: Axes, name: str, allowed: np.ndarray) -> None:
    part = np.ones(EXAMPLE.tokens, dtype=int)
    part[slice(*EXAMPLE.question)] = 2
    part[slice(*EXAMPLE.answer)] = 3
    colours = ListedColormap([UNSEEN, *KEY_COLOURS.values()])
    places = np.arange(EXAMPLE.tokens)
    axes.imshow(allowed * part, cmap=colours, vmin=0, vmax=3, interpolation="none")
    axes.hlines(places[1:] - 0.5, -0.5, EXAMPLE.tokens - 0.5, color="white", lw=1)
    axes.vlines(places[1:] - 0.5, -0.5, EXAMPLE.tokens - 0.5, color="white", lw=1)
    axes.set(title=name, xticks=places, yticks=places)
    axes.set_xticklabels(PROMPT, rotation=90, size=6)
    axes.set_yticklabels(PROMPT, size=6)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, kind in zip(labels, part, strict=True):
            label.set_color(list(KEY_COLOURS.values())[kind - 1])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw(folder: Path) -> None:
    """Write every picture into a folder, as PNG and SVG."""
    save(draw_stages(stage_graph()), folder / "stages")
    save(draw_masks(), folder / "masks")


if __name__ == "__main__":
    draw(ROOT / "docs/images")
