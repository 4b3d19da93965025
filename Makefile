# One word each: `make install`, `make check`, `make test`; `make all` is what must pass to land.
.PHONY: install check test all

install:
	pip install --no-deps -r constraints/tested.txt && pip install --no-deps -e .

check:
	ruff check . && ruff format --check . && mypy

test:
	pytest -q

all:
	bash .ci/run
