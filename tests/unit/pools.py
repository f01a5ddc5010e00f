"""Rows and pools that tests of several files share."""

import sys
from pathlib import Path

import polars as pl

from iclscope.runtime.jobs import Job, Task
from iclscope.tasks.pool import CountingModel, make_pool, run_pool
from tiny import build_model, build_tokenizer

OWN = Path(__file__).parents[2] / "config" / "tasks"


def boolq(i, **fields):
    return {"question": f"is {i} odd", "passage": f"Passage {i // 2}.", "idx": i, "label": i % 2, **fields}


def rows(count, start=0):
    return [boolq(i) for i in range(start, start + count)]


def pool_of(task, parts, settings=None, seed=1, count_tokens=None, dataset="d"):
    splits = {"candidate": next(iter(parts)), "item": list(parts)[-1]}
    return make_pool(
        task, parts, splits, dataset, settings or {}, seed, count_tokens and CountingModel(count_tokens, sys.maxsize)
    )[0]


def order(pool, role):
    return pool.filter(pl.col("role") == role).sort("id")["source_row"].to_list()


def make(tmp_path, data, model=None, task_folder=OWN, **settings):
    pool = tmp_path / "pool.parquet"
    if model is None:
        model = tmp_path / "counting"
        build_model("llama").config.save_pretrained(model)
        build_tokenizer().save_pretrained(model)
    run_pool(
        data=data,
        dataset="d",
        task=Task(settings.pop("task", "boolq"), task_folder, "datasets.d"),
        model=model,
        settings=settings,
        pool_out=pool,
        job=Job(1, {"seed": 1}),
    )
    return pool
