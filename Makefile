# Sets up .venv and runs. Nothing else hides here.

PYTHON ?= python3
STUDY ?= config/paper.yaml
VENV := .venv
BIN := $(VENV)/bin

RESULTS ?= results

.PHONY: study plan test verify clean

# A second run in this folder is refused: the workflow itself holds a lock for as long as it runs.
study: $(VENV)/study.stamp
	$(BIN)/snakemake --cores all --resources gpu=1

plan: $(VENV)/study.stamp
	$(BIN)/snakemake --cores all --resources gpu=1 --quiet rules --configfile $(STUDY) -- plan

verify: $(VENV)/study.stamp
	@$(BIN)/python -m iclscope.runtime.manifest $(RESULTS)

test: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check .
	$(BIN)/snakemake --lint
	$(BIN)/python -m pytest

$(VENV)/study.stamp: pyproject.toml envs/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -r envs/requirements.txt
	$(BIN)/pip install --no-deps --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/study.stamp
	$(BIN)/pip install --editable ".[slurm,test]"
	touch $@

clean:
	rm -rf $(VENV) results resources logs benchmarks .snakemake
