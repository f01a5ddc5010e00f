"""What the documents show runs: commands exist, settings are valid, and every snippet of code does what it says."""

import ast
import importlib
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import yaml
from lm_eval._cli.harness import HarnessCLI
from snakemake.cli import get_argument_parser

from documents import ADDITION, DOCUMENTS, EXTENSION, README, ROOT, all_blocks, blocks, rows
from iclscope import tables
from iclscope.__main__ import parser
from iclscope.activations.masks import Segments
from iclscope.runtime.configuration import checks
from shot_studies import Study

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SCHEMA_FILE = ROOT / "workflow/schemas/config.schema.yaml"
FREE_KEYS = {"models", "datasets"}  # their keys are names of the user's choice


def commands():
    """Every line of shell that a document shows, in a block or in its text, without remarks."""
    shown = [line for _, block in all_blocks("sh") for line in block.splitlines()]
    shown += re.findall(r"`((?:make|snakemake) [^`…]+)`", "".join(DOCUMENTS.values()))
    return [line.partition(" #")[0].strip() for line in shown]


def missing_targets(lines):
    """What `make` is called with in some lines of shell and the Makefile does not have."""
    called = {target for line in lines for target in re.findall(r"(?:^|&& )make ([\w-]+)", line)}
    return {target for target in called if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)}


def test_commands_exist():
    for line in commands():
        words = line.split()
        if words[:3] == ["pip", "install", "-r"]:
            assert (ROOT / words[3]).is_file(), line
    assert missing_targets(commands()) == set()
    assert {"make study", "make test"} <= set(re.findall(r"^make \w+", "".join(blocks(README, "sh")), re.MULTILINE))


def new_study():
    """The folder that `new` writes where it is not told another, if a document calls it."""
    assert any(line.startswith("python -m iclscope new ") and "--folder" not in line for line in commands())
    return Path(parser().parse_args(["new", "questions.csv"]).folder)


def test_new_takes_the_commands_as_they_are_meant(capsys):
    called = [line for line in commands() if line.startswith("python -m iclscope new ")]
    for line in called:
        chosen = parser().parse_args(shlex.split(line)[3:])
        assert Path(chosen.file).suffix in (".csv", ".jsonl", ".json", ".parquet"), line
    assert len(called) >= 4
    with pytest.raises(SystemExit):
        parser().parse_args(["new", "--help"])
    known = re.findall(r"^  (--\w+)", capsys.readouterr().out, re.MULTILINE)
    assert re.findall(r"^\| `(--\w+) [A-Z]+` ", DOCUMENTS["docs/reference/command-line.md"], re.MULTILINE)[-5:] == known


def test_snakemake_takes_the_commands_as_they_are_meant():
    for line in commands():
        if line.startswith("snakemake "):
            options = get_argument_parser().parse_args(shlex.split(line)[1:])
            for file in options.configfile:
                made = f"cp config/config.yaml {file}" in commands() or Path(file) == new_study() / "config.yaml"
                assert (ROOT / file).is_file() or made, line
            assert (ROOT / (options.workflow_profile or "profiles/default")).is_dir(), line
            wanted = {*options.targets, *(options.until or []), *(options.forcerun or [])} - {"RULE"}
            assert {one for one in wanted if not re.match(r"results(-\w+)?/", one)} <= every_rule(), line


def test_what_ci_and_hooks_call_exists():
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    lines = [line for job in ci["jobs"].values() for step in job["steps"] for line in step.get("run", "").splitlines()]
    assert missing_targets(lines) == set()
    tests = [path for line in lines for path in re.findall(r"\btests/[\w./]+", line)]
    assert {"tests/unit", "tests/workflow/test_study.py"} <= set(tests)
    assert [path for path in tests if not (ROOT / path).exists()] == []
    assert PROJECT["project"]["requires-python"] == f">={ci['jobs']['unit']['strategy']['matrix']['python'][0]}"
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    programs = {Path(hook["entry"].split()[0]).name.replace("lint-imports", "import-linter") for hook in hooks}
    assert programs <= {pin.partition("==")[0] for pin in PROJECT["project"]["optional-dependencies"]["test"]}


def every_rule():
    """Names of the workflow's rules."""
    files = (ROOT / "workflow/rules").glob("*.smk")
    return {
        rule
        for file in files
        for rule in re.findall(r"^(?:use )?(?:rule|checkpoint) (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }


def test_commands_of_the_package_are_described(capsys):
    from iclscope.__main__ import main

    with pytest.raises(SystemExit):
        main(["--help"])
    (known,) = re.findall(r"\{([\w,]+)\}", capsys.readouterr().out)[:1]
    table = DOCUMENTS["docs/reference/command-line.md"]
    assert set(re.findall(r"^\| `python -m iclscope (\w+)", table, re.MULTILINE)) == set(known.split(","))
    called = re.findall(r"python -m iclscope (\w+)", "".join(DOCUMENTS.values()))
    assert set(called) <= set(known.split(","))


def test_make_targets_are_described():
    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    described = re.findall(r"^\| `make (\w+)`", DOCUMENTS["docs/reference/command-line.md"], re.MULTILINE)
    assert set(described) == set(phony.split()) - {"help"}


def without_own_pieces(config, document):
    """The configuration without masks, metrics, poolings and selectors that the document itself defines."""
    own = {name for code in extensions(document).values() for name in decorated(code)}
    config["masks"] = [name for name in config["masks"] if name not in own]
    for section, key in (("metrics", "poolings"), ("metrics", "names"), ("selection", "selectors")):
        config[section] = {**config[section], key: [name for name in config[section][key] if name not in own]}
    return config


def test_settings_in_the_documents_are_valid(default_config):
    checked = 0
    for document, text in all_blocks("yaml"):
        block = yaml.safe_load(text)
        if "task" in block:  # a task file
            continue
        config = {**default_config, **block}
        for section in (*FREE_KEYS, "saes"):
            config[section] = {**default_config[section], **block.get(section, {})}
        checks.check(without_own_pieces(config, document), SCHEMA_FILE)
        checked += 1
    assert checked >= 9


def test_the_readmes_own_study_has_models_and_data_sets_of_its_own(default_config):
    (text,) = blocks(README, "yaml")
    study = yaml.safe_load(text)
    assert study.keys() == {*FREE_KEYS, "pathvars"}
    checks.check({**default_config, **study}, SCHEMA_FILE)


def test_the_task_file_in_the_documents_works(tmp_path):
    from iclscope.tasks import harness, rendering

    (text,) = [block for _, block in all_blocks("yaml") if "\ntask:" in block]
    task = yaml.safe_load(text)["task"]
    (tmp_path / f"{task}.yaml").write_text(text, encoding="utf-8")
    row = json.loads(re.search(r"\{.*\}", text.splitlines()[0])[0])
    rendered = rendering.render(harness.load_task(task, tmp_path, {"train": [row]}, "datasets.x"), row)
    assert rendered["question"] == "Question: What is the capital of Peru?\nAnswer:"
    assert (rendered["choices"], rendered["gold"]) == (["Lima", "Cusco"], 0)


def extensions(document):
    """Name → code of the extension files that a document shows."""
    shown = [block.split("\n", 1) for block in blocks(DOCUMENTS[document], "python") if block.startswith(EXTENSION)]
    return {Path(first.removeprefix("# ")).stem: code for first, code in shown}


def decorated(code):
    """Names that the code registers: what a decorator is given, else the name of the function."""
    for function in ast.parse(code).body:
        for mark in getattr(function, "decorator_list", []):
            given = [a.value for a in getattr(mark, "args", []) if isinstance(a, ast.Constant)]
            yield given[0] if given else function.name


def registered(monkeypatch, document, extension, module, registry):
    """The one entry that an extension file of a document adds to a registry; the registry is restored afterwards."""
    owner = importlib.import_module(module)
    before = getattr(owner, registry)
    monkeypatch.setattr(owner, registry, dict(before))
    code = extensions(document)[extension]
    exec(compile(code, f"{extension}.py", "exec"), {"__name__": extension})
    ((name, entry),) = [item for item in getattr(owner, registry).items() if item[0] not in before]
    assert [name] == list(decorated(code))
    named = [yaml.safe_load(text) for text in blocks(DOCUMENTS[document], "yaml")]
    assert any(re.search(rf"\b{name}\b", str(block)) for block in named), f"{document} does not name {name} in a config"
    return entry, owner


def test_every_extension_of_the_documents_is_tried():
    shown = {(name, extension) for name in DOCUMENTS for extension in extensions(name)}
    assert shown == {
        ("docs/how-to/mask.md", "nearby"),
        ("docs/how-to/metric.md", "peak_to_mean"),
        ("docs/how-to/metric.md", "answer_first"),
        ("docs/how-to/selector.md", "confident"),
    }


def test_the_mask_in_the_documents_works(monkeypatch):
    entry, _ = registered(monkeypatch, "docs/how-to/mask.md", "nearby", "iclscope.activations.masks", "MASKS")
    allowed = entry(Segments(6, (1, 4), (4, 6)))
    assert allowed.tolist() == [[j in range(i - 3, i + 1) for j in range(6)] for i in range(6)]


def test_the_metric_in_the_documents_works(monkeypatch):
    where = "docs/how-to/metric.md", "peak_to_mean", "iclscope.signals.metrics", "METRICS_BY_NAME"
    entry, module = registered(monkeypatch, *where)
    columns = {"max_abs": np.array([4.0, 3.0]), "mean_abs": np.array([2.0, 1.0])}
    stats = module.TokenStatistics(columns, np.zeros(2, int), np.array([0]), np.array([2]), np.array([8.0]))
    assert entry.function(stats).tolist() == [2.5]


def test_the_pooling_in_the_documents_works(monkeypatch):
    where = "docs/how-to/metric.md", "answer_first", "iclscope.signals.poolings", "POOLINGS"
    entry, _ = registered(monkeypatch, *where)
    first, end = entry({"answer_start": np.array([4, 7]), "answer_end": np.array([6, 8])})
    assert (first.tolist(), end.tolist()) == ([4, 7], [5, 8])


def test_the_selector_in_the_documents_works(monkeypatch):
    where = "docs/how-to/selector.md", "confident", "iclscope.selection.selectors", "REGISTRY"
    entry, module = registered(monkeypatch, *where)
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


def write_samples(results):
    """A sample of one candidate."""
    row = {
        "id": [0],
        "prefix": ["Is water wet?\nAnswer: yes\n\n"],
        "choices": [["no", "yes"]],
        "gold": [1],
        "tokens": [9],
    }
    text = {c.name: [""] for c in tables.SAMPLE.columns if c.dtype == pl.String and c.name not in row}
    path = results / "samples/boolq/candidates.parquet"
    tables.SAMPLE.write(fill(tables.SAMPLE, {**text, **row}), path, {})


class Example(dict):
    """What the documents use of `dspy.Example`: fields by name, some of them marked as inputs."""

    def with_inputs(self, *names):
        assert set(names) <= set(self)
        self.inputs = names
        return self


@pytest.fixture
def dspy(monkeypatch):
    """A stand-in for DSPy, which is no library of this project: a program keeps its signature."""
    module = SimpleNamespace(Example=Example, Predict=lambda signature: SimpleNamespace(signature=signature))
    monkeypatch.setitem(sys.modules, "dspy", module)


def write_picks(results):
    """A pick of two demonstrations."""
    documents = [{"passage": f"Water {n}.", "question": "is it wet", "label": 1, "idx": n} for n in range(2)]
    turn = [{"role": "user", "content": "…"}, {"role": "assistant", "content": "yes"}]
    line = {"verdict": "beats random", "k": 2, "gain": 0.25, "low": 0.125, "high": 0.375, "prefix": "…\n\n"}
    path = results / "picks/smollm2-135m/boolq.jsonl"
    path.parent.mkdir(parents=True)
    line |= {"documents": documents, "messages": turn * len(documents)}
    path.write_text(json.dumps(line) + "\n" + json.dumps({**line, "k": 1}) + "\n", encoding="utf-8")
    return line


def test_ways_to_ship_demonstrations(tmp_path, monkeypatch, dspy):
    line = write_picks(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    made = {}
    for code in blocks(DOCUMENTS["docs/how-to/ship-demonstrations.md"], "python"):
        exec(code, made)
    assert made["prompt"].startswith(line["prefix"])
    messages = json.loads(made["body"])["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant"] * 2 + ["user"]
    assert messages[-1]["content"] == made["prompt"].removeprefix(line["prefix"])
    outputs = made["answer"].signature.partition("->")[2].split(",")
    for demo, document in zip(made["answer"].demos, line["documents"], strict=True):
        assert demo == document
        assert {name.strip() for name in outputs} <= set(demo) - set(demo.inputs)


def test_the_harness_takes_its_command_as_it_is_meant(monkeypatch):
    (line,) = [line for line in commands() if line.startswith("lm_eval ")]
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    chosen = HarnessCLI().parse_args()
    assert (chosen.tasks, chosen.include_path) == (["boolq_pick"], "results/picks/smollm2-135m")


def test_fields_of_a_pick_are_described(tmp_path, monkeypatch, tiny_model, tiny_tokenizer):
    monkeypatch.chdir(tmp_path)
    study = Study(tmp_path, tiny_model, tiny_tokenizer)
    study.shots()
    (first, *_), _ = study.picks()
    table = rows(DOCUMENTS["docs/how-to/ship-demonstrations.md"].partition("## What a line says")[2])
    assert {name for cells in table for name in re.findall(r"`(\w+)`", cells[0])} == set(first)


def write_sae_features(results):
    """Active features of a token of a candidate and of an item."""
    rows = {"role": ["candidate", "item"], "features": [[3, 5]] * 2, "values": [[0.5, 2.0]] * 2}
    path = results / "sae_features/smollm2-135m/boolq/middle.parquet"
    tables.SAE_FEATURES.write(fill(tables.SAE_FEATURES, rows), path, {})


def test_snippets_that_read_results_run(tmp_path, monkeypatch, capsys, dspy):
    key = {"target": "margin", "family": "activation", "mask": "causal", "site": "resid", "layer": 3, "pooling": "all"}
    signals = [{**key, "metric": "mean", "rho": 0.2}, {**key, "metric": "massive", "rho": None}]
    record = {"settings": {}, "git_commit": "unknown", "versions": {}, "inputs": {}}
    path = tmp_path / "results/correlation/smollm2-135m/boolq.parquet"
    tables.CORRELATION.write(fill(tables.CORRELATION, signals), path, record)
    write_activations(tmp_path / "results")
    write_samples(tmp_path / "results")
    write_picks(tmp_path / "results")
    write_sae_features(tmp_path / "results")
    for job in ("evaluation/smollm2-135m-boolq", "run_record"):
        file = tmp_path / f"benchmarks/{job}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('{"s": 2.5, "max_rss": 400.0}\n')
    monkeypatch.chdir(tmp_path)
    for _, code in all_blocks("python"):
        if not code.startswith((EXTENSION, ADDITION)):
            exec(code, {})
    printed = capsys.readouterr().out
    shapes = "(2, 576) float16", "0 0 torch.Size([3, 576])"
    for wanted in (
        "resid",
        "p corrected for its family in this table, studentised maxT",
        "evaluation",
        "Is water wet?",
        "beats random 2 0.25 0.125 0.375",
        *shapes,
    ):
        assert wanted in printed
