# Each target makes .venv and installs what it needs; there is nothing else to do first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow bench bench-peers arrivals real-round faults fuzz lint docs clean help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/made:
	$(PYTHON) -m venv .venv
	@touch $@

.venv/%: .venv/made pyproject.toml constraints.txt
	@echo "installing clip-ref with its '$*' extras into .venv ..."
	$(PIP) -e '.[$*]'
	@touch $@

demo: .venv/train  ## train on real digits, without and with CLIP; results in out/demo/
	$(BIN)/clip-ref demo

test: .venv/train .venv/test  ## unit and property tests, under 5 minutes
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-slow: .venv/train .venv/test  ## the tests marked slow
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -m slow tests benchmarks

bench: .venv/train .venv/test  ## cost benchmarks, ratios within one run
	$(BIN)/python -m pytest benchmarks --benchmark-enable --override-ini addopts=

# Flower has pins of its own, so it gets an environment of its own.
.venv-peers/made: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	@echo "installing clip-ref and Flower into .venv-peers ..."
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]'
	@touch $@

bench-peers: .venv-peers/made  ## the same work by Flower's SecAgg+, in the same run; out/peers/
	PYTHONPATH=benchmarks .venv-peers/bin/python -m peers $(PEERS)

arrivals: .venv/test  ## what arrival times tell about who is slow; a minute, for spec/deadline.md
	$(BIN)/python benchmarks/arrivals.py $(ARRIVALS)

real-round: .venv/train .venv/test  ## the simulator against processes with quotas and shaped links; 8 minutes, as root
	PYTHONPATH=benchmarks $(BIN)/python -m real_round $(REAL_ROUND)

faults: .venv/test  ## small rounds with faults, from where the last sitting stopped; FAULTS='--seconds 180'
	PYTHONPATH=tests $(BIN)/python benchmarks/faults.py $(FAULTS)

fuzz: .venv/test  ## mutated messages against decoder, server and clients, for a minute; FUZZ='--seconds 600'
	PYTHONPATH=tests $(BIN)/python benchmarks/fuzz.py $(FUZZ)

lint: .venv/train .venv/test .venv/lint  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/docs  ## the site, strictly, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove what was built or installed here
	rm -rf .venv .venv-peers site out .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
