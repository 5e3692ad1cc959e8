# Everything a newcomer needs: `make demo`, `make test`. Both install on first use.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Seen by the tests alone: diffusers and transformers import it wherever they find it, and it warns aloud.
QUANTIZERS := $(VENV)/quantizers

.PHONY: demo analyses test faults test-versions matrix lint format stubs docs docs-figures notebooks clean

demo: $(STAMP)
	$(BIN)/ditscope demo --out demo

# Every claim of analyses/ on the embedded pipeline, in order: 49 minutes of one core. Broken off, it goes on.
analyses: $(STAMP)
	for script in analyses/[0-9][0-9]_*.py; do name=$$(basename $$script .py); \
		$(BIN)/python $$script --out runs/analyses/$$name --keep analyses/results/$$name || exit 1; done
	$(BIN)/python analyses/readme.py

# What Python compiles is kept, for the processes that tests start.
test: $(STAMP)
	PYTHONPATH=$(QUANTIZERS)$${PYTHONPATH:+:$$PYTHONPATH} PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

# An hour and more: every operation on a file fails, in every way; a process is killed and the power cut ahead of each.
faults: $(STAMP)
	DITSCOPE_FAULTS=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 tests/faults

# Half an hour, the network and 15 GB: the tests with the lowest and the newest libraries that are allowed.
test-versions: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[versions]"
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python docs/tested_versions.py

# The matrix of changes in the table of support, from what its tests find.
matrix: $(STAMP)
	PYTHONPATH=$(QUANTIZERS)$${PYTHONPATH:+:$$PYTHONPATH} OMP_NUM_THREADS=1 $(BIN)/python docs/tested_changes.py
	$(BIN)/python docs/support_table.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stubs: $(STAMP)
	$(BIN)/python -m ditscope._discovery
	$(BIN)/ruff check -q --fix src
	$(BIN)/ruff format -q src

# The site, in build/docs; `make docs-figures` draws the gallery again, `make notebooks` runs the notebooks and stores them.
docs: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-figures: $(STAMP)
	$(BIN)/python docs/run_pages.py

notebooks: $(STAMP)
	$(BIN)/python notebooks/execute.py

# torch first and pinned: an open range would fetch builds for accelerators that are not there.
$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): a few minutes, once."
	$(PYTHON) -m venv $(VENV)
	@echo "1 of 3: torch"
	$(BIN)/python -m pip install -q --disable-pip-version-check "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	@echo "2 of 3: diffusers, transformers, nnsight and the rest"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev,notebooks,explorer]"
	@echo "3 of 3: torchao, for the tests"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps \
		--target $(QUANTIZERS) --upgrade torchao
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache
