"""Names that may stand in the configuration because a function registers them."""

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from iclscope.runtime.errors import StudyError

PACKAGE = Path(__file__).parents[2]

SAE_TWIN = "_random"  # stands behind the name of an SAE in that of its untrained twin

# The files that an SAE has in each format: what says what it is, if anything does, and last its weights.
SAE_LENS = "sae_lens"  # where the configuration names no format
SAE_FORMATS = {
    SAE_LENS: ("cfg.json", "sae_weights.safetensors"),
    "sparsify": ("cfg.json", "sae.safetensors"),
    "gemma_2": ("params.npz",),
    "gemma_3": ("config.json", "params.safetensors"),
}

# Selectors that go by the features of an SAE.
OF_SAE = {f"sae_{way}{twin}" for way in ("nearest", "cover", "ridge") for twin in ("", SAE_TWIN)}

# Selectors that go by questions as vectors.
OF_QUESTIONS = {"nearest_last", "nearest_layer"}

# Selectors that search with a number of items of the user's choice need no registration: how many times that number.
SEARCHES = {"search": 1, "search_strat": 1, "shortlist": 4, "halving": 1}
SEARCH = re.compile(rf"({'|'.join(SEARCHES)})_([1-9]\d*)")

# Config keys whose entries are names of registered functions: the module, or room, and the decorator that registers.
REGISTRIES = {
    ("masks",): ("activations/masks", "mask"),
    ("metrics", "names"): ("signals/metrics", "metric"),
    ("metrics", "poolings"): ("signals/poolings", "pooling"),
    ("selection", "selectors"): ("selection", "register"),
}


def registered(module: str | Path, decorator: str) -> list[str]:
    """Names that a module registers with `@decorator` or `@decorator("name")`, read without importing it.

    module: its path in the package, without suffix, that of a room, for all its modules, or a file elsewhere. The
    configuration is checked whenever a job starts, and the modules behind it take seconds to import.
    """
    if isinstance(module, str) and (room := PACKAGE / module).is_dir():
        return [name for file in sorted(room.rglob("*.py")) for name in registered(file, decorator)]
    file = module if isinstance(module, Path) else PACKAGE / f"{module}.py"
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise StudyError(f"{file}, line {error.lineno or 1}: {error.msg}; mend the file") from error
    names: list[str] = []
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for mark in function.decorator_list:
            if isinstance(mark, ast.Name) and mark.id == decorator:
                names.append(function.name)
            elif isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == decorator:
                given = [str(a.value) for a in mark.args if isinstance(a, ast.Constant) and str(a.value).isidentifier()]
                names.append(given[0] if given else function.name)
    return names


def taken_names(extensions: Sequence[Path]) -> Iterable[str]:
    """Names that extensions register although something else has them."""
    for module, decorator in REGISTRIES.values():
        owners = dict.fromkeys(registered(module, decorator), "the package")
        for file in extensions:
            for name in registered(file, decorator):
                if name in owners:
                    yield f"{file}: the {decorator} {name} is there already, in {owners[name]}; choose another name"
                owners[name] = str(file)
