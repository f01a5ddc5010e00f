"""What the executor of Slurm makes of a controller that does not answer, on a stand-in for the executor."""

import asyncio
import logging
import sys
from types import ModuleType

import pytest

from iclscope.runtime.slurm import EXECUTOR, keep_jobs_without_answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [((None, None), ({}, 0.0)), (({"7": "COMPLETED"}, 0.1), ({"7": "COMPLETED"}, 0.1)), (({}, 0.1), ({}, 0.1))],
)
def test_no_answer_means_nothing_new(monkeypatch, answer, expected):
    async def query_job_status(command, logger):
        assert command == "squeue"
        return answer

    executor = ModuleType(EXECUTOR)
    executor.query_job_status = query_job_status
    monkeypatch.setitem(sys.modules, EXECUTOR, executor)
    keep_jobs_without_answer()
    assert asyncio.run(executor.query_job_status("squeue", logging.getLogger())) == expected


def test_the_executor_asks_by_the_name_that_is_replaced():
    executor = pytest.importorskip(EXECUTOR)
    assert "query_job_status" in executor.Executor.check_active_jobs.__code__.co_names


def test_a_run_without_the_executor_stays_as_it_is(monkeypatch):
    monkeypatch.delitem(sys.modules, EXECUTOR, raising=False)
    keep_jobs_without_answer()
    assert EXECUTOR not in sys.modules
