"""What a job says: a log file of its own, warnings on the terminal, progress wherever someone looks."""

import io
import logging
import re

import pytest

from iclscope.runtime import logs

logger = logging.getLogger("iclscope.some_stage")


class Terminal(io.StringIO):
    """Standard error as a person sees it."""

    def isatty(self):
        return True


@pytest.fixture
def log(tmp_path):
    """A log file that records for the duration of a test."""
    path = tmp_path / "logs" / "stage" / "job.log"
    with logs.to_file(path):
        yield path


class TestLogFile:
    def test_takes_information_and_warnings_with_time_and_level(self, log):
        logger.info("3 of %d rows", 9)
        logger.warning("no GPU")
        logger.debug("noise")
        first, second = log.read_text().splitlines()
        assert re.fullmatch(r"\d\d:\d\d:\d\d INFO +3 of 9 rows", first)
        assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING +no GPU", second)

    def test_only_warnings_and_errors_reach_the_terminal(self, tmp_path, capsys):
        with logs.to_file(tmp_path / "job.log"):
            logger.info("3 of 9 rows")
            logger.warning("no GPU")
            logger.error("file is damaged")
        printed = capsys.readouterr()
        assert printed.err == "WARNING: no GPU\nERROR: file is damaged\n"
        assert printed.out == ""

    def test_leaves_out_what_other_libraries_log(self, log):
        logging.getLogger("urllib3").warning("retry")
        assert log.read_text() == ""

    def test_starts_afresh(self, tmp_path):
        path = tmp_path / "job.log"
        for text in ("first run", "second run"):
            with logs.to_file(path):
                logger.info(text)
        assert "second run" in path.read_text()
        assert "first run" not in path.read_text()

    def test_is_closed_even_after_an_error(self, tmp_path, capsys):
        path = tmp_path / "job.log"
        before = list(logs.logger.handlers)
        with pytest.raises(RuntimeError), logs.to_file(path):
            raise RuntimeError
        assert logs.logger.handlers == before
        logger.error("later")
        assert path.read_text() == ""
        assert "later" not in capsys.readouterr().err

    def test_takes_any_language(self, log):
        logger.info("größer als ρ 🐳")
        assert "größer als ρ 🐳" in log.read_text(encoding="utf-8")


class TestProgress:
    def test_hands_everything_on_in_order(self):
        assert list(logs.progress(iter("abc"))) == ["a", "b", "c"]
        assert list(logs.progress([])) == []

    def test_is_a_few_lines_of_the_log_when_nobody_watches(self, log):
        assert list(logs.progress(range(5), description="demonstrations", unit="candidates")) == [0, 1, 2, 3, 4]
        lines = log.read_text().splitlines()
        assert len(lines) == 2  # none between the first and the last: it took no five seconds
        assert "demonstrations:   0%" in lines[0]
        assert "demonstrations: 100%" in lines[-1]
        assert "5/5" in lines[-1]
        assert "candidates/s" in lines[-1]
        assert all(line.isascii() for line in lines)

    def test_says_something_every_few_seconds(self, log, monkeypatch):
        monkeypatch.setattr(logs, "SECONDS_BETWEEN_LINES", 0.0)
        list(logs.progress(range(5)))
        counts = [re.search(r"(\d)/5", line)[1] for line in log.read_text().splitlines()]
        assert counts == sorted(counts)
        assert set(counts) == set("012345")

    def test_counts_a_generator_without_a_total(self, log):
        list(logs.progress((number for number in range(7)), description="rows", unit="rows"))
        assert "rows: 7 rows" in log.read_text()

    def test_a_generator_with_a_total(self, log):
        list(logs.progress(iter(range(4)), total=4))
        assert "4/4" in log.read_text()

    def test_a_bar_moves_by_what_is_done(self, log):
        with logs.bar(10, "answers", "pairs") as bar:
            bar.update(3)
            bar.update(7)
        assert "answers: 100%" in log.read_text()
        assert "10/10" in log.read_text()

    def test_ends_its_line_when_the_work_fails(self, log):
        def work():
            for number in logs.progress(range(5), description="demonstrations"):
                if number == 3:
                    raise RuntimeError

        with pytest.raises(RuntimeError):
            work()
        assert "3/5" in log.read_text()

    def test_is_a_bar_on_a_terminal_and_not_in_the_log(self, log, monkeypatch):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        list(logs.progress(range(3), description="demonstrations"))
        assert "\r" in terminal.getvalue()
        assert "demonstrations: 100%" in terminal.getvalue()
        assert log.read_text() == ""
