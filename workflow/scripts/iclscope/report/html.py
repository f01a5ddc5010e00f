"""How every page of the report is put together: templates, and the scripts inside it, which may run while no other may.

A page loads nothing from a network and runs no script but ours and the libraries of the folder `vendor`: its content
security policy names the digest of each, so that text of a candidate that were taken for a script would still not run.
"""

import base64
import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import iclscope
from iclscope.runtime.files import write_text
from iclscope.verdict.wording import unbroken

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parent
ASSETS = ("templates", "vendor")  # data folders, whose files count for the code digest of every page

TABLES = ("dataTables.min.js", "page.js")  # tables that sort and filter, figures that can be saved
CHARTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")

NUMBER = re.compile(r"^[<+−-]* ?[\d,]*\.?\d+")


def render(template: str, output: str | Path, scripts: Sequence[str], **context: Any) -> None:
    """Write a page from a template; scripts: file names in the package's folders, in the order in which they run."""
    environment = Environment(
        loader=FileSystemLoader(PACKAGE / ASSETS[0]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"unbroken": unbroken, "order": order}
    sources = [_source(name) for name in scripts]
    page = environment.get_template(template).render(
        question=iclscope.__doc__,
        policy=policy(sources),
        scripts=sources,
        licences=(PACKAGE / "vendor/licences.txt").read_text(encoding="utf-8"),
        **context,
    )
    write_text(output, page)
    logger.info("%s: %.1f MB", output, len(page.encode()) / 1e6)


def policy(sources: Sequence[str]) -> str:
    """A content security policy: pictures that the page carries, and these scripts; no network, no other script."""
    digests = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii") for source in sources]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src {allowed}"
    )


def order(cell: str) -> str:
    """What a cell of a table is sorted by: its first number, else nothing; `< 0.001` comes before `0.001`."""
    found = NUMBER.match(cell)
    if not found:
        return ""
    number = found[0].replace("−", "-").replace(",", "").lstrip("<+ ")
    return f"{float(number) / 2:g}" if cell.startswith("<") else number


def data_address(picture: bytes) -> str:
    """An SVG as an address that carries it; a picture, unlike markup in the page, can run no script."""
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode('ascii')}"


def _source(name: str) -> str:
    (file,) = (path for folder in ASSETS if (path := PACKAGE / folder / name).is_file())
    source = file.read_text(encoding="utf-8")
    assert not re.search("</script|<!--", source), f"{name} would end its own element"
    return source
