"""Mistakes in the configuration that its schema cannot see, one sentence each."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from iclscope.runtime.configuration import settings, task_files
from iclscope.runtime.configuration.registries import (
    OF_QUESTIONS,
    OF_SAE,
    REGISTRIES,
    SAE_TWIN,
    SEARCH,
    SEARCHES,
    registered,
)
from iclscope.runtime.errors import StudyError

# Those of them that only one source has.
OF_SOURCE = {
    "wheel": ("package", "version", "sha256", "reader"),
    "files": ("files",),
    "hub": ("repo", "name", "revision"),
}

# Targets and selectors that are left out for generated answers.
OF_CHOICES = {
    "accuracy_norm", "margin", "accuracy_balanced", "gold_logprob_balanced", "margin_balanced",
    "accuracy_calibrated", "gold_logprob_calibrated", "margin_calibrated",
    "random_balanced", "uncertainty", "uncertainty_margin",
}  # fmt: skip

# Endings of the workflow's files: a name with one could be the file of another name.
ENDINGS = (".parquet", ".json", ".jsonl", ".html", ".svg", ".png", ".txt", ".log")

SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # a split stands in the name of its file


def found(config: Mapping[str, Any], extensions: Sequence[Path]) -> Iterable[str]:
    """Mistakes that a schema cannot see."""
    for check_one in (_references, _tasks, _wheels, _engine, _encoder, _fillers, _questions, _probe, _saes,
                      partial(_registered, extensions), _names, _sources, _splits, _sizes, _shots, _learning,
                      _kinds):  # fmt: skip
        yield from check_one(config)


def _references(config: Mapping[str, Any]) -> Iterable[str]:
    """Names that refer to nothing."""
    readers = registered("sources/readers", "reader")
    for name, entry in config["datasets"].items():
        model = entry.get("max_tokens", {}).get("tokenizer")
        if model is not None and model not in config["models"]:
            known = ", ".join(config["models"])
            yield f"datasets.{name}.max_tokens.tokenizer: {model!r} is not one of the models ({known})"
        if "reader" in entry and entry["reader"] not in readers:
            yield f"datasets.{name}.reader: there is no reader {entry['reader']}; choose one of {', '.join(readers)}"


def _tasks(config: Mapping[str, Any]) -> Iterable[str]:
    """Task files of the study's own that cannot be read."""
    for name, entry in config["datasets"].items():
        try:
            task_files.inputs(entry["task"])
        except StudyError as error:
            yield f"datasets.{name}.task: {error}"


def _wheels(config: Mapping[str, Any]) -> Iterable[str]:
    """One wheel with two checksums."""
    checksums: dict[tuple[str, str], tuple[str, str]] = {}
    for where, entry in settings.wheels(config):
        wheel, checksum = (entry["package"], entry["version"]), (entry["sha256"], f"{where}.sha256")
        first = checksums.setdefault(wheel, checksum)
        if first[0] != checksum[0]:
            yield f"{checksum[1]}: differs from {first[1]}, though both name {wheel[0]} {wheel[1]}"


def _engine(config: Mapping[str, Any]) -> Iterable[str]:
    """Servers of models that are not there, and models without one."""
    urls = config["evaluation"].get("engine", {}).get("url")
    if isinstance(urls, Mapping) and set(urls) != set(config["models"]):
        yield (
            f"evaluation.engine.url: names servers of {', '.join(urls)}, and the models are "
            f"{', '.join(config['models'])}; give each model one"
        )


def _encoder(config: Mapping[str, Any]) -> Iterable[str]:
    """A sentence encoder that is not named, or not clearly."""
    encoder = set(config["features"].get("encoder", {"path"}))
    if encoder not in ({"path"}, {"repo", "revision"}, {"source", "package", "version", "sha256", "folder"}):
        wheel = "source: wheel with package, version, sha256 and folder"
        yield f"features.encoder: needs either path, or repo and revision, or {wheel}"
    if "nearest_encoder" in config["selection"]["selectors"] and "encoder" not in config["features"]:
        yield "selection.selectors: nearest_encoder needs a sentence encoder, which features.encoder names"


def _fillers(config: Mapping[str, Any]) -> Iterable[str]:
    """Selectors and targets that go by answers to questions without content where nothing fills these."""
    if "content_free" not in config["features"]:
        for target in config["quality"]["targets"]:
            if target.endswith("_calibrated"):
                yield f"quality.targets: {target} needs fillers, which features.content_free names"
        for name in config["selection"]["selectors"]:
            if name == "content_free" or name.startswith("shortlist_"):
                yield f"selection.selectors: {name} needs fillers, which features.content_free names"


def _questions(config: Mapping[str, Any]) -> Iterable[str]:
    """Selectors that go by questions as vectors where these are not read."""
    if "representations" not in config:
        for name in config["selection"]["selectors"]:
            if name in OF_QUESTIONS:
                yield f"selection.selectors: {name} needs questions as vectors; add a section representations"


def _probe(config: Mapping[str, Any]) -> Iterable[str]:
    """A probe of activations that are not named, or not read."""
    probe = config["selection"].get("probe")
    if "probe" not in config["selection"]["selectors"]:
        return
    if probe is None:
        yield "selection.selectors: probe needs a site and a layer, which selection.probe names"
        return
    sites = config["activations"]["sites"]
    if probe["site"] not in sites:
        yield f"selection.probe.site: {probe['site']} is not one of activations.sites ({', '.join(sites)})"
    if "causal" not in config["masks"]:
        yield "selection.probe: it reads activations under the mask causal, which is not one of masks; add it there"


def _saes(config: Mapping[str, Any]) -> Iterable[str]:
    """SAEs of a model that is not there, that cannot be trained as said, or whose files would be those of another."""
    saes = config.get("saes", {})
    for name, entry in saes.items():
        if "model" in entry and entry["model"] not in config["models"]:
            yield f"saes.{name}.model: {entry['model']!r} is not one of the models ({', '.join(config['models'])})"
        if entry["source"] == "train" and entry["k"] > entry["width"]:
            yield f"saes.{name}.k: {entry['k']} active features are more than its width, {entry['width']}; lower it"
        if name.endswith(SAE_TWIN):
            yield f"saes.{name}: a name that ends in {SAE_TWIN} is that of an untrained twin; rename it"
    chosen = config["selection"].get("sae")
    ours = [name for name in config["selection"]["selectors"] if name in OF_SAE]
    twins = [name for name in ours if name.endswith(SAE_TWIN)]
    if ours and chosen not in saes:
        yield f"selection.selectors: {', '.join(ours)} need an SAE, which selection.sae names, one of saes"
    elif twins and "controls" not in saes[chosen]:
        yield f"selection.selectors: {', '.join(twins)} need an untrained twin, for which saes.{chosen}.controls asks"


def _registered(extensions: Sequence[Path], config: Mapping[str, Any]) -> Iterable[str]:
    """Names of functions that nothing registers."""
    for path, (module, decorator) in REGISTRIES.items():
        entries: Any = config
        for part in path:
            entries = entries[part]
        places: list[str | Path] = [module, *extensions]
        names = [name for place in places for name in registered(place, decorator)]
        searches = module == "selection"
        for entry in entries:
            if entry not in names and not (searches and SEARCH.fullmatch(entry)):
                numbered = [f"{', '.join(f'{search}_K' for search in SEARCHES)} with a number K"]
                allowed = [*names, *(numbered if searches else [])]
                yield f"{'.'.join(path)}: {entry!r} is not one of {', '.join(allowed)}"


def _names(config: Mapping[str, Any]) -> Iterable[str]:
    """Names whose files would be those of another, also where a file system takes `A` and `a` for the same."""
    for section in ("models", "datasets", "saes"):
        yield from _alike([(f"{section}.{name}", name) for name in config.get(section, {})])
        for name in config.get(section, {}):
            if name.casefold().endswith(ENDINGS):
                yield f"{section}.{name}: a name that ends in {name[name.rindex('.') :]} looks like a file; rename it"
    for name, entry in config["datasets"].items():
        yield from _alike([(f"datasets.{name}.files.{split}", split) for split in entry.get("files", {})])
    models, datasets = (
        {name.casefold(): name for name in config[section]}.values() for section in ("models", "datasets")
    )
    pairs = list(itertools.product(models, datasets))
    yield from _alike([(f"models.{model} with datasets.{dataset}", f"{model}-{dataset}") for model, dataset in pairs])
    pages = {"index": "the overview", **{f"candidates-{m}-{d}".casefold(): f"{d}'s candidates" for m, d in pairs}}
    for name in config["datasets"]:
        if page := pages.get(name.casefold()):
            yield f"datasets.{name}: the report's files of this name are those of {page}; rename the data set"


def _alike(places: Sequence[tuple[str, str]]) -> Iterable[str]:
    """Places in the configuration, each with a name, that name the same file."""
    first: dict[str, str] = {}
    for place, name in places:
        before = first.setdefault(name.casefold(), place)
        if before != place:
            yield f"{place}: its files have the same name as those of {before}; rename one of them"


def _sources(config: Mapping[str, Any]) -> Iterable[str]:
    """Settings that the source of a data set does not have."""
    for name, entry in config["datasets"].items():
        for source, keys in OF_SOURCE.items():
            for key in keys:
                if key in entry and source != entry["source"]:
                    yield f"datasets.{name}.{key}: belongs to source: {source}, not to {entry['source']}; take one out"


def _splits(config: Mapping[str, Any]) -> Iterable[str]:
    """Splits that no file holds, and all rows of one split for both roles."""
    for name, entry in config["datasets"].items():
        chosen = [entry.get(f"{role}_split") for role in ("candidates", "items")]
        splits = list(entry.get("files", {}))
        for role, split in zip(("candidates", "items"), chosen, strict=True):
            if splits and split is not None and split not in splits:
                yield f"datasets.{name}.{role}_split: {split!r} is not one of the files ({', '.join(splits)})"
            if not SPLIT.fullmatch(split or "a"):
                yield f"datasets.{name}.{role}_split: {split!r} is no name of a split"
        one = len(splits) == 1 or (chosen[0] is not None and chosen[0] == chosen[1])
        if one and entry["candidates"] == entry["items"] == "all":
            yield f"datasets.{name}: candidates and items cannot both be all rows of one split; give one a number"
        for split in splits:
            if not SPLIT.fullmatch(split):
                yield f"datasets.{name}.files: {split!r} is no name of a split (letters, digits, dot, dash, underscore)"


def _sizes(config: Mapping[str, Any]) -> Iterable[str]:
    """Searches with more items than a half has, of all that are evaluated in any case."""
    found = [match for name in config["selection"]["selectors"] if (match := SEARCH.fullmatch(name))]
    searches = {match[0]: SEARCHES[match[1]] * int(match[2]) for match in found}
    for name, entry in config["datasets"].items():
        items = 1_000_000 if entry["items"] == "all" else entry["items"]
        if "stop_at_reliability" in config["evaluation"]:
            items = min(items, entry.get("block", config["evaluation"]["block"])["items"])
        for search, wanted in searches.items():
            if wanted > items - items // 2:
                yield (
                    f"selection.selectors: {search} needs {wanted} items, half of datasets.{name}.items are "
                    f"{items - items // 2}; take it off the list or raise datasets.{name}.items"
                )


def _shots(config: Mapping[str, Any]) -> Iterable[str]:
    """Sets that are larger than the pool they are chosen from."""
    largest = max(config.get("shots", {"sizes": [0]})["sizes"])
    for name, entry in config["datasets"].items():
        if entry["candidates"] != "all" and largest > entry["candidates"]:
            yield (
                f"shots.sizes: a set of {largest} is more than datasets.{name}.candidates, {entry['candidates']}; take "
                "it off the list or raise them"
            )


def _learning(config: Mapping[str, Any]) -> Iterable[str]:
    """Learning curves by strategies that are not there, of more labels than rows, without vectors or classes."""
    asked = config.get("learning")
    if asked is None:
        return
    known = registered("labelling/strategies", "strategy")
    for name in asked["strategies"]:
        if name not in known:
            yield f"learning.strategies: {name!r} is not one of {', '.join(known)}"
    if "random" not in asked["strategies"]:
        yield "learning.strategies: random is missing, which all others are compared with; add it"
    most = asked["start"] + asked["batch"] * asked["steps"]
    if most > asked["pool"]:
        yield (
            f"learning.pool: {most} labels (start + batch × steps) are more than the pool of {asked['pool']}; raise it "
            "or lower learning.steps"
        )
    by_encoder, by_layers = settings.learns_from(config)
    if by_encoder and "encoder" not in config["features"]:
        yield "learning.representations: encoder needs a sentence encoder, which features.encoder names"
    if by_layers and "representations" not in config:
        yield "learning.representations: layers need the section representations, which says which are read"
    if not (by_encoder or by_layers):
        yield "learning: no vectors stand for the questions; name a features.encoder, or add a section representations"
    yield from _classes(config["datasets"])


def _classes(datasets: Mapping[str, Any]) -> Iterable[str]:
    """Learning curves of data sets of which none has classes, as far as their task files say it; and empty classes."""
    fixed = {name: task_files.fixed_choices(entry["task"]) for name, entry in datasets.items()}
    without = [name for name, choices in fixed.items() if choices is not None and not task_files.are_classes(choices)]
    if len(without) == len(fixed):
        yield (
            f"learning: {', '.join(without)} have generated answers or choices that are letters of options, and no "
            "data set has classes to learn; add one that has, or take the section out"
        )
    for name, choices in fixed.items():
        if any(not str(choice).strip() for choice in choices or ()):
            yield f"learning: a choice of datasets.{name}.task, {datasets[name]['task']}, is empty; give it a text"


def _kinds(config: Mapping[str, Any]) -> Iterable[str]:
    """Lists of which nothing is left for generated answers, and a primary target that is not there."""
    if config["quality"]["primary"] not in config["quality"]["targets"]:
        yield f"quality.primary: {config['quality']['primary']} is none of quality.targets; add it there"
    lists = {"quality.targets": config["quality"]["targets"], "selection.selectors": config["selection"]["selectors"]}
    for key, names in lists.items():
        if set(names) <= OF_CHOICES:
            for name, entry in config["datasets"].items():
                if task_files.generates(entry["task"]):
                    yield (
                        f"{key}: {', '.join(names)} need choices, and datasets.{name} has generated answers; add one "
                        "that does not"
                    )
