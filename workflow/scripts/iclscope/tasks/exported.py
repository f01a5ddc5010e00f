"""A task of the harness with demonstrations of our choice, as a file that the harness itself runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from iclscope.runtime.configuration import task_files
from iclscope.runtime.configuration.task_files import Definition

# Fields of a definition that would list the task elsewhere too, or take the demonstrations from elsewhere.
ELSEWHERE = ("task_alias", "tag", "fewshot_split")
OTHERS = ("sampler", "samples", "split", "fewshot_indices", "process_docs")

UNLIKE = "# {} formats demonstrations by functions of its own, which a file elsewhere cannot name: take its own file.\n"


def with_demonstrations(task: str, name: str, documents: Sequence[Mapping[str, Any]], output: str | Path) -> str:
    """The text of the task file `output`: the `task` under another `name`, with `documents` as its demonstrations.

    A definition with functions is included from where it stands, any other is written out. Where functions format the
    demonstrations, nothing but a remark is written.
    """
    found = task_files.definition(task) or Definition({}, [])
    shots = {key: value for key, value in (found.fields.get("fewshot_config") or {}).items() if key not in OTHERS}
    if task_files.has_functions(shots):
        return UNLIKE.format(task)
    made = {
        "task": name,
        "num_fewshot": len(documents),
        "fewshot_config": {**shots, "sampler": "first_n", "samples": list(documents)},
    }
    if task_files.has_functions(found.fields):
        beside = Path(os.path.relpath(found.files[0], Path(output).parent)).as_posix()
        made = {"include": beside, **dict.fromkeys(ELSEWHERE), **made}
    else:
        made = {key: value for key, value in found.fields.items() if key not in ELSEWHERE} | made
    return yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=1000)
