"""The project's documents and what stands in them, for the tests that hold them to the code."""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "config/*.md", "docs/**/*.md", ".github/**/*.md")
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for place in PLACES
    for path in sorted(ROOT.glob(place))
}
README, CONFIG_README = DOCUMENTS["README.md"], DOCUMENTS["config/README.md"]
EXTENSION = "# config/extensions/"  # opens code that is a file of the user's own
ADDITION = "# workflow/scripts/"  # opens code that is added to a file of the package
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(text, language):
    """The code blocks of a language, without the lists' indentation."""
    return [textwrap.dedent(code) for _, found, code in FENCE.findall(text) if found == language]


def all_blocks(language):
    """(document, code block) of all documents."""
    return [(name, block) for name, text in DOCUMENTS.items() for block in blocks(text, language)]


def prose(name):
    """A document without its code blocks."""
    return FENCE.sub("", DOCUMENTS[name])


def rows(text):
    """Cells of every table row that opens with a name in code marks."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in cells] for cells in lines]
