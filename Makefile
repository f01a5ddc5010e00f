# Sets up .venv and runs. Nothing else hides here.

PYTHON ?= python3
STUDY ?= config/paper.yaml
VENV := .venv
BIN := $(VENV)/bin

.PHONY: study plan test clean

study: $(VENV)/study.stamp
	$(BIN)/snakemake --cores all --resources gpu=1
	@echo "The report lies in results/report/index.html"

plan: $(VENV)/study.stamp
	$(BIN)/snakemake --cores all --resources gpu=1 --quiet rules --configfile $(STUDY) -- plan

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
