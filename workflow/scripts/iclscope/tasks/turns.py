"""Several demonstrations in a row: as the text before an item, and as the turns of a chat."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def prefix_of(members: Sequence[Row]) -> str:
    """The text before an item, as the harness writes it: the description once, then every member of `members`.

    members: rows of the sample table, all of one task, in the order of the prompt.
    """
    shown = (row["prefix"][len(row["description"]) :] for row in members)
    return members[0]["description"] + "".join(shown)


def messages_of(members: Sequence[Row]) -> list[dict[str, str]]:
    """A user and an assistant turn per member, after the description as a system turn where the task has one."""
    description = members[0]["description"].strip()
    turns = [{"role": "system", "content": description}] if description else []
    for row in members:
        question, end = row["prefix"][row["question_start"] : row["question_end"]], row["answer_end"]
        answer = row["prefix"][row["question_end"] : end].removeprefix(row["target_delimiter"]).lstrip()
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return turns
