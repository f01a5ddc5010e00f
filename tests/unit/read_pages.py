"""Pages of a report as their tests ask of them."""

from html.parser import HTMLParser

import synthetic
import synthetic_pages


class Page(HTMLParser):
    """What the tests ask of a page: its elements with attributes, and its visible text."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.words, self.scripts, self.hidden = [], [], "", ""
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).replace("\xa0", " ").split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.hidden = tag if tag in ("style", "script") else self.hidden

    def handle_endtag(self, tag):
        self.hidden = "" if tag == self.hidden else self.hidden

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)
        elif self.hidden == "script":
            self.scripts += data

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


def build(folder, tables, **options):
    """Write every page as the workflow would; returns the data set's page and the index."""
    files = synthetic_pages.build(folder, tables, synthetic.SMALL, **options)
    return Page(files["page"]), Page(files["index"])
