"""Planned against measured seconds of a finished study, by stage: python tests/benchmarks/plan.py [FOLDER]

FOLDER is where the study ran, with its `results/plan.parquet` (made on the same machine by `snakemake plan`) and its
`benchmarks/`. The total and every stage that takes a minute or more shall be within a factor of 1.5.
"""

import sys
from pathlib import Path

import polars as pl

STAGES = {  # rule's folder of benchmarks → stage of the plan
    "pool": "sample",
    "run_record": "report",
    "verdict": "report",
}
FACTOR, LONG = 1.5, 60.0


def measured(folder: Path) -> pl.DataFrame:
    """Seconds that the jobs of each stage took."""
    jobs = pl.read_ndjson(folder / "benchmarks/**/*.jsonl", include_file_paths="file", infer_schema_length=None)
    rule = pl.col("file").str.extract(r"benchmarks/(\w+)").replace(STAGES)
    return jobs.filter(~pl.col("file").str.ends_with("plan.jsonl")).group_by(rule.alias("stage")).agg(pl.sum("s"))


def main() -> None:
    """Print the comparison; exit with an error where the plan is further off than it may be."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    planned = pl.read_parquet(folder / "results/plan.parquet").group_by("stage").agg(planned=pl.sum("hours") * 3600)
    table = planned.join(measured(folder).rename({"s": "measured"}), on="stage").sort("planned", descending=True)
    total = table.select(pl.lit("everything").alias("stage"), pl.sum("planned", "measured"))
    table = pl.concat([table, total]).with_columns(ratio=pl.col("planned") / pl.col("measured"))
    with pl.Config(tbl_rows=-1, float_precision=2):
        sys.stdout.write(f"{table}\n")
    long = table.filter(pl.col("measured") >= LONG)
    off = long.filter(~pl.col("ratio").is_between(1 / FACTOR, FACTOR))["stage"].to_list()
    sys.exit(f"further off than a factor of {FACTOR}: {', '.join(off)}" if off else 0)


if __name__ == "__main__":
    main()
