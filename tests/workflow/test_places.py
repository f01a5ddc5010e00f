"""The workflow finds itself and a configuration, wherever it is started or imported from."""

import os
import shutil
import subprocess

import pytest

from study import snakemake_command

MODULE = """\
configfile: "config/config.yaml"

module theirs:
    snakefile:
        {snakefile}
    config:
        config

use rule * from theirs
"""


def snakemake(folder, *words, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*snakemake_command(), "--cores", "2", *words],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def deployed(study, folder, snakefile):
    """A folder with a copy of the configuration and a Snakefile that imports the workflow, as snakedeploy makes it."""
    for part in ("config", "local"):
        shutil.copytree(study.folder / part, folder / part)
    (folder / "workflow").mkdir()
    (folder / "workflow/Snakefile").write_text(MODULE.format(snakefile=snakefile))
    return folder


def test_a_folder_without_a_configuration_takes_that_of_the_workflow(fresh, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    for words, place in (
        (["--directory", str(folder)], fresh.folder),
        (["--snakefile", str(fresh.folder / "Snakefile")], folder),
    ):
        result = snakemake(place, "--dry-run", *words)
        assert result.returncode == 0, result.stderr
        assert "prepare_model" in result.stdout + result.stderr


def test_the_workflow_can_be_imported_from_another_folder(fresh, tmp_path):
    folder = deployed(fresh, tmp_path / "deployed", repr(str(fresh.folder / "Snakefile")))
    result = snakemake(folder, "results/samples/sums/items.parquet")
    assert result.returncode == 0, result.stderr
    assert (folder / "results/samples/sums/items.parquet").is_file()
    assert snakemake(folder, "--dry-run").returncode == 0


def test_the_workflow_can_be_imported_from_a_repository(fresh, tmp_path):
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = deployed(fresh, tmp_path / "deployed", 'github("owner/name", path="Snakefile", tag="v1")')
    shutil.rmtree(fresh.folder / "local")
    settings = tmp_path / "gitconfig"
    repositories = tmp_path / "repositories"
    settings.write_text(
        f'[user]\nemail = a@b\nname = c\n[url "file://{repositories}/"]\ninsteadOf = https://github.com/\n'
    )
    variables = {"GIT_CONFIG_GLOBAL": str(settings), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for words in (["init"], ["add", "--all"], ["commit", "--message", "all"], ["tag", "v1"]):
        subprocess.run(["git", *words], cwd=fresh.folder, env=os.environ | variables, check=True, capture_output=True)
    bare = repositories / "owner/name"
    subprocess.run(["git", "clone", "--bare", str(fresh.folder), str(bare)], check=True, capture_output=True)
    result = snakemake(folder, "results/samples/sums/items.parquet", **variables)
    assert result.returncode == 0, result.stderr
    assert (folder / "results/samples/sums/items.parquet").is_file()


def test_a_folder_of_the_user_may_be_named_by_a_tilde(fresh, tmp_path):
    home = tmp_path / "home"
    shutil.move(fresh.folder / "local", home / "mine")

    def at_home(config):
        config["models"]["tiny"]["path"] = "~/mine/tiny"
        config["datasets"]["sums"]["files"] = {"validation": "~/mine/sums.jsonl"}
        config["pathvars"] = {"results": "~/results"}

    fresh.configure(at_home)
    target = home / "results/samples/sums/items.parquet"
    result = snakemake(fresh.folder, str(target), HOME=str(home))
    assert result.returncode == 0, result.stderr
    assert target.is_file()
    assert not (fresh.folder / "~").exists()


def test_a_key_that_stands_twice_stops_the_run_before_anything_is_computed(fresh):
    with (fresh.folder / "config/config.yaml").open("a") as file:
        file.write("datasets:\n  mine: {task: boolq}\n")
    result = snakemake(fresh.folder, "--dry-run")
    assert result.returncode != 0
    assert "key datasets stands there already, in line" in result.stdout + result.stderr
