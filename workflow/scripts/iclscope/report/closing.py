"""What a run says last: where the report stands and what it says."""

import json
from pathlib import Path


def closing_line(results: str | Path) -> str | None:
    """Where the newest page stands and what its verdict says; None before there is one."""
    folder = Path(results)
    pages = sorted((folder / "report").glob("*.html"), key=lambda file: file.stat().st_mtime)
    if not pages:
        return None
    whole = pages[-1].stem == "index"
    verdict = folder / ("verdict.json" if whole else f"verdict/{pages[-1].stem}.json")
    headline = json.loads(verdict.read_text(encoding="utf-8"))["headline"]
    return f"The report stands in {pages[-1]}. {headline}"
