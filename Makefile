# One environment for every target: .venv, made from the hashed requirements.lock.
# Each target that needs it depends on its stamp, .venv/.ready, which is written last: an interrupted
# set-up has no stamp, so the next make finishes it.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/uv
# bytecode is kept whatever the environment says: without it every process spends 6 s on compiling its libraries
export PYTHONDONTWRITEBYTECODE :=
define newline


endef
UV_TARGET := --python $(BIN)/python --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup quickstart paper results api test lint format coverage lock audit wheel clean which-python stale

.DEFAULT:
	$(error there is no target '$@'; make without a target lists them)

help:
	@echo "make setup        the environment in .venv alone; every other target does it first"
	@echo "make quickstart   train, prune and map a small network at eight settings; no data set, account or GPU needed"
	@echo "make paper        the paper as PDF from paper/records; no TeX and no network needed"
	@echo "make results      RESULTS.md and its figures from paper/records, the drawings of README and CONCEPTS.md"
	@echo "make api          the reference of what programs import, from the docstrings, into build/api"
	@echo "make test         lint, then every test"
	@echo "make lint         ruff and ty, changing nothing"
	@echo "make format       let ruff rewrite the code"
	@echo "make coverage     lines that the tests of the lower floors reach; fails where a floor lies under 90 %"
	@echo "make lock         resolve pyproject.toml again into requirements.lock"
	@echo "make audit        look up known vulnerabilities of everything in requirements.lock (asks osv.dev)"
	@echo "make wheel        build the wheel, install it with its locked dependencies alone, train outside the repository"
	@echo "make clean        remove the environment and all caches; keeps results"
	@echo
	@echo "The first target you run sets up .venv by itself (25 s to 3 min). PYTHON=/path/to/python chooses"
	@echo "the interpreter (3.11 to 3.13); make which-python prints the one that would be used."

setup: $(READY)

quickstart: $(READY)
	@$(BIN)/cimlab train -m granularity=weight,operation_unit,array_column,filter prune.remaining=0.25,0.1

paper: $(READY)
	@$(BIN)/cimlab paper

results: $(READY)
	@$(BIN)/cimlab report paper/records -o RESULTS.md --figures paper/figures
	@$(BIN)/python paper/one_array.py
	@$(BIN)/python paper/concepts.py

# what programs import; a docstring or signature that pdoc can't read fails
API := lab crossbar network pruning hardware analog records models data

api: $(READY)
	@$(BIN)/python -W error::UserWarning:pdoc.doc_types -m pdoc --docformat google --no-show-source \
		--output-directory build/api $(API:%=cimlab.%)
	@echo "build/api/index.html is up to date"

test: lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: $(READY)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "lint: some files are not formatted; run: make format" >&2; exit 1; }
	@$(BIN)/ty check --no-progress --python $(VENV)

format: $(READY)
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format

GROUND := crossbar pruning hardware analog records

# the index of records is tested through the command that reads it
coverage: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(GROUND:%=tests/%) tests/cli/test_runs.py \
		$(GROUND:%=--cov=cimlab/%) --cov-report=
	@set -e; for floor in $(GROUND); do \
		$(BIN)/coverage report --include="cimlab/$$floor/*" --skip-covered --show-missing --fail-under=90; done

lock: $(READY)
	@$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --quiet -o requirements.lock
	@echo "requirements.lock is up to date; the next make installs it"

# uv audits a project's own lock, so the pins of requirements.lock become a project of their own, outside the tree
audit: $(READY)
	@set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	awk '/^[a-zA-Z0-9]/ { sub(/ *\\$$/, ""); print }' requirements.lock >"$$scratch/pins.txt"; \
	uv="$(CURDIR)/$(UV)"; python="--quiet --python $(CURDIR)/$(BIN)/python"; cd "$$scratch"; \
	"$$uv" init --bare --name audit $$python; \
	"$$uv" add --requirements pins.txt --frozen $$python; \
	"$$uv" lock $$python; \
	"$$uv" audit --frozen

# A clean environment outside the tree: nothing but the wheel and what it depends on, at the locked versions.
wheel: $(READY)
	@set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(BIN)/python -m hatchling build -t wheel -d "$$scratch" >/dev/null; \
	awk '/^[a-zA-Z0-9]/ { sub(/ *\\$$/, ""); print }' requirements.lock >"$$scratch/pins.txt"; \
	$(UV) venv --quiet --python $(BIN)/python "$$scratch/clean"; \
	$(UV) pip install --quiet --python "$$scratch/clean/bin/python" --constraint "$$scratch/pins.txt" "$$scratch"/*.whl; \
	cd "$$scratch"; env -u PYTHONPATH clean/bin/cimlab train data=digits recipe.epochs=1 schedule.epochs=1; \
	ls outputs/*/record.json >/dev/null; echo "the wheel installs and trains outside the repository"

clean:
	rm -rf $(VENV) build dist *.egg-info .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- set-up ----

# Looks in EVERY directory of PATH: a version manager's shim may exist, print 'command not found' and
# stand before a real interpreter of the same name. Answers 'ok PATH' or 'no REASON'.
# make hands it to the shell as one line, so every command ends with a semicolon.
define SEARCH
probe='from importlib.util import find_spec; import sys; v = sys.version_info[:2];
    print("is Python %d.%d" % v if not (3, 11) <= v <= (3, 13) else
          "ok" if find_spec("venv") and find_spec("ensurepip") else "lacks venv or ensurepip")';
tried=;
consider() {
    answer=$$("$$1" -I -c "$$probe" 2>/dev/null </dev/null) || answer=;
    if [ "$$answer" = ok ]; then echo "ok $$1"; exit; fi;
    tried="$$tried$${tried:+, }$$1 $${answer:-does not run}";
};
if [ -n '$(PYTHON)' ]; then
    consider '$(PYTHON)';
else
    set -f; IFS=:;
    for name in python3 python3.13 python3.12 python3.11; do
        for folder in $$PATH; do
            [ "$$folder" -ef $(BIN) ] && continue;
            [ -x "$$folder/$$name" ] && consider "$$folder/$$name";
        done;
    done;
fi;
echo "no $${tried:-no python3 on PATH}"
endef

found_or_stop = $(if $(filter ok,$(firstword $(1))),$(wordlist 2,99,$(1)),$(error no Python 3.11 to 3.13 \
with venv and ensurepip (tried: $(wordlist 2,999,$(1))); install one, e.g. apt install python3 python3-venv, \
or name one: make PYTHON=/path/to/python))
interpreter = $(call found_or_stop,$(shell $(subst $(newline), ,$(SEARCH))))

which-python:
	@echo "$(interpreter)"

# A moved or copied .venv still points at its old place, and an interrupted one may lack pip: neither is usable.
here = { grep -qs 'venv $(CURDIR)/$(VENV)$$' $(VENV)/pyvenv.cfg && [ -x $(BIN)/python ] && echo yes; } 2>/dev/null
usable = $(shell $(here) >/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 && echo yes)

define create
echo "set-up 1/4: creating $(VENV) with $(interpreter) (about 5 s)"
rm -rf $(VENV)
"$(interpreter)" -m venv $(VENV)
endef

$(READY): requirements.lock pyproject.toml $(if $(shell $(here)),,stale)
	@set -e; $(if $(usable),,$(subst $(newline),; ,$(create)))
	@echo "set-up 2/4: installing uv, checked against the hash in requirements.lock (about 5 s)"
	@awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements.lock >$(VENV)/uv.lock
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes --no-deps -r $(VENV)/uv.lock
	@echo "set-up 3/4: installing requirements.lock, every file checked against its hash (20 s to 3 min)"
	@$(UV) pip install $(UV_TARGET) --require-hashes -r requirements.lock
	@echo "set-up 4/4: installing cimlab itself, editable (about 3 s)"
	@$(UV) pip install $(UV_TARGET) --no-deps --no-build-isolation -e .
	@touch $@

stale:
