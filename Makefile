# The two commands that matter: `make demo` and `make test`. Needs only Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEEDS := pyproject.toml constraints.txt
PIP_FLAGS := -qq --disable-pip-version-check --constraint constraints.txt
VERSIONS := 3.12 3.13
WORKERS := auto

# One thing at a time: pip must not run twice in one environment.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

# An environment whose interpreter is gone is made again.
ifneq ($(shell $(BIN)/python -c '' 2>/dev/null || echo gone),)
$(shell rm -f $(VENV)/.ready-*)
endif

.PHONY: help
help: ## Show these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | while IFS='	' read -r name says; do \
		printf '  make %-13s %s\n' "$$name" "$$says"; done

.PHONY: demo
demo: $(VENV)/.ready-demo ## Federate four hospitals on this machine, in seconds
	@$(BIN)/tacit demo

.PHONY: test
test: says-python format-check lint types floors tests ## Run every check, as continuous integration does
	@printf '\nEvery check passed on %s.\n' "$$($(BIN)/python -V)"

.PHONY: says-python
says-python: $(VENV)/.ready-dev
	@printf 'Testing on %s (%s)\n' "$$($(BIN)/python -V)" "$$(uname -sm)"

# $(call check,title,command,remedy)
define check
@printf '\n== %s\n' '$(1)'
@$(2) || { printf '\nmake test stopped at: %s\n%s\n' '$(1)' '$(3)' >&2; exit 1; }
endef

.PHONY: format-check lint types floors tests
format-check: $(VENV)/.ready-dev
	$(call check,ruff format --check,$(BIN)/ruff format --quiet --diff .,Remedy: make format)

lint: $(VENV)/.ready-dev
	$(call check,ruff check,$(BIN)/ruff check --quiet .,Remedy: mend what the lines above name.)

types: $(VENV)/.ready-dev
	$(call check,mypy --strict,$(BIN)/python -m mypy,Remedy: mend the types that the lines above name.)

floors: $(VENV)/.ready-dev
	$(call check,lint-imports,$(BIN)/lint-imports --no-logo,Remedy: imports only go down; see docs/design.)

tests: $(VENV)/.ready-dev
	$(call check,pytest,$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup,Remedy: the failures are listed above.)

.PHONY: test-pythons
test-pythons: $(VERSIONS:%=test-python-%) ## Run the tests (or SOME folders) on other Pythons at hand, without PyTorch

# The first interpreter of version $* that runs: on PATH, or kept by pyenv.
define find-python
for found in python$* "$$(pyenv prefix $* 2>/dev/null)/bin/python" "$$HOME"/.pyenv/versions/$*.*/bin/python ''; do \
	[ "$$("$$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = $* ] && break; \
done
endef

.PHONY: $(VERSIONS:%=test-python-%)
$(VERSIONS:%=test-python-%): test-python-%:
	@$(find-python); \
	if [ -z "$$found" ]; then printf '\nPython $*: not found on PATH or under pyenv: NOT tested.\n'; exit 0; fi; \
	$(MAKE) --no-print-directory $(VENV)-$*/.ready-core CORE_PYTHON="$$found" && \
	printf '\n== pytest on %s (without PyTorch)\n' "$$($(VENV)-$*/bin/python -V)" && \
	TACIT_WITHOUT_TORCH=1 $(VENV)-$*/bin/python -m pytest -q -n $(WORKERS) --dist loadgroup $(SOME)

COUNT ?= 100000
SEED ?= 0

.PHONY: schedules
schedules: $(VENV)/.ready-dev ## Simulate COUNT schedules of crashes and lost messages
	@$(BIN)/python -m tacit.testing.schedules --count $(COUNT) --seed $(SEED)

.PHONY: bench
bench: $(VENV)/.ready-dev ## Measure everything, or one thing: make bench ONLY=import_tacit
	@$(BIN)/python -m benchmarks.run $(ONLY)

.PHONY: format
format: $(VENV)/.ready-dev ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(VENV)/.ready-dev ## Write the generated pages of docs/reference
	@$(BIN)/python -m docs.reference.generate

.PHONY: clean
clean: ## Remove environments, caches and built files
	rm -rf $(VENV) $(VERSIONS:%=$(VENV)-%) build dist
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call environment,folder,python): make it unless a working one is there.
define environment
@$(2) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	printf 'tacit needs Python 3.11 or newer. Name one: make PYTHON=python3.12 ...\n' >&2; exit 1; }
@$(1)/bin/python -m pip --version >/dev/null 2>&1 || { \
	printf 'Making the environment %s\n' '$(1)'; \
	$(2) -m venv --clear $(1) || { \
		printf 'Python cannot make environments here. On Debian: apt install python3-venv\n' >&2; exit 1; }; }
endef

$(VENV)/.ready-demo: $(NEEDS)
	$(call environment,$(VENV),$(PYTHON))
	@printf 'Installing tacit and what its demo needs (the first time takes a minute)\n'
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[demo]'
	@touch $@

$(VENV)/.ready-dev: $(NEEDS)
	$(call environment,$(VENV),$(PYTHON))
	@printf 'Installing tacit and its development tools (the first time takes a few minutes)\n'
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	@touch $@ $(VENV)/.ready-demo

$(VENV)-%/.ready-core: $(NEEDS)
	$(call environment,$(VENV)-$*,$(CORE_PYTHON))
	@printf 'Installing tacit for Python $*, without PyTorch\n'
	@$(VENV)-$*/bin/python -m pip install $(PIP_FLAGS) --editable '.[arrow,deploy,dp,huggingface,pandas,plot,ray,sklearn]' \
		hypothesis pytest pytest-xdist schemathesis xgboost-cpu
	@touch $@
