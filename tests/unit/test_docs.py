"""The documents say what the code does: settings and names are described, links and files exist, pictures are new."""

import importlib
import importlib.util
import re
import tomllib
from functools import reduce

import pytest
import yaml

import iclscope
from documents import CONFIG_README, DOCUMENTS, README, ROOT, all_blocks, blocks, prose, rows
from iclscope.activations.masks import MASKS
from iclscope.runtime.configuration import registries

PACKAGE = ROOT / "workflow/scripts/iclscope"
LAYOUT = DOCUMENTS["docs/explanation/layout.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SCHEMA_FILE = ROOT / "workflow/schemas/config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8"))
FREE_KEYS = {"models", "datasets", "saes"}  # their keys are names of the user's choice


def load_pictures():
    """The script that draws the pictures, as a module."""
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs/pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(node, path=()):
    """Path → schema of all settings; `*` stands for a key of the user's choice."""
    inside = dict(node.get("properties", {}))
    for part in node.get("allOf", []):
        inside = {**part["then"].get("properties", {}), **inside}
    if path and path[-1] in FREE_KEYS:
        inside["*"] = node["additionalProperties"]
    found = {}
    for key, value in inside.items():
        found |= leaves(value, (*path, key)) if value is not True else {}
    return found or {".".join(path): node}


SETTINGS = [cells for cells in rows(CONFIG_README) if len(cells) == 5]
NAMES = [cells[0].strip("`") for cells in rows(CONFIG_README) if len(cells) in (2, 3)]


def test_every_setting_has_a_row_and_every_row_is_a_setting():
    described = [cells[0].strip("`") for cells in SETTINGS]
    assert len(described) == len(set(described))
    assert set(described) == leaves(SCHEMA).keys()


def _resolved(node):
    """A schema, or what it refers to."""
    return SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def test_ranges_are_those_of_the_schema():
    schemas = leaves(SCHEMA)
    for name, _, allowed, _, _ in SETTINGS:
        node = schemas[name.strip("`")]
        node = _resolved(node)
        values = [node[limit] for limit in ("minimum", "exclusiveMinimum", "maximum") if limit in node]
        values += [*node.get("enum", []), *_resolved(node.get("items", {})).get("enum", [])]
        for value in values:
            listed = "any of the list below" in allowed or str(value) in allowed.replace(",", "")
            assert listed, f"{name}: {value} is not in {allowed!r}"


def test_defaults_are_those_of_the_default_study(default_config):
    for name, _, _, default, _ in SETTINGS:
        if "*" in name or name.startswith(("`pathvars", "`plan")) or default.startswith("not set"):
            continue
        value = reduce(lambda mapping, key: mapping[key], name.strip("`").split("."), default_config)
        if name == "`masks`":
            assert (default, len(value)) == ("all six", len(MASKS))
        else:
            assert default == (", ".join(map(str, value)) if isinstance(value, list) else str(value)), name


def test_sizes_are_those_of_the_default_study(default_config):
    for name, _, _, default, _ in SETTINGS:
        path = name.strip("`").split(".")
        if path[0] != "datasets":
            continue
        for entry in default_config["datasets"].values():
            value = reduce(lambda mapping, key: (mapping or {}).get(key), path[2:], entry)
            if isinstance(value, int):
                assert str(value) in re.findall(r"\d+", default), name


@pytest.mark.parametrize(("section", "registry"), registries.REGISTRIES.items())
def test_every_registered_name_is_described(section, registry):
    assert set(registries.registered(*registry)) - set(NAMES) == set(), section


def test_readers_and_targets_are_described():
    readers = importlib.import_module("iclscope.sources.readers").READERS
    assert all(f"`{reader}`" in CONFIG_README for reader in readers)
    assert set(_resolved(leaves(SCHEMA)["quality.targets"]["items"])["enum"]) <= set(NAMES)


def anchors(name):
    """What `#…` may follow the name of a document: its headings as GitHub turns them into ids."""
    headings = re.findall(r"^#+ (.+)$", prose(name), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(name):
    """(path from the root, anchor) of every relative link and image of a document."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if not re.match(r"https?:", target):
            file, _, anchor = target.partition("#")
            path = (ROOT / name).parent / file if file else ROOT / name
            yield path.resolve().relative_to(ROOT.resolve()).as_posix(), anchor


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_and_images_exist(document):
    for path, anchor in links(document):
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


def test_every_document_is_found_from_the_readme():
    found, waiting = set(), {"README.md"}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= {path for path, _ in links(name) if path in DOCUMENTS} - found
    assert {name for name in DOCUMENTS if not name.startswith(".github")} == found


def test_the_readme_is_short():
    assert README.count("\n") <= 200


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document):
    text = DOCUMENTS[document]
    for path in re.findall(r"(?<![\w/{}-])(?:workflow|tests|docs|envs|profiles|\.github)/[\w./-]*\w", text):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"\btest_\w+\.py\b", text):
        assert list((ROOT / "tests").rglob(name)), name


def test_folders_exist_or_are_made():
    made = {line.strip("/\n") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()}
    table = LAYOUT.partition("\n## Folders\n")[2].partition("\n## ")[0]
    assert rows(table)
    for cells in rows(table):
        for folder in re.findall(r"`([^`]+)`", cells[0]):
            assert (ROOT / folder).is_dir() or folder.strip("/") in made, folder


def test_rooms_are_those_of_the_package():
    table = LAYOUT.partition("\n## Fifteen rooms\n")[2].partition("\n## ")[0]
    rooms = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    alone = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert {cells[0].strip("`") for cells in rows(table)} == rooms | alone
    assert len(rooms) == 15


def test_layers_are_those_that_are_enforced():
    (layers,) = [c["layers"] for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    (written,) = [block.split("\n") for block in blocks(LAYOUT, "text")]
    assert written[:-1] == layers


def test_diagram_shows_the_stages_of_the_workflow_and_pictures_are_up_to_date(tmp_path):
    pictures = load_pictures()
    ((_, diagram),) = all_blocks("mermaid")
    arrows = re.findall(r"^  (\w+)\S*.* --> (\w+)", diagram, re.MULTILINE)
    assert set(arrows) == set(pictures.stage_graph().edges)
    pictures.draw(tmp_path)
    for new in tmp_path.glob("*.svg"):
        saved = ROOT / "docs/images" / new.name
        assert saved.read_bytes() == new.read_bytes(), f"{saved} is out of date: run docs/pictures.py"


def test_pictures_are_small():
    for picture in (ROOT / "docs/images").iterdir():
        assert picture.stat().st_size < 300_000, picture


def test_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == iclscope.__version__


def tables_of(text):
    """Every table of a document: a mapping from column to cells for each."""
    found = []
    for table in re.findall(r"^\|.+\|\n\|[-|]+\n(?:\|.+\|\n)+", text, re.MULTILINE):
        header, _, *body = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
        found.append(dict(zip(header, zip(*body, strict=True), strict=True)))
    return found


def columns_of(name):
    """Every cell of a column of the tables of planted truth, as numbers; empty cells left out."""
    tables = tables_of(DOCUMENTS["docs/explanation/truth.md"])
    return [float(cell) for table in tables for cell in table.get(name, ()) if cell]


def test_tables_of_planted_truth_keep_what_is_promised():
    assert max(columns_of("false claim")) <= 0.07
    assert max(columns_of("error")) <= 0.07
    covered = [*columns_of("rho covered"), *columns_of("without noise covered"), *columns_of("covered")]
    assert len(covered) > 50
    assert min(covered) >= 0.90
    (useless,) = (t for t in tables_of(DOCUMENTS["docs/explanation/truth.md"]) if "no use" in t and "alpha" in t)
    assert max(float(n) for n, rho in zip(useless["no use"], useless["rho"], strict=True) if rho == "0.300") <= 0.05
    assert min(columns_of("coverage")) >= 0.90
