# make demo and make test do all the set-up themselves: Python 3.11 or newer, make and git suffice.
# Another interpreter:         make demo PYTHON=python3.12
# PyTorch from another index:  make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
TORCH_INDEX ?=
PYTEST_WORKERS ?= 2
ATTACKS ?= 4
# Files in turn; those of most tests first would leave the few that take minutes to one worker.
SPREAD := --dist loadfile --no-loadscope-reorder
DEMO_TRAIN ?= algorithm=apg num_envs=16 total_agent_steps=5_600_000 algorithm.smoothing_iterations=90 \
	validate_every=10
DEMO_EVALUATE ?= 'bidder=[all,runs/demo]' 'ledger=[ideal,block]' days=28
DEMO_DEVIATE ?= 'bidder=[truthful,runs/demo]' days=14 exploitability=true planner=false

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
FOLDERS := agents configs envs evaluation ledger_sim studies

.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint types layers docs tables package bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' Makefile

# A market's tensors are small: a second thread of PyTorch's costs more than it brings.
demo: export OMP_NUM_THREADS = 1
demo: .venv/.runtime ## train bidders, compare them on held-out days, write a report
	$(BIN)/python train.py name=demo $(if $(wildcard runs/demo),resume=true,$(DEMO_TRAIN))
	$(BIN)/python evaluate.py name=demo overwrite=true $(DEMO_EVALUATE)
	$(BIN)/python evaluate.py name=demo-deviations overwrite=true $(DEMO_DEVIATE)
	@echo "Who could gain by playing otherwise: $(CURDIR)/results/demo-deviations/report.html"
	@echo "The report: $(CURDIR)/results/demo/report.html"

test: lint types layers ## every check and the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(SPREAD)

# The same run with every test in it, and four times the random attacks.
test-all: lint types layers docs ## the same with the long tests and four times the random attacks
	GRIDBAZAAR_ATTACKS=$(ATTACKS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "long or not long" \
		-n $(PYTEST_WORKERS) $(SPREAD)

lint: .venv/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev build/links ## mypy
	$(BIN)/mypy

layers: .venv/.dev build/links ## import-linter: arrows point down only
	rm -rf build/copy && cp -rL build/links build/copy
	cd build/copy && ../../$(BIN)/lint-imports --config ../../pyproject.toml --no-cache

# The folders under the name that others import; type checker and import-linter look here.
.PHONY: build/links
build/links:
	@rm -rf $@ && mkdir -p $@/gridbazaar
	@ln -s $(addprefix $(CURDIR)/,$(wildcard gridbazaar/*) $(FOLDERS)) $@/gridbazaar/

docs: .venv/.docs build/links ## build the documentation into site/, warnings as errors
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --quiet
	@echo "The documentation: $(CURDIR)/site/index.html"

tables: .venv/.dev ## write the tables of README.md and docs/ that come from the code
	$(BIN)/python tools/tables.py

package: .venv/.dev ## build sdist and wheel for PyPI into build/package and check them
	rm -rf build/package
	$(BIN)/python -m build --no-isolation --outdir build/package
	$(BIN)/python -m twine check --strict build/package/*

bench: .venv/.dev ## print the throughput figures
	$(BIN)/python benchmarks/throughput.py

clean: ## remove .venv and caches; runs/ and results/ stay
	rm -rf .venv build site gridbazaar.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Try: make $(MAKECMDGOALS) PYTHON=python3.11"; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv module is missing. On Debian: sudo apt install python3-venv"; \
		exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

# PyTorch comes first: left to the resolver, another build of several gigabytes may be chosen. It
# brings setuptools, so that the project itself is built without a second environment.
.venv/.runtime: .venv/.python pyproject.toml constraints.txt
	@echo "Installing into .venv (some minutes the first time)"
	$(PIP) install -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		$(shell sed -n '/^torch==/p;/^setuptools==/p' constraints.txt)
	$(PIP) install -c constraints.txt --no-build-isolation -e .
	@touch $@

.venv/.docs: .venv/.runtime
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[docs]'
	@touch $@

.venv/.dev: .venv/.runtime
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev,examples]'
	@touch $@
