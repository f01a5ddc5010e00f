import json
import os

from iclscope.report.closing import closing_line


def test_closing_line_names_the_newest_page_and_its_headline(tmp_path):
    assert closing_line(tmp_path) is None
    for time, (page, verdict) in enumerate({"boolq": "verdict/boolq.json", "index": "verdict.json"}.items(), start=1):
        for file in (tmp_path / f"report/{page}.html", tmp_path / verdict):
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps({"headline": f"Said of {page}."}))
            os.utime(file, (time, time))
        line = closing_line(tmp_path)
        assert f"report/{page}.html" in line
        assert line.endswith(f"Said of {page}.")


def test_closing_line_names_demonstrations_that_were_found_without_a_study(tmp_path):
    for dataset, verdict in {"boolq": "beats random", "asdiv": "random will do"}.items():
        file = tmp_path / f"halving/tiny/{dataset}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        line = {"dataset": dataset, "model": {"name": "tiny"}, "verdict": verdict}
        file.write_text(f"{json.dumps(line)}\n{json.dumps(line | {'verdict': 'reference'})}\n")
    said = closing_line(tmp_path)
    assert (
        said == f"Demonstrations to use stand in {tmp_path / 'halving'}, better than random ones for boolq with tiny."
    )
    (tmp_path / "halving/tiny/boolq.jsonl").unlink()
    assert closing_line(tmp_path).endswith("random ones, since no other is shown to be better.")
