# Two commands do all set-up: `make demo` and `make test`.
#   make demo INDEX=https://my.index/simple    installs from another package index
#   make demo PYTHON=python3.12                uses another interpreter

PYTHON ?= python3
INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SPARK := $(VENV)/.spark
PIP_INDEX := $(if $(INDEX),--index-url $(INDEX))

export DO_NOT_TRACK ?= true
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export MLFLOW_DISABLE_TELEMETRY ?= true

.PHONY: demo test soak cluster-test lint format docs mutants clean

demo: $(STAMP)
	$(BIN)/assay demo

test: $(SPARK)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Every point at which a command touches the disk or MLflow failed and killed in turn, where `make test` tries a few of
# them; and 1,000 broken files validated and scored.
soak: $(STAMP)
	SOAK=1 $(BIN)/python -m pytest -o timeout=0 -rP tests/flows/test_faults.py tests/flows/test_faults_of_versions.py \
	  tests/flows/commands/test_label.py tests/pipeline/workspace/test_draft.py tests/pipeline/selection/test_recovery.py
	SOAK=1 $(BIN)/python -m pytest -rP tests/test_broken_files.py

# Validation, features and scores on a cluster of four workers on this machine, three of which are killed in mid-job.
cluster-test: $(SPARK)
	$(BIN)/python -m pytest -o timeout=0 -rP tests/cluster.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# How many small changes of the code the tests notice, on a copy in mutants/; a second run tries those that are new.
#   make mutants ONLY='pipeline.labels.*'      tries some
#   make mutants SAMPLE=400 SEED=1             tries as many, drawn from all
mutants: $(STAMP)
	test -x $(BIN)/mutmut \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_INDEX) -c constraints.txt -e '.[mutants]'
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ONLY),'$(ONLY)')

# The virtual environment, made again when a pin or a dependency changes.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Assay needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_INDEX) -c constraints.txt -e '.[dev]'
	touch $(STAMP)

# Apache Spark is 490 MB, and only the tests of the engine that runs on it need it.
$(SPARK): $(STAMP)
	@command -v java >/dev/null || test -x "$$JAVA_HOME/bin/java" \
	  || { echo "The tests need Java 17 or newer; on Debian or Ubuntu: apt-get install openjdk-17-jre-headless"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_INDEX) -c constraints.txt -e '.[spark]'
	touch $(SPARK)

clean:
	rm -rf $(VENV) mutants build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage*
