"""What iclscope new refuses in a sentence, and the configuration that it writes."""

from pathlib import Path

import pytest
import yaml

from iclscope.__main__ import main
from iclscope.runtime.configuration import checks
from iclscope.sources import new_study
from new_studies import assert_known, facts, pool_of, rows_of, study_of, write

ROOT = Path(__file__).parents[3]

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


def refusal(tmp_path, capsys, rows, *words, file="data.csv"):
    """The one sentence with which the command line refuses, having written nothing."""
    folder = tmp_path / "study"
    if rows is not None:
        write(tmp_path / file, rows)
    before = sorted(folder.rglob("*")) if folder.exists() else None
    assert main(["new", str(tmp_path / file), "--folder", str(folder), *words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert (sorted(folder.rglob("*")) if folder.exists() else None) == before
    return printed.err


def quiz(count=12, **more):
    return [{"question": f"Which is {n}?", "A": "x", "B": "y", "answer": "AB"[n % 2], **more} for n in range(count)]


def table(count=12, **columns):
    """Rows of texts that hold their number, or of values in turn."""
    return [
        {
            name: values.format(n) if isinstance(values, str) else values[n % len(values)]
            for name, values in columns.items()
        }
        for n in range(count)
    ]


class TestRefusals:
    @pytest.mark.parametrize(
        ("rows", "words", "wanted"),
        [
            (quiz(), "--answer anser", ["no column anser", "question, A, B, answer", "did you mean answer?"]),
            (quiz(), "--question q", ["--question: there is no column q"]),
            (quiz(), "--choices A,B,C", ["--choices: there is no column C"]),
            (quiz(), "--choices A", ["column A holds no choices", "'x'", "--choices A,B,C,D"]),
            (quiz(answer="none"), "", ["column answer does not say", "'none'", "--answer"]),
            (table(one="x {}", two="y {}"), "", ["holds the answer", "one, two may be it", "--answer"]),
            (table(x="p {}", z="q {}", answer="{} r"), "", ["holds the question", "x, z may be it", "--question"]),
            (table(question="q {}", answer="same"), "", ["column answer holds the same answer"]),
            (table(text="t {}", topic=["a", "b"], emotion=["c", "d"]), "", ["topic, emotion may be it", "--answer"]),
            (
                table(question="q {}", A="x", B="y", C="z", D="u", E="v", answer=[1, 2]),
                "",
                ["the number from 0 or the number from 1", "--answer"],
            ),
            (
                table(question="q {}", A="1", B="0", answer=[0, 1]),
                "",
                ["column answer may be the text or the number from 0", "--answer"],
            ),
            (table(question="q {}", A="x", B="y", answer="AB", label="BA"), "", ["column answer does not say"]),
            (
                table(question="q {}", A="x", B="y", answer=["A", "B"], label=["B", "A"]),
                "",
                ["answer, label may be it", "--answer"],
            ),
            (quiz(9), "", ["9 of 9 rows can be used", "6 candidates and 4 items", "give more rows"]),
            (quiz(4) * 5, "", ["4 of 20 rows can be used", "duplicates"]),
            (quiz(), "--model nowhere", ["--model: nowhere is neither"]),
            (None, "", ["data.csv does not exist"]),
        ],
    )
    def test_what_cannot_be_told_is_one_sentence(self, tmp_path, capsys, rows, words, wanted):
        said = refusal(tmp_path, capsys, rows, *words.split())
        assert all(part in said for part in wanted), said

    def test_text_that_only_looks_like_a_list_is_not_taken_apart(self, tmp_path, capsys):
        rows = [{"question": f"q {n}", "choices": "['x'\n 'y']", "answer": n % 2} for n in range(12)]
        assert "column choices holds no choices that can be read" in refusal(tmp_path, capsys, rows)

    def test_a_study_that_is_there_is_left_alone(self, tmp_path, capsys):
        (tmp_path / "study").mkdir()
        (tmp_path / "study/config.yaml").write_text("mine")
        said = refusal(tmp_path, capsys, quiz())
        assert "study/config.yaml is there already" in said
        assert "--folder" in said
        assert (tmp_path / "study/config.yaml").read_text() == "mine"


class TestConfiguration:
    def test_all_but_the_data_is_the_default_studys(self, tmp_path, default_config):
        config, _, _ = study_of(tmp_path, quiz(200), file="data.csv")
        new = ("datasets", "pathvars")
        assert {k: v for k, v in config.items() if k not in new} == {
            k: v for k, v in default_config.items() if k not in new
        }
        folder = Path(config["pathvars"]["results"]).parent
        assert config["pathvars"] == {
            name: str(folder / name) for name in ("results", "resources", "logs", "benchmarks")
        }
        text = (folder / "config.yaml").read_text()
        remarks = (ROOT / "config/config.yaml").read_text()
        assert remarks[remarks.index("masks:") :] in text

    @pytest.mark.parametrize("count", [10, 11, 14, 20, 31, 60, 95, 107, 300])
    def test_sizes_follow_from_the_rows_and_leave_both_roles_their_own(self, tmp_path, count):
        config, _, _ = study_of(tmp_path, quiz(count), file="data.csv")
        entry = config["datasets"]["data"]
        assert 6 <= entry["candidates"] <= 48
        assert 4 <= entry["items"] <= 48
        assert entry["candidates"] + entry["items"] <= count
        assert entry["candidates"] + entry["items"] >= min(96, 0.85 * count)
        assert entry["block"]["items"] == entry["items"]

    def test_a_model_is_a_name_of_the_hub_or_a_folder_here(self, tmp_path):
        file = str(write(tmp_path / "data.csv", quiz()))
        (tmp_path / "My Model").mkdir()
        for model, wanted in (
            ("Qwen/Qwen2.5-0.5B", {"qwen2.5-0.5b": {"source": "hub", "repo": "Qwen/Qwen2.5-0.5B", "dtype": "float32"}}),
            (
                str(tmp_path / "My Model"),
                {"my-model": {"source": "files", "path": str(tmp_path / "My Model"), "dtype": "float32"}},
            ),
        ):
            folder = tmp_path / model.replace("/", "-")
            new_study.run(file=file, folder=str(folder), model=model)
            config = yaml.safe_load((folder / "config.yaml").read_text())
            assert config["models"] == wanted
            checks.check(config, SCHEMA)

    @pytest.mark.parametrize("stem", ["index", "a b (c)", "2024", "results.json", "_", "yes", "boolq"])
    def test_any_name_of_a_file_becomes_one_of_a_data_set(self, tmp_path, stem):
        planted = facts()
        _, frame, _ = study_of(tmp_path, rows_of(planted, "Option A", "letter"), file=f"{stem}.csv")
        assert_known(frame, planted)

    def test_the_commands_and_prompts_are_printed(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        rows = rows_of(facts(), "letters", "letter")
        write(tmp_path / "quiz.csv", rows)
        assert main(["new", "quiz.csv"]) == 0
        said = capsys.readouterr().out
        assert f"--snakefile {ROOT}/Snakefile --resources gpu=1 --configfile my-study/config.yaml" in said
        assert "columns A, B, C, D" in said
        assert "column answerKey, the label of the right choice" in said
        _, frame = pool_of(tmp_path / "my-study")
        for n in range(2):
            candidate, item = (frame.filter(role=role, id=n).row(0, named=True) for role in ("candidate", "item"))
            prompt = candidate["prefix"] + item["question"] + " " + item["choices"][item["gold"]]
            lines = "".join(f"  | {line}\n" for line in prompt.split("\n"))
            assert lines in said.replace("[[", "").replace("]]", "")
        monkeypatch.chdir(ROOT)
        assert main(["new", str(tmp_path / "quiz.csv"), "--folder", str(tmp_path / "other")]) == 0
        assert (
            f"\n  snakemake --cores all preview --configfile {tmp_path}/other/config.yaml\n" in capsys.readouterr().out
        )
