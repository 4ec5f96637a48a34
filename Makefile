# Every target sets up what it needs: .venv with the versions of .ci/lock.txt, and leadsieve itself, editable.

export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1
# Compiled modules are kept, whatever the caller's shell says: commands and tests start many processes.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
READY := .venv/.ready
AIRFLOW := .venv-airflow
# The first of these that is Python 3.11 or later; choose another with `make PYTHON=/path/to/python3.12 ...`.
PYTHON ?= $(shell for python in python3.11 python3 python3.14 python3.13 python3.12; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)
# More arguments for the tool behind a target: `make test ARGS="-k spine"`.
ARGS ?=
# Batches of worlds that each law draws in `make laws`.
LAWS ?= 25
# Times that `make kills` kills the nightly job and the extract, and the write-back over a CRM that fails on purpose,
# PostgreSQL and Odoo.
KILLS ?= 20
KILLS_FAULTY ?= 200
KILLS_SERVERS ?= 20

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check licences airflow bench quality ladder gate replay review oracle laws mutants kills lock clean

help:  ## Print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(READY)  ## Create .venv and install the locked packages (the other targets do it by themselves)

demo: $(READY)  ## Simulate a small CRM, train, score and write back; print who to call and who may leave
	@$(BIN)/leadsieve demo $(ARGS)

test: $(READY)  ## Run the tests; 90 % of the lines must be covered, and a skipped test says why
	@$(BIN)/pytest -rs -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-fail-under=90 $(ARGS)

check: $(READY) licences  ## Lint, formatting, types, licences
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

airflow: $(READY)  ## Import the DAG with a real Airflow, in an environment of its own (.venv-airflow)
	@[ -x $(AIRFLOW)/bin/airflow ] || { $(PYTHON) -m venv $(AIRFLOW) && \
		$(AIRFLOW)/bin/python -m pip install -qq --disable-pip-version-check --no-input "apache-airflow==3.3.2"; }
	@LEADSIEVE_AIRFLOW=$(CURDIR)/$(AIRFLOW)/bin/python $(BIN)/pytest -rs tests/test_airflow.py $(ARGS)

licences: $(READY)  ## Check the licences of all that is installed with leadsieve
	@$(BIN)/python .ci/licences.py

bench: $(READY)  ## Run the benchmarks; those on a real Odoo where LEADSIEVE_ODOO names its env file
	@set -e; for script in tests/bench_*.py; do echo "== $$script"; case $$script,$$LEADSIEVE_ODOO in \
		*odoo*,) echo "skipped: LEADSIEVE_ODOO is not set";; *) $(BIN)/python $$script $(ARGS);; esac; done

quality: $(READY)  ## Compare with other tools on the fixed frames of the public data; exit code 1 where a bar is missed
	@$(BIN)/python tests/eval_frames.py $(ARGS)

ladder: $(READY)  ## Compare the chosen model with the logistic line at 40 to 2,560 rows of three data sets
	@$(BIN)/python tests/bench_ladder.py $(ARGS)

gate: $(READY)  ## Measure how often the gate promotes what it should not, and what it should (200 tries each)
	@$(BIN)/python tests/bench_gate.py $(ARGS)

replay: $(READY)  ## Play retraining over the calls of a bank: never, and at several cadences
	@$(BIN)/python tests/eval_replay.py $(ARGS)

review: $(READY)  ## Let the review of a card judge criteria whose truth is known (20 simulated worlds, about half an hour)
	@$(BIN)/python tests/eval_review.py $(ARGS)

oracle: $(READY)  ## Compare the model with the known truth of simulated worlds (20,000 customers, 3 seeds, about 20 minutes)
	@$(BIN)/python tests/eval_oracle.py $(ARGS)

laws: $(READY)  ## Run the laws of time and of writing on many more drawn worlds, about half an hour (LAWS=25 sets how many)
	@LEADSIEVE_LAWS=$(LAWS) $(BIN)/pytest -rs tests/test_laws.py tests/test_ended_laws.py tests/test_laws_extract.py \
		tests/test_writeback_faults.py $(ARGS)

mutants: $(READY)  ## Seed faults into the rules of time, one at a time; every one must be caught by a test
	@$(BIN)/python tests/run_mutants.py $(ARGS)

kills: $(READY)  ## Kill the nightly job, extracts and the write-back at random moments; compare what the CRM holds in the end
	@[ -d .leadsieve/demo/bundles ] || $(BIN)/leadsieve demo
	@$(BIN)/python tests/kill_run.py --kills $(KILLS) --config configs/demo.yaml $(ARGS)
	@$(BIN)/python tests/kill_extract.py --kills $(KILLS)
	@$(BIN)/python tests/kill_writeback.py --faulty $(KILLS_FAULTY) --postgres $(KILLS_SERVERS) --odoo $(KILLS_SERVERS)

lock:  ## Write .ci/lock.txt from pyproject.toml; newer versions with ARGS=--upgrade
	@PYTHON='$(PYTHON)' .ci/lock $(ARGS)

clean:  ## Remove .venv and caches; what leadsieve has stored (.leadsieve) stays
	@rm -rf .venv $(AIRFLOW) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	@find features models pipeline tests -name __pycache__ -prune -exec rm -rf {} +

# An interrupted pip leaves packages without a RECORD file, which the next pip would take for installed: their
# metadata goes, so that it installs them again. A .venv without a working Python or pip is made anew.
$(READY): pyproject.toml .ci/lock.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { echo "leadsieve \
	needs Python 3.11 or later, $(or $(PYTHON:%='%' is not one),none was found): install it (Debian: apt-get install \
	python3 python3-venv) or name one with make PYTHON=/path/to/python3.11." >&2; exit 1; }
	@$(PYTHON) -c 'import ctypes, sys; sys.platform == "linux" and ctypes.CDLL("libgomp.so.1")' 2> /dev/null || { echo \
	"LightGBM needs libgomp.so.1, which this machine lacks: run 'apt-get install libgomp1' (Fedora: dnf install \
	libgomp) as root, then make again." >&2; exit 1; }
	@for folder in .venv/lib/python3*/site-packages/*.dist-info; do \
		if [ -d "$$folder" ] && [ ! -f "$$folder/RECORD" ]; then rm -rf "$$folder"; fi; done
	@$(BIN)/python -c 'from importlib.metadata import version; version("pip")' 2> /dev/null || { \
		echo "Creating .venv with $$($(PYTHON) --version) ..."; \
		$(PYTHON) -m venv --clear .venv > /dev/null || { echo "Python cannot make a virtual environment: install its \
	venv module (Debian: apt-get install python3-venv), then make again." >&2; exit 1; }; }
	@echo "Installing the packages of .ci/lock.txt into .venv (about two minutes the first time) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes -r .ci/lock.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .
	@touch $@
