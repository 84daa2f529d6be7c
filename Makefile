# Every target sets up what it needs; `make` alone lists the targets.
#
# `exec`: the program is make's own child, so Ctrl-C and SIGTERM reach it, and make waits while it
# cleans up. One that then ends with 0 makes make say nothing.
PYTHON_IN_VENV := .venv/bin/python
.PHONY: help demo test lint accept micropython bench sim mutants deb deb-test lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## the whole system on this machine, no hardware needed; FOR=seconds ends it
	@scripts/venv.sh demo
	@exec $(PYTHON_IN_VENV) -m hil demo $(if $(FOR),--for $(FOR))

test: ## everything CI runs: style, types, layers, tests
	@scripts/test.sh

lint: ## style, types and layers only
	@scripts/venv.sh dev
	@scripts/lint.sh

accept: ## rewrite golden readings and the conformance table, on purpose
	@scripts/venv.sh dev
	@$(PYTHON_IN_VENV) -m tests.transcripts.captures
	@$(PYTHON_IN_VENV) -m tests.transcripts.expected
	@exec $(PYTHON_IN_VENV) -m tests.conformance.table

micropython: ## the meter part on MicroPython: WebAssembly, Unix and Cortex-M3, and its stubs
	@scripts/venv.sh dev
	@scripts/micropython.sh
	@$(PYTHON_IN_VENV) -m tests.micropython.build
	@exec $(PYTHON_IN_VENV) -m pytest tests/micropython tests/test_portability.py

bench: ## measure; ONLY=part measures one part, SOAK=seconds of the soak (120)
	@scripts/venv.sh dev
	@exec $(PYTHON_IN_VENV) tests/bench/run.py $(if $(ONLY),--only $(ONLY)) $(if $(SOAK),--soak $(SOAK))

mutants: ## plant faults in a copy, one by one: a test must catch each; ONLY=name begins the names
	@scripts/venv.sh dev
	@exec $(PYTHON_IN_VENV) -m tests.mutants.run $(if $(ONLY),--only $(ONLY))

sim: ## seeded worlds with faults; SEEDS=how many (100), FIRST=the first seed (0)
	@scripts/venv.sh dev
	@exec $(PYTHON_IN_VENV) -m tests.sim.run --seeds $(or $(SEEDS),100) --first $(or $(FIRST),0)

deb: ## the gateway's Debian packages into dist/; ARCH=arm64 or amd64 for one of them
	@scripts/venv.sh demo
	@exec $(PYTHON_IN_VENV) packaging/build.py $(if $(ARCH),--arch $(ARCH))

deb-test: ## as root: install, start, upgrade and purge them in containers; arm64 with qemu
	@scripts/venv.sh dev
	@exec env BUSBAR_DEB_TEST=all $(PYTHON_IN_VENV) -m pytest tests/packaging

lock: ## resolve requirements/ again; UPGRADE=1 also moves to newer releases
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## remove everything that is not source
	@rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@rm -rf tests/micropython/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
