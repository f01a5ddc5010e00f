"""`python -m iclscope describe FILE` prints what a result file is; `artifacts` prints docs/reference/tables.md."""

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from iclscope.report.describe import artifacts, description_of
from iclscope.runtime.errors import StudyError
from iclscope.tables import TABLES


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m iclscope", description="Inspect the results of a study.")
    commands = parser.add_subparsers(dest="command", required=True)
    describing = commands.add_parser("describe", help="what a Parquet file is, how it was made, what it holds")
    describing.add_argument("files", nargs="+", metavar="FILE", help="a Parquet file under results/")
    commands.add_parser("artifacts", help="all tables of a study as Markdown, which is docs/reference/tables.md")
    chosen = parser.parse_args(words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # also where the locale knows ASCII only
    try:
        text = (
            artifacts(TABLES.values())
            if chosen.command == "artifacts"
            else "\n\n".join(map(description_of, chosen.files))
        )
    except StudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(text.rstrip() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
