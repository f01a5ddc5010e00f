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
