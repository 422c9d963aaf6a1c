# Everything that is done to this project. `make demo` and `make test` need Python 3.11+ and nothing else.

VENV := .venv
BIN := $(VENV)/bin

# `make demo PYTHON=python3.13` makes .venv again if it is of another Python; without PYTHON, .venv
# stays what it is. Its packages are those that were tested.
VERSION := -c 'import platform; print(platform.python_version())'
ifdef PYTHON
READY := $(VENV)/.ready-$(shell $(PYTHON) $(VERSION))
else
PYTHON := python3
READY := $(or $(wildcard $(VENV)/.ready-*),$(VENV)/.ready-$(shell $(PYTHON) $(VERSION)))
endif

.PHONY: demo test test-slow check bench gpu-acceptance clean

$(READY): pyproject.toml constraints.txt
	[ -e $@ ] || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $(VENV)/.ready-$$($(BIN)/python $(VERSION))

# Real weights, real photos: corrupt, perturb, export, prove parity, score, attack, report. Ten minutes at most.
demo: $(READY)
	$(BIN)/evaluator reproduce --sample --out demo
	@echo "Open demo/report.html in a browser; the same is in demo/report.md and demo/report.json."

# With FILE=tests/x.py only what is in this file or folder, by one process.
FILE :=
PYTEST := $(BIN)/python -m pytest --durations 10 $(if $(FILE),$(FILE),-n logical --maxprocesses 8)

# All tests but the slow ones. Workers that have nothing left take over tests of others.
test: $(READY)
	$(PYTEST) -m 'not slow' --dist worksteal

# The slow ones, and those of hypothesis with ten times as many examples. .ci/run runs them too. What
# the tests of a file share takes minutes, so each file has one worker.
test-slow: $(READY)
	$(PYTEST) -m 'slow or hypothesis' --hypothesis-profile thorough --dist loadfile

# mypy knows the package only where a folder has its name: hence the link.
check: $(READY)
	mkdir -p .check && ln -sfn .. .check/evaluator
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd .check && ../$(BIN)/mypy --config-file ../pyproject.toml -p evaluator
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m perf

# What has to be seen on a GPU; steps that passed are not repeated. The results are in gpu-acceptance/.
gpu-acceptance: $(READY)
	$(BIN)/python -m perf.gpu_acceptance

clean:
	rm -rf $(VENV) .check build dist *.egg-info demo .mypy_cache .ruff_cache .test-cache
