"""Files that a task is loaded from, wherever they lie, and random numbers of its own code."""

TASK = """\
task: mine
include: parts/base.yaml
doc_to_text: !function utils.text
"""
BASE = """\
dataset_path: a/b
output_type: generate_until
validation_split: validation
process_docs: !function prepare.shuffled
doc_to_target: "{{answer.split(' (')[0]}}"
generation_kwargs: {until: ["\\n"], do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
UTILS = """\
from words import START

def text(doc):
    return START + doc["body"] + " " + doc["question"]
"""
PREPARE = """\
import random

def shuffled(docs):
    kept = [docs[docs["body"].index(body)] for body in set(docs["body"])]
    random.shuffle(kept)
    return kept
"""
FILES = {
    "own/mine.yaml": TASK,
    "own/parts/base.yaml": BASE,
    "own/utils.py": "import sys, os\nsys.path.insert(0, os.path.dirname(__file__))\n" + UTILS,
    "own/words.py": "START = 'Q: '\n",
    "own/parts/prepare.py": PREPARE,
}


def test_a_task_of_many_files_gives_the_same_rows_and_reruns_when_any_of_them_changes(prepared):
    folder, target = prepared.folder / "config/tasks", "results/samples/sums/pool.parquet"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    prepared.configure(lambda c: c["datasets"]["sums"].update(task="mine"))
    prepared.run(target)
    first = (prepared.folder / target).read_bytes()
    (prepared.folder / target).unlink()
    prepared.run(target)
    assert (prepared.folder / target).read_bytes() == first
    for name in FILES:
        before = (folder / name).read_text()
        (folder / name).write_text(f"{before}# changed\n")
        assert prepared.planned(target)["pool"] == 1, name
        (folder / name).write_text(before)
    assert not prepared.planned(target)
