# make demo   classify the bundled sample videos and write demo-report.html
# make test   lint, types and the test suite (under five minutes on two cores)
# All targets create .venv when it is missing. PYTHON picks the interpreter (3.11 or newer).

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow test-versions lint bench clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("videoswin needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/tested: .venv/installed
	$(PIP) --editable '.[test]'
	touch $@

demo: .venv/installed
	$(BIN)/videoswin demo --report demo-report.html

test: .venv/tested lint
	$(BIN)/python -m pytest -n 2

test-slow: .venv/tested
	$(BIN)/python -m pytest -m slow

test-versions: .venv/tested
	$(PIP) uv
	$(BIN)/python tests/versions.py $(if $(PYTHONS),$(addprefix --python ,$(PYTHONS)))

lint: .venv/tested
	$(BIN)/ruff check src tests benchmarks recipes
	$(BIN)/ruff format --check src tests benchmarks recipes
	$(BIN)/pyright

bench: .venv/installed
	$(BIN)/python -m benchmarks.compare --what forward,train,memory,scaling --out benchmarks/latest

clean:
	rm -rf .venv demo-report.html
