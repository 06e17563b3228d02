# Two commands set everything up: `make demo` and `make test`.
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# One thread is fastest for models this small: two spend their time waiting for each other.
export OMP_NUM_THREADS ?= 1

.PHONY: demo serve test lint types docs bench nightly demo-model measure-demo thesis clean

$(STAMP): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)  ## the main job, told step by step, on the embedded model
	$(VENV)/bin/kel demo --dir demo-ledger

serve: $(STAMP)  ## the application in the browser, on the embedded model
	$(VENV)/bin/kel serve --demo

test: $(STAMP)  ## the fast tier
	$(PYTHON) -m pytest -m "not slow" -n 2 --dist loadfile

lint: $(STAMP)  ## style, types, and that generated documents are current
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PYTHON) -m cli.reference docs/cli.md --check

types: $(STAMP)
	$(VENV)/bin/mypy

docs: $(STAMP)  ## rewrite the generated documents
	$(PYTHON) -m cli.reference docs/cli.md

bench: $(STAMP)  ## ratios, measured here
	OMP_NUM_THREADS=2 $(PYTHON) -m bench

nightly: $(STAMP)  ## every tier; what ran, what was skipped and why, and the table of docs/reliability.md
	KEL_TIER=nightly $(PYTHON) -m pytest -n 2 --dist loadfile --durations=20

demo-model: $(STAMP)  ## train the embedded models from nothing (under 40 minutes on 2 cores)
	OMP_NUM_THREADS=2 $(PYTHON) -m ledger.demo.build

measure-demo: $(STAMP)  ## the figures of docs/demo-model.md
	$(PYTHON) -m ledger.demo.report --write docs/demo-model.md

thesis: $(STAMP)  ## the thesis' experiments on the embedded models: docs/thesis.md (under 40 minutes; goes on if cut)
	$(PYTHON) -m ledger.demo.thesis --runs runs/thesis --page docs/thesis.md

clean:
	rm -rf $(VENV) demo-ledger
