# Everything sets itself up: `make demo` and `make test` need python3 (>= 3.11) and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One thread: results do not depend on the machine, and parallel tests do not fight for cores.
export OMP_NUM_THREADS := 1
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow prove-rules check lint types real headline headline-full bench bench-policy bench-payment bench-guard bench-uplift bench-confounded bench-delays calibration notebook clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-17s %s\n", $$1, $$2}'

# Installed once; again when pyproject.toml changes.
$(VENV)/.user: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	@$(BIN)/python -m pip install --quiet --editable ".[mlflow,calendar,gym,tune,explain,fast]" --group dev
	@touch $@

# With the rivals of the payment benchmark.
$(VENV)/.bench: $(VENV)/.user
	@$(BIN)/python -m pip install --quiet --group bench
	@touch $@

# With the rivals of the uplift benchmark.
$(VENV)/.uplift: $(VENV)/.user
	@$(BIN)/python -m pip install --quiet --group uplift
	@touch $@

demo: $(VENV)/.user ## Simulated book -> train -> decide -> demo/report.html
	$(BIN)/collectopt demo

test: $(VENV)/.dev ## Run the tests
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not slow"

test-slow: $(VENV)/.dev ## Run the long tests too
	$(BIN)/python -m pytest -q -n $(JOBS)

prove-rules: $(VENV)/.dev ## Every rule against a plain reader, over ten million decisions
	RULES_DECISIONS=10000000 $(BIN)/python -m pytest -q -s -m slow tests/policy/test_rules_proof.py tests/rules/test_us_uk.py

check: lint types test ## What CI runs: ruff, mypy, tests

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

real: $(VENV)/.user ## Yearly walk-forward on the road traffic fines (needs COLLECTOPT_DATA)
	$(BIN)/python benchmarks/real.py

headline: $(VENV)/.user ## The policy against a ladder in simulated books (an hour on 2 cores)
	$(BIN)/python benchmarks/headline.py

headline-full: $(VENV)/.user ## The same with 5 seeds (two hours on 2 cores)
	$(BIN)/python benchmarks/headline.py --seeds 5

bench: $(VENV)/.user ## Speed beside the natural way
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/simulation.py
	$(BIN)/python benchmarks/hazard.py
	$(BIN)/python benchmarks/scoring.py

bench-policy: $(VENV)/.dev ## Joint choice, memory of a run and one decision beside their bars
	$(BIN)/python benchmarks/allocation.py
	$(BIN)/python benchmarks/decide_memory.py
	$(BIN)/python benchmarks/one_decision.py

bench-payment: $(VENV)/.bench ## Payment forecasts beside bars and rivals (needs COLLECTOPT_DATA)
	$(BIN)/python benchmarks/payment.py

bench-guard: $(VENV)/.user ## Learnt policies against the best constant action (needs COLLECTOPT_DATA)
	$(BIN)/python benchmarks/guard.py

bench-uplift: $(VENV)/.uplift ## Individual effects beside other libraries (needs COLLECTOPT_DATA)
	$(BIN)/python benchmarks/uplift.py

bench-confounded: $(VENV)/.user ## Naive readings of a log whose choices knew more (simulated)
	$(BIN)/python benchmarks/confounded.py

bench-delays: $(VENV)/.user ## Reasons of delays against the types of simulated books
	$(BIN)/python benchmarks/delays.py

calibration: $(VENV)/.user ## Published trials, simulated against published
	$(BIN)/python benchmarks/calibration.py

notebook: $(VENV)/.dev ## Turn notebooks/*.py into .ipynb
	$(BIN)/jupytext --to ipynb notebooks/*.py

clean: ## Remove the environment and outputs
	rm -rf $(VENV) demo real headline payment .pytest_cache .mypy_cache .ruff_cache
