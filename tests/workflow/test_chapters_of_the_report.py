"""A figure of the report is added in one file: drawn, made by its rule, listed and captioned."""

import re
import zipfile
from pathlib import Path

CHAPTER = "workflow/scripts/iclscope/report/chapters/selection.py"
FIGURE = '''

def _caption_of_cost(results: Results) -> Caption:
    return Caption("Gain against cost", f"{results.selection.height} rows.", "A dot for each selector and target.")


@CHAPTER.figure("gain against cost", tables=("selection",), caption=_caption_of_cost)
def gain_by_cost(results: Results) -> Figure:
    """Gain of every selector against what it reads."""
    figure = new_figure(height=2.0)
    figure.subplots().plot(results.selection["cost"], results.selection["gain"], "o")
    return figure
'''


def test_a_figure_is_added_in_the_file_of_its_chapter(study):
    path = study.folder / CHAPTER
    path.write_text(path.read_text() + FIGURE)
    assert study.planned() == {"plots": 2, "page": 2, "index": 1, "manifest": 1}
    study.run()
    assert study.planned() == {}
    for data in ("animals", "sums"):
        assert {".png", ".svg"} == {
            file.suffix for file in study.folder.glob(f"results/plots/tiny/{data}/gain_by_cost.*")
        }
        page = (study.folder / f"results/report/{data}.html").read_text()
        own = page[page.index('<h3 id="selection-1"') : page.index('<h3 id="reliability-1"')]
        assert re.findall('<figure id="(.*?)"', own) == ["selector_gain-1", "gain_by_cost-1"]
        assert "Gain against cost" in own
    study.run("--report", "report.zip")
    with zipfile.ZipFile(study.folder / "report.zip") as archive:
        assert "gain against cost" in archive.read("report/report.html").decode()
        assert "gain_by_cost.png" in {Path(name).name for name in archive.namelist()}
