# Three commands: `make demo`, `make app` and `make test`. Each sets everything up first; the second time that takes no time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
APP := .venv-app
APP_STAMP := $(APP)/.installed
WORKERS ?= $(shell nproc)
OUT ?= demo-output
CT ?=

.PHONY: setup setup-app app demo test lint bench study-labels study-effort study-order study-federated clean help

help:
	@echo "make demo [CT=/path/to/ct]  the whole loop on real Flower processes; the result is $(OUT)/report.html"
	@echo "make app [DATA=/folder]     the workbench in a browser, without a 3D Slicer; DATA is a folder of scans to open"
	@echo "make test                   every test; those of the page in the browser need Chromium and 'make setup-app'"
	@echo "make lint                   ruff and mypy"
	@echo "make bench                  how fast the teacher is beside MONAI and nnU-Net, and the page in the browser; needs the machine for itself, about half an hour"
	@echo "make study-labels [DATA=]   what scans without labels are worth; study-effort [TEACHER=]: what the teacher saves a clinician, and how that grows with the rounds; study-order: which case to annotate next; results in docs/studies"
	@echo "make study-federated [XRAYS=] what is lost by not pooling data, and won over staying alone; results in study-federated"
	@echo "make setup                  only the environment, $(VENV)"

CHECK_PYTHON := $(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else "Python 3.11 or 3.12 is needed, this is %d.%d: try make PYTHON=python3.12" % sys.version_info[:2])'

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt
	@$(CHECK_PYTHON)
	@echo "Setting up $(VENV): about 2 GB, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[federation,study,scene,test,lint]"
	@touch $@

# trame-slicer brings a Slicer of its own (5.11), which cannot live beside the one of $(VENV).
setup-app: $(APP_STAMP)

$(APP_STAMP): pyproject.toml setup.py constraints.txt constraints-app.txt
	@$(CHECK_PYTHON)
	@echo "Setting up $(APP), the environment of the workbench in the browser: about 3 GB, once."
	$(PYTHON) -m venv $(APP)
	@grep -vE '^(slicer-core|vtk)==' constraints.txt | cat - constraints-app.txt > $(APP)/constraints.txt
	$(APP)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(APP)/constraints.txt --editable ".[federation,app]" pytest pytest-timeout
	@touch $@

app: $(APP_STAMP)
	@$(APP)/bin/fedliver app $(if $(DATA),--data "$(DATA)")

demo: $(STAMP)
	$(BIN)/fedliver demo --out "$(OUT)" $(if $(CT),--ct "$(CT)")

# What needs trame-slicer is tested in its environment, if that is there. Tests that start real processes run one after the other:
# side by side they would only time each other out.
IN_APP := $(if $(wildcard $(APP_STAMP)),tests/web/test_page_tools.py tests/web/test_page_aside.py tests/web/test_page_surfaces.py tests/web/test_page_index.py)
PYTEST := $(BIN)/python -m pytest -q $(IN_APP:%=--ignore=%)

test: $(STAMP) $(wildcard $(APP_STAMP))
	$(PYTEST) -n $(WORKERS) -m "not processes"
	$(if $(IN_APP),$(APP)/bin/python -m pytest -q $(IN_APP))
	$(PYTEST) -m processes

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/inference_speed.py
	$(if $(wildcard $(APP_STAMP)),$(BIN)/python benchmarks/browser_speed.py)

# Without DATA on generated patients; with it on a folder of annotated ones, and then further options in LABELS, EFFORT, ROUNDS (EFFORT="--folds 4").
study-labels: $(STAMP)
	$(BIN)/fedliver study labels --out docs/studies/labels $(if $(DATA),--data "$(DATA)" $(LABELS))

study-effort: $(STAMP)
	$(BIN)/fedliver study effort --out docs/studies/effort $(if $(DATA),--data "$(DATA)" $(EFFORT))
	$(BIN)/fedliver study rounds --out docs/studies/effort/rounds$(if $(DATA),-real) $(if $(DATA),--data "$(DATA)" $(ROUNDS)) $(if $(TEACHER),--teacher "$(TEACHER)")

study-order: $(STAMP)
	$(BIN)/fedliver study order --out docs/studies/order $(if $(DATA),--data "$(DATA)")

# On generated hearts, and with XRAYS (a folder with a folder of images for every class) on real chest X-rays too. WORKERS arms at a time.
# Not into docs/studies, where the results that are shown are whole: nothing would be run.
study-federated: $(STAMP)
	$(BIN)/fedliver study federated --task heart-small --out study-federated/heart-small --workers $(WORKERS)
	$(if $(XRAYS),$(BIN)/fedliver study federated --task chest-xray-small --data "$(XRAYS)" --out study-federated/chest-xray-small --workers $(WORKERS))

clean:
	rm -rf $(VENV) $(APP) demo-output study-federated build dist .pytest_cache .mypy_cache .ruff_cache
