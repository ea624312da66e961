# Everything sets itself up: a fresh machine needs Python 3.11 or newer, and make.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test demo bench soak lint types format lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: .venv/run.stamp  ## start a hub with the built-in models, show one completion, go on serving
	@$(BIN)/byom serve --greet

demo: .venv/run.stamp  ## a tour of BYOM, offline, that ends by itself
	@$(BIN)/byom demo

test: .venv/test.stamp .venv/clients.stamp tests/node/node_modules/.stamp  ## the whole test suite
	@$(BIN)/pytest

bench: .venv/test.stamp  ## BYOM beside its peers; writes bench/results/*.csv
	@$(BIN)/python bench/run.py

soak: .venv/test.stamp  ## one million calls: memory, connections, slots
	@$(BIN)/python bench/soak.py

lint: .venv/test.stamp  ## ruff, formatter included
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/test.stamp  ## mypy, strict
	@$(BIN)/mypy

format: .venv/test.stamp  ## put the code into shape
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: .venv/test.stamp  ## resolve the dependencies anew
	@scripts/lock

clean:  ## remove what make made
	rm -rf .venv tests/node/node_modules

.venv/bin/python:
	@scripts/make-venv $(PYTHON)

.venv/run.stamp: requirements/run.txt pyproject.toml | .venv/bin/python
	@scripts/install run

.venv/test.stamp: requirements/test.txt .venv/run.stamp
	@scripts/install test

.venv/clients.stamp: $(wildcard requirements/client-*.txt) .venv/test.stamp
	@scripts/install-clients

tests/node/node_modules/.stamp: tests/node/package-lock.json | .venv/bin/python
	@scripts/install-node-tests
