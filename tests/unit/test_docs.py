"""The documents say what the code does: settings and names are described, links and commands exist, snippets run."""

import importlib
import importlib.util
import json
import re
from functools import reduce
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

import iclscope
import truth
from iclscope import tables
from iclscope.activations.masks import MASKS, Segments
from iclscope.runtime import settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIG_README = (ROOT / "config/README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    "README.md",
    "config/README.md",
    "docs/cluster.md",
    "docs/faults.md",
    "docs/truth.md",
    "CHANGELOG.md",
]
SCHEMA_FILE = ROOT / "workflow/schemas/config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8"))
FREE_KEYS = {"models", "datasets"}  # their keys are names of the user's choice


def load_pictures():
    """The script that draws the pictures, as a module."""
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs/pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(text, language):
    """The code blocks of a language, without the lists' indentation."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


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


def rows(text):
    """Cells of every table row that opens with a name in code marks."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in cells] for cells in lines]


SETTINGS = [cells for cells in rows(CONFIG_README) if len(cells) == 5]
NAMES = [cells[0].strip("`") for cells in rows(CONFIG_README) if len(cells) in (2, 3)]


def test_every_setting_has_a_row_and_every_row_is_a_setting():
    described = [cells[0].strip("`") for cells in SETTINGS]
    assert len(described) == len(set(described))
    assert set(described) == leaves(SCHEMA).keys()


def test_ranges_are_those_of_the_schema():
    schemas = leaves(SCHEMA)
    for name, _, allowed, _, _ in SETTINGS:
        node = schemas[name.strip("`")]
        node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        values = [node[limit] for limit in ("minimum", "exclusiveMinimum", "maximum") if limit in node]
        values += [*node.get("enum", []), *node.get("items", {}).get("enum", [])]
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
            assert default == (", ".join(value) if isinstance(value, list) else str(value)), name


def test_sizes_are_those_of_the_default_study(default_config):
    for name, _, _, default, _ in SETTINGS:
        path = name.strip("`").split(".")
        if path[0] != "datasets":
            continue
        for entry in default_config["datasets"].values():
            value = reduce(lambda mapping, key: (mapping or {}).get(key), path[2:], entry)
            if isinstance(value, int):
                assert str(value) in re.findall(r"\d+", default), name


@pytest.mark.parametrize(("section", "registry"), settings.REGISTRIES.items())
def test_every_registered_name_is_described(section, registry):
    assert set(settings.registered(*registry)) - set(NAMES) == set(), section


def test_readers_and_targets_are_described():
    readers = importlib.import_module("iclscope.sources.readers").READERS
    assert all(f"`{reader}`" in CONFIG_README for reader in readers)
    assert set(leaves(SCHEMA)["quality.targets"]["items"]["enum"]) <= set(NAMES)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_and_images_exist(document):
    path = ROOT / document
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if re.match(r"https?:", target):
            continue
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings], target


def test_folders_exist_or_are_made():
    made = {line.strip("/\n") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()}
    table = README.partition("\n## Folders\n")[2].partition("\n## ")[0]
    for cells in rows(table):
        for folder in re.findall(r"`([^`]+)`", cells[0]):
            assert (ROOT / folder).is_dir() or folder.strip("/") in made, folder


def test_commands_exist():
    commands = [line for block in blocks(README, "sh") for line in block.splitlines()]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in commands:
        words = line.partition("#")[0].split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        if words[:3] == ["pip", "install", "-r"]:
            assert (ROOT / words[3]).is_file(), line
    assert {"make study", "make test"} <= {line.partition("#")[0].strip() for line in commands}


def test_settings_in_the_readme_are_valid(default_config):
    for text in blocks(README, "yaml"):
        block = yaml.safe_load(text)
        if "task" in block:  # a task file
            continue
        config = {**default_config, **block}
        for section in FREE_KEYS:
            config[section] = {**default_config[section], **block.get(section, {})}
        settings.check(config, SCHEMA_FILE)


def test_the_task_file_in_the_readme_works(tmp_path):
    from iclscope.tasks import harness, rendering

    (text,) = [block for block in blocks(README, "yaml") if "\ntask:" in block]
    task = yaml.safe_load(text)["task"]
    (tmp_path / f"{task}.yaml").write_text(text, encoding="utf-8")
    row = json.loads(re.search(r"\{.*\}", text.splitlines()[0])[0])
    rendered = rendering.render(harness.load_task(task, tmp_path, {"train": [row]}, "datasets.x"), row)
    assert rendered["question"] == "Question: What is the capital of Peru?\nAnswer:"
    assert (rendered["choices"], rendered["gold"]) == (["Lima", "Cusco"], 0)


def additions():
    """Module → the function that the README adds to it."""
    snippets = [block.split("\n", 1) for block in blocks(README, "python") if block.startswith("# workflow/")]
    return {Path(first.removeprefix("# ")).stem: code for first, code in snippets}


def test_additions_in_the_readme_work(monkeypatch):
    registries = {"masks": "MASKS", "metrics": "METRICS_BY_NAME", "selectors": "REGISTRY"}
    assert additions().keys() == registries.keys()
    for name, code in additions().items():
        module = importlib.import_module(f"iclscope.{name}")
        before = getattr(module, registries[name])
        monkeypatch.setattr(module, registries[name], dict(before))
        exec(code, dict(vars(module)))
        (new,) = getattr(module, registries[name]).keys() - before.keys()
        entry = getattr(module, registries[name])[new]
        if name == "masks":
            allowed = entry(Segments(6, (1, 4), (4, 6)))
            assert allowed.tolist() == [[j in range(i - 3, i + 1) for j in range(6)] for i in range(6)]
        elif name == "metrics":
            columns = {"max_abs": np.array([4.0, 3.0]), "mean_abs": np.array([2.0, 1.0])}
            stats = module.TokenStatistics(columns, np.zeros(2, int), np.array([0]), np.array([2]), np.array([8.0]))
            assert entry.function(stats).tolist() == [2.5]
        else:
            features = pl.DataFrame({"answer_nll": [0.5, 2.0, 1.0]})
            materials = module.Materials(features, *np.empty((2, 0, 0)), [], [], np.empty((0, 3)), np.array([]))
            assert entry.prefer(materials, None, np.random.default_rng(0)).argmax() == 0


def fill(table, rows_of_keys):
    """A frame of a table with given columns; the others are empty, or zero where they must not be."""
    frame = pl.DataFrame(rows_of_keys)
    for column in table.columns:
        if column.name not in frame.columns:
            frame = frame.with_columns(pl.lit(None if column.nullable else 0).alias(column.name))
    return frame.select(table.schema.names()).cast(dict(table.schema))


def write_activations(results):
    """Activations of two candidates, as statistics and whole, of the width that the snippets expect."""
    vector, key = np.ones(576, np.float16), {"site": "resid", "layer": 12, "candidate": [0, 1]}
    lists = {c.name: [[0.0]] * 2 for c in tables.ACTIVATIONS.columns if isinstance(c.dtype, pl.List)}
    lists |= {"mean_vector": [vector] * 2, "last_vector": [vector] * 2}
    path = results / "activations/smollm2-135m/boolq/causal.parquet"
    tables.ACTIVATIONS.write(fill(tables.ACTIVATIONS, {**key, **lists}), path, {})
    key |= {"candidate": [0, 0, 1], "position": [0, 1, 0], "vector": [vector] * 3}
    path = results / "token_activations/smollm2-135m/boolq/causal.parquet"
    tables.TOKEN_ACTIVATIONS.write(fill(tables.TOKEN_ACTIVATIONS, key), path, {})


def test_snippets_that_read_results_run(tmp_path, monkeypatch, capsys):
    key = {"target": "margin", "family": "activation", "mask": "causal", "site": "resid", "layer": 3, "pooling": "all"}
    signals = [{**key, "metric": "mean", "rho": 0.2}, {**key, "metric": "massive", "rho": None}]
    record = {"settings": {}, "git_commit": "unknown", "versions": {}, "inputs": {}}
    path = tmp_path / "results/correlation/smollm2-135m/boolq.parquet"
    tables.CORRELATION.write(fill(tables.CORRELATION, signals), path, record)
    write_activations(tmp_path / "results")
    for job in ("evaluation/smollm2-135m-boolq", "run_record"):
        file = tmp_path / f"benchmarks/{job}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"s": 2.5, "max_rss": 400.0}\n')
    monkeypatch.chdir(tmp_path)
    for code in blocks(README, "python"):
        if not code.startswith("# workflow/"):
            exec(code, {})
    printed = capsys.readouterr().out
    shapes = "(2, 576) float16", "0 0 torch.Size([3, 576])"
    for wanted in ("resid", "p corrected for its whole family, Westfall-Young maxT", "evaluation", *shapes):
        assert wanted in printed


def test_diagram_shows_the_stages_of_the_workflow_and_pictures_are_up_to_date(tmp_path):
    pictures = load_pictures()
    (diagram,) = blocks(README, "mermaid")
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


def test_tables_of_planted_truth_keep_what_is_promised():
    correlation, null, selection, _ = tables_of((ROOT / "docs/truth.md").read_text(encoding="utf-8"))
    assert len(correlation["coverage"]) == len(truth.CANDIDATES) * len(truth.ALPHA) * len(truth.RHO)
    assert all(0.90 <= float(share) <= 0.98 for share in correlation["coverage"])
    assert len(null["family-wise error"]) == len(truth.CANDIDATES) * len(truth.ALPHA)
    assert all(float(share) <= 0.07 for share in null["family-wise error"])
    assert all(float(share) >= 0.90 for share in selection["coverage"])
