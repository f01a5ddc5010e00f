"""What a run says last: where its results stand and what they say."""

import json
from pathlib import Path

from iclscope.tables import BEATS_RANDOM


def closing_line(results: str | Path) -> str | None:
    """Where the newest page stands and what its verdict says; None before there is one.

    Or where demonstrations stand that were found without a study, if they are newer.
    """
    folder = Path(results)
    found = [*(folder / "report").glob("*.html"), *(folder / "halving").glob("*/*.jsonl")]
    pages = sorted(found, key=lambda file: file.stat().st_mtime)
    if not pages:
        return None
    if pages[-1].suffix == ".jsonl":
        return f"Demonstrations to use stand in {folder / 'halving'}, {_recommended(folder / 'halving')}."
    whole = pages[-1].stem == "index"
    verdict = folder / ("verdict.json" if whole else f"verdict/{pages[-1].stem}.json")
    headline = json.loads(verdict.read_text(encoding="utf-8"))["headline"]
    return f"The report stands in {pages[-1]}. {headline}"


def _recommended(folder: Path) -> str:
    files = sorted(folder.glob("*/*.jsonl"))
    first = [json.loads(file.read_text(encoding="utf-8").split("\n")[0]) for file in files]
    better = [f"{line['dataset']} with {line['model']['name']}" for line in first if line["verdict"] == BEATS_RANDOM]
    return (
        f"better than random ones for {', '.join(better)}"
        if better
        else "random ones, since no other is shown to be better"
    )
