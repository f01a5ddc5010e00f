"""What every job of the workflow does around its stage: log, provenance, threads, and errors in one sentence."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from iclscope import logs, provenance
from iclscope.errors import StudyError

logger = logging.getLogger(__name__)


@contextmanager
def job(snakemake: Any) -> Iterator[dict[str, Any]]:
    """Run the block as a Snakemake job: yield the provenance record of its outputs and log to the rule's log file.

    A `StudyError` ends the job with its one sentence; anything else keeps its traceback, in the log too.
    """
    with logs.to_file(snakemake.log[0]):
        try:
            yield provenance.of_file(
                settings=dict(snakemake.params).get("settings"),
                inputs=snakemake.input,
                seed=snakemake.config["seed"],
            )
        except StudyError as error:
            logger.error("%s", error)
            sys.exit(1)
        except Exception:
            logger.exception("rule %s failed", snakemake.rule)
            raise
