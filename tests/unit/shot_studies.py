"""A small study with sets of demonstrations: rows, a task that the harness runs too, a score matrix, sets and picks."""

import json

import polars as pl
import yaml

from iclscope.matrix import evaluation
from iclscope.matrix.blocks import Block
from iclscope.runtime.jobs import Job, PreparedModel, Task
from iclscope.selection import picks, shots
from iclscope.tables import POOL, SAMPLE, SHOTS
from iclscope.tasks import harness
from iclscope.tasks.pool import make_pool

CANDIDATES, ITEMS = 12, 8
ANIMALS = ["whale", "trout", "bat", "eagle", "frog", "horse"]
TARGETS = ["accuracy", "gold_logprob", "margin", "gold_logprob_balanced"]
SETTINGS = {"sizes": [3], "random_sets": 4, "orders": 3, "choose": ["balanced", "top", "cover"]}
COMMON = {
    "dataset_path": "json",
    "training_split": "train",
    "validation_split": "validation",
    "description": "Answer each question.\n\n",
    "doc_to_text": "The {{animal}} number {{i}}: is it a fish?\nAnswer:",
}
CHOICE = COMMON | {
    "task": "animals",
    "output_type": "multiple_choice",
    "doc_to_target": "label",
    "doc_to_choice": ["no", "yes", "who knows"],
    "fewshot_split": "train",
}
GENERATED = COMMON | {
    "task": "animals",
    "output_type": "generate_until",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 3},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def rows_of(start, count):
    """Rows whose labels are 0, 1 and 2 in turn."""
    return [
        {"i": i, "animal": ANIMALS[i % 6], "label": i % 3, "answer": f"<b>{'no' if i % 3 else 'yes'}</b>"}
        for i in range(start, start + count)
    ]


class Study:
    """A folder in which the stages before sets have run; `task` is a definition of the harness."""

    def __init__(self, folder, model, tokenizer, task=CHOICE):
        self.folder, self.task = folder, Task("animals", folder / "config/tasks", "datasets.animals")
        rows = {"train": rows_of(0, CANDIDATES), "validation": rows_of(100, ITEMS)}
        files = {split: str(folder / f"{split}.jsonl") for split in rows}
        for split, part in rows.items():
            (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in part))
        self.task.folder.mkdir(parents=True)
        (self.task.folder / "animals.yaml").write_text(
            yaml.safe_dump(task | {"dataset_kwargs": {"data_files": files}}, sort_keys=False)
        )
        self.built = harness.load_task(*self.task[:2], rows, self.task.key)
        splits = {"candidate": "train", "item": "validation"}
        pool, _ = make_pool(self.built, rows, splits, "animals", {}, 1, None)
        POOL.write(pool, folder / "pool.parquet", {})
        for role in splits:
            SAMPLE.write(pool.filter(role=role).drop("role"), folder / f"{role}s.parquet", {})
        self.rows = {role: pool.filter(role=role).to_dicts() for role in splits}
        model.save_pretrained(folder / "tiny")
        tokenizer.save_pretrained(folder / "tiny")
        (folder / "tiny/source.json").write_text(json.dumps({"source": "hub", "commit": "abc", "files": {}}))
        self.model = PreparedModel(folder / "tiny", "float32", "cpu")
        self.files = {
            "evaluation": folder / "evaluation.parquet",
            "candidates": folder / "candidates.parquet",
            "item_rows": folder / "items.parquet",
        }
        evaluation.run_block(
            pool=folder / "pool.parquet",
            model=self.model,
            task=self.task,
            block=Block((0, CANDIDATES), (0, ITEMS)),
            settings={"max_new_tokens": None, "batch_tokens": 512},
            block_out=self.files["evaluation"],
            job=Job(1, {}),
        )

    def settings(self, **changes):
        """Settings of both stages."""
        other = {"targets": TARGETS, "primary": "gold_logprob_balanced", "batch_tokens": 512, "task": "animals"}
        return SETTINGS | other | {"margin": {"share_of_items": 0.02, "nats": 0.05}, "study_tables": 1} | changes

    def shots(self, **changes):
        """The table shots."""
        output = self.folder / "shots.parquet"
        settings = self.settings(**changes)
        shots.run(
            files=shots.Files(**self.files), model=self.model, settings=settings, shots_out=output, job=Job(1, {})
        )
        return SHOTS.read(output)

    def picks(self, **changes):
        """Lines of the picks, and the path of the task file."""
        lines, task = self.folder / "picks/animals.jsonl", self.folder / "picks/animals.yaml"
        files = picks.Files(**self.files, shots=self.folder / "shots.parquet", model=self.folder / "tiny/source.json")
        settings = self.settings(**changes)
        outputs = {"picks_out": lines, "task_out": task, "summary_out": self.folder / "shots_summary.parquet"}
        picks.run(files=files, task=self.task, settings=settings, **outputs, job=Job(1, {}))
        return [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()], task


def sets_of(frame):
    """A row per set of the table shots."""
    return frame.group_by("set", maintain_order=True).agg(
        pl.first("name", "k", "order", "fold", "members"), pl.col("item"), pl.col("logprobs")
    )
