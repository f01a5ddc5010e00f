"""Finds the workflow's own folder, wherever it is imported from, and the study's; lets the package be imported."""

import shutil
import sys
import tempfile
from pathlib import Path


def checkout(folder):
    """The root of the workflow on this machine, from the `folder` of this file, wherever it is imported from."""
    if folder.is_local:
        return Path(folder.get_path_or_uri(secret_free=True)).parents[1]
    repository = folder.hosted_repo.repo  # cloned by Snakemake, which hands out single files of it
    commit = repository.commit(folder.ref).hexsha
    root = folder.cache_path / "iclscope" / commit
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent) as unpacked:
            repository.git.execute(["git", "archive", "--format=tar", f"--output={unpacked}/all.tar", commit])
            shutil.unpack_archive(f"{unpacked}/all.tar", f"{unpacked}/all", filter="data")
            Path(unpacked, "all").rename(root)
    return root


ROOT = checkout(workflow.current_basedir)
SCRIPTS = str(ROOT / "workflow/scripts")
sys.path.insert(0, SCRIPTS)

from iclscope.runtime import lock
from iclscope.runtime.configuration import checks, settings

CONFIG_FILES = [*workflow.overwrite_configfiles] or ["config/config.yaml"]
checks.check_files(file for file in CONFIG_FILES if Path(file).is_file())  # one of --configfile has been read by now

# Jobs find the package there too, also where their script comes from a repository, and what stands beside the
# configuration.
CONFIG_FOLDER = Path(CONFIG_FILES[0]).parent
lock.give_jobs(PYTHONPATH=SCRIPTS, ICLSCOPE_CONFIG=CONFIG_FOLDER)
