"""What chapters of the report are made of: figures with captions, and tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from iclscope.report.style import styled
from iclscope.verdict.results import Results


@dataclass(frozen=True)
class Caption:
    """Title and caption of a figure, and the text for those who cannot see it."""

    title: str
    text: str
    alt: str


@dataclass(frozen=True)
class Sheet:
    """A table to be set: caption, header, rows of text; columns other than `words` (by index) hold numbers."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)


@dataclass(frozen=True)
class SaeFiles:
    """The tables of a sparse autoencoder: its training, and its features against quality."""

    training: str | Path
    screen: str | Path


@dataclass(frozen=True)
class Material:
    """What the tables of a chapter are made from, for one model on one data set.

    candidates: the sample; selectors: the verdict's entry of each in the primary target, for those that have one;
    massive: the table of massive activations, where there is one; picks: lines of the file of demonstrations to ship;
    saes: name → tables of every sparse autoencoder; learning: tables of sets, budgets and learning curves by name,
    where there are any.
    """

    results: Results
    candidates: pl.DataFrame
    selectors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    massive: str | Path | None = None
    picks: Sequence[Mapping[str, Any]] = ()
    saes: Mapping[str, SaeFiles] = field(default_factory=dict)
    learning: Mapping[str, str | Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A figure that not every study has, drawn for the page alone: the files that it is drawn from are `tables`."""

    name: str
    figure: Figure
    caption: Caption
    tables: Sequence[str | Path]


@dataclass(frozen=True)
class Drawing:
    """A figure of a chapter: how it is drawn and captioned, and the names of the tables that it is drawn from.

    name: of its files; label: what Snakemake's report lists it as.
    """

    name: str
    label: str
    draw: Callable[[Any], Figure]
    caption: Callable[..., Caption]
    tables: Sequence[str]


@dataclass(frozen=True)
class Chapter:
    """A part of the report, which figures and tables join by decorators; it stands where it has any content.

    name: its place in the page's address; short: in the contents; note: a sentence under the title, where there are
    figures or tables; explores: whether it leads to the explorer of all candidates.
    """

    name: str
    short: str
    title: str
    note: str = ""
    explores: bool = False
    figures: list[Drawing] = field(default_factory=list)
    sheets: list[Callable[[Material], Sheet | None]] = field(default_factory=list)
    pictures: list[Callable[[Material], Picture | None]] = field(default_factory=list)
    remarks: list[Callable[[Material], str | None]] = field(default_factory=list)

    def figure(
        self, label: str, *, tables: Sequence[str], caption: Callable[..., Caption]
    ) -> Callable[[Callable[[Any], Figure]], Callable[[Any], Figure]]:
        """Give the chapter a figure under the name of its function, in the look of all figures.

        Rules read function and label from the text of the file, so write both out there.
        """

        def add(draw: Callable[[Any], Figure]) -> Callable[[Any], Figure]:
            looks = styled(draw)
            self.figures.append(Drawing(draw.__name__, label, looks, caption, tables))
            return looks

        return add

    def picture(self, make: Callable[[Material], Picture | None]) -> Callable[[Material], Picture | None]:
        """Give the chapter a figure of its page, in the look of all; a function that returns None leaves it out."""
        looks = styled(make)
        self.pictures.append(looks)
        return looks

    def sheet(self, make: Callable[[Material], Sheet | None]) -> Callable[[Material], Sheet | None]:
        """Give the chapter a table; a function that returns None leaves it out."""
        self.sheets.append(make)
        return make

    def remark(self, make: Callable[[Material], str | None]) -> Callable[[Material], str | None]:
        """Give the chapter a sentence on what a data set does not have; a function that returns None has none."""
        self.remarks.append(make)
        return make
