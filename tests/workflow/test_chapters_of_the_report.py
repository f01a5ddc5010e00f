"""A figure of the report is added in one file: drawn, made by its rule, listed and captioned."""

import html
import re
import zipfile
from pathlib import Path

from documents import DOCUMENTS, blocks

(FIGURE,) = blocks(DOCUMENTS["docs/how-to/figure.md"], "python")  # opens with the file that it is added to


def test_a_figure_is_added_in_the_file_of_its_chapter(study):
    path = study.folder / FIGURE.splitlines()[0].removeprefix("# ")
    path.write_text(f"{path.read_text()}\n\n{FIGURE}")
    assert study.planned() == {"plots": 2, "page": 2, "index": 1, "manifest": 1}
    study.run()
    assert study.planned() == {}
    for data in ("animals", "sums"):
        assert {".png", ".svg"} == {
            file.suffix for file in study.folder.glob(f"results/plots/tiny/{data}/gain_by_cost.*")
        }
        page = (study.folder / f"results/report/{data}.html").read_text()
        own = page[page.index('<h3 id="selection-1"') : page.index('<h3 id="price-1"')]
        assert re.findall('<figure id="(.*?)"', own) == ["selector_gain-1", "gain_by_pool-1", "gain_by_cost-1"]
        assert "What a selector's gain costs" in html.unescape(own)
    study.run("--report", "report.zip")
    with zipfile.ZipFile(study.folder / "report.zip") as archive:
        assert "gain against cost" in archive.read("report/report.html").decode()
        assert "gain_by_cost.png" in {Path(name).name for name in archive.namelist()}
