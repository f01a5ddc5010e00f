# Sets up .venv and runs. `make` alone lists the targets.

PYTHON ?= python3
STUDY ?= config/paper.yaml
RESULTS ?= results
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help study plan verify lint test clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

# A second run in this folder is refused: the workflow itself holds a lock for as long as it runs.
study: $(VENV)/study.stamp ## run the study of config/config.yaml
	$(BIN)/snakemake --cores all --resources gpu=1

plan: $(VENV)/study.stamp ## what STUDY (config/paper.yaml) will cost
	$(BIN)/snakemake --cores all --resources gpu=1 --quiet rules --configfile $(STUDY) -- plan

verify: $(VENV)/study.stamp ## compare the files in RESULTS (results) with their checksums
	@$(BIN)/python -m iclscope.report.manifest $(RESULTS)

lint: $(VENV)/test.stamp ## style, types, directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check .
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint ## all tests
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

$(VENV)/study.stamp: pyproject.toml envs/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -r envs/requirements.txt
	$(BIN)/pip install --no-deps --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/study.stamp
	$(BIN)/pip install --editable ".[slurm,test]"
	touch $@

clean: ## remove the environment, results and logs
	rm -rf $(VENV) results resources logs benchmarks .snakemake
