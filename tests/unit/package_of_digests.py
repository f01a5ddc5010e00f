"""A small package of stages, whose digests the tests follow."""

# A small package: the stage imports a module of its own name, that one others, in rooms and beside them.
FILES = {
    "quality.py": """
        from iclscope import checks, quality
        from iclscope.runtime import jobs
        from iclscope.runtime.jobs import job

        with job(snakemake):
            check = jobs.only_refuses(checks.strict)
            quality.run(snakemake.input[0])
        """,
    "iclscope/__init__.py": '"""The package."""\n\n__version__ = "1"',
    "iclscope/quality.py": '''
        """Quality of candidates."""

        import logging

        import numpy as np

        import iclscope
        from iclscope.runtime import logs
        from iclscope import report
        from iclscope.engine import choices
        from iclscope.reliability import alpha
        from iclscope.runtime.errors import StudyError
        from iclscope.tables import QUALITY

        logger = logging.getLogger(__name__)


        def run(path: str, halves=200) -> list:
            """Read, compute, write."""
            from iclscope import lazy

            logger.info("reads %s", path)
            if halves < 2:
                raise StudyError(f"{path}: {halves} halves are too few; take {explained()}")
            logs.tell("done")
            values = lazy.load(path)[:halves]
            margin = choices.MARGINS["median"]
            return values, alpha, QUALITY, report.render("quality"), margin, np.mean, iclscope.__doc__


        def explained():
            return "two"


        def unused():
            return explained()
        ''',
    "iclscope/reliability.py": """
        import iclscope.resampling


        class Alpha:
            divisor: int = 1

            def value(self, scores):
                return iclscope.resampling.draw(scores) * 2


        def alpha(scores):
            return Alpha().value(scores)
        """,
    "iclscope/resampling.py": """
        def draw(scores):
            scores = [scores for scores in scores]
            return scores[0]


        def scores():
            return 1
        """,
    "iclscope/engine/__init__.py": '"""Models."""',
    "iclscope/engine/choices.py": """
        from iclscope.engine import extra

        MARGINS = {}


        def margin(function):
            MARGINS[function.__name__] = function
            return function


        @margin
        def median(values):
            return _half(values)


        def _half(values):
            return sorted(values)[len(values) // 2]


        MARGINS["largest"] = max
        """,
    "iclscope/engine/extra.py": """
        from iclscope.engine.choices import margin


        @margin
        def mean(values):
            return sum(values) / len(values)
        """,
    "iclscope/report.py": """
        from pathlib import Path

        ASSETS = ("pages",)


        def render(name):
            return Path(__file__).parent / ASSETS[0] / name
        """,
    "iclscope/checks.py": "def strict(x):\n    raise ValueError\n\n\ndef lax(x):\n    pass\n",
    "iclscope/lazy.py": "def load(path):\n    return [path]\n",
    "iclscope/alone.py": "def other():\n    return 1\n",
    "iclscope/runtime/errors.py": "class StudyError(Exception):\n    pass\n",
    "iclscope/runtime/logs.py": "def tell(line):\n    return line\n",
    "iclscope/runtime/jobs.py": """
        from iclscope.runtime import files


        def job(snakemake):
            return files


        def only_refuses(check):
            return check
        """,
    "iclscope/runtime/files.py": "from iclscope import alone\n",
    "iclscope/tables.py": '''
        """Tables."""


        class Table:
            """A table."""

            def __init__(self, name, columns):
                self.columns = _sorted(columns)


        def _sorted(columns):
            return sorted(columns)


        _TARGET: str = "target"
        _UNUSED = "unused"

        QUALITY = Table("quality", [_TARGET, "value"])
        METRICS = Table("metrics", [_UNUSED])


        def read_provenance(path):
            return path
        ''',
    "iclscope/pages/report.html": "<h1>Report</h1>",
    "iclscope/quality_notes/todo.txt": "nothing",
    "own.py": """
        from iclscope.engine.choices import margin
        from iclscope.other_registry import entry


        @margin
        def smallest(values):
            return lowest(values)


        def lowest(values):
            return min(values)


        @entry
        def elsewhere(values):
            return 0
        """,
    "iclscope/other_registry.py": "def entry(function):\n    return function\n",
}


def replace(scripts, name, old, new):
    path = scripts / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
