"""`python -m iclscope new FILE` writes a study; `describe FILE` prints what a result is, `artifacts` tables.md."""

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from iclscope.report.describe import artifacts, description_of
from iclscope.runtime.errors import StudyError
from iclscope.tables import TABLES


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    chosen = parser().parse_args(words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # also where the locale knows ASCII only
    try:
        text = chosen.text(chosen)
    except StudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(text.rstrip() + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    whole = argparse.ArgumentParser(prog="python -m iclscope", description="Begin a study, inspect its results.")
    commands = whole.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="write a study of a file of rows, after a look at its columns")
    new.add_argument("file", metavar="FILE", help="rows with right answers: .csv, .jsonl, .json or .parquet")
    new.add_argument("--question", metavar="COLUMN", help="its column; several, as in A,B, are shown in this order")
    new.add_argument("--choices", metavar="COLUMN", help="the column that lists them, or one for each as in A,B,C,D")
    new.add_argument("--answer", metavar="COLUMN", help="the column that holds the right answer")
    new.add_argument("--model", help="owner/name on the hub, a folder or a GGUF file; else the default study's model")
    new.add_argument("--folder", default="my-study", help="where the study is written (my-study)")
    new.set_defaults(text=_new)
    describing = commands.add_parser("describe", help="what a Parquet file is, how it was made, what it holds")
    describing.add_argument("files", nargs="+", metavar="FILE", help="a Parquet file under results/")
    describing.set_defaults(text=lambda chosen: "\n\n".join(map(description_of, chosen.files)))
    tables = commands.add_parser(
        "artifacts", help="all tables of a study as Markdown, which is docs/reference/tables.md"
    )
    tables.set_defaults(text=lambda _: artifacts(TABLES.values()))
    return whole


def _new(chosen: argparse.Namespace) -> str:
    from iclscope.sources import new_study  # imports the harness, which takes seconds
    from iclscope.tasks.columns import Asked

    question, choices = (
        [part.strip() for part in (text or "").split(",") if part.strip()] for text in (chosen.question, chosen.choices)
    )
    asked = Asked(question, choices, chosen.answer)
    return new_study.run(file=chosen.file, folder=chosen.folder, asked=asked, model=chosen.model)


if __name__ == "__main__":
    sys.exit(main())
