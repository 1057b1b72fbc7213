# Targets for developers. They work in a fresh clone, with Rust, gcc and Python 3.11 or later.

PYTHON ?= python3
VENV := .venv
# Tools installed by this Makefile are used if the machine has none.
export PATH := $(PATH):$(CURDIR)/.tools/bin

# The targets of `make fuzz`, and the seconds for each. It also needs g++, for libFuzzer.
FUZZ := certificate config envelope key_decoding path_encoding records rules
SECONDS := 60

.PHONY: help demo test soak check advisories bench reference release deb lint-deploy lint-docker lint-monitoring image-dry-run sbom fuzz

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 22

demo: $(VENV)/installed ## Watch an S3 upload become a CloudFront invalidation (KEEP=1: keep it running)
	@echo "Building purgefront; the first build takes some minutes."
	@cargo build --locked
	@exec $(VENV)/bin/python deploy/demo/demo.py $(if $(KEEP),--keep)

$(VENV)/installed: deploy/demo/requirements.txt
	@echo "Creating a virtual environment in $(VENV) for moto, which emulates AWS."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

test: $(VENV)/tests .tools/schemathesis/installed tests/browser/node_modules ## Run all tests but soak's, however busy the machine is
	cargo test --locked

$(VENV)/tests: tests/requirements.txt $(VENV)/installed
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Without npm, the test of the status page says that it did not look at it.
tests/browser/node_modules: tests/browser/package-lock.json
	@if command -v npm >/dev/null; then \
		cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund --silent && touch node_modules; \
	else \
		echo "NOT INSTALLED: tests/browser needs npm."; \
	fi

soak: ## Run load for minutes: a crowd, 20,000 messages, a million changes (before a release; needs a quiet machine)
	cargo build --locked --release
	PURGEFRONT_BINARY=$(CURDIR)/target/release/purgefront \
		cargo test --locked --test it -- --ignored --nocapture --test-threads=1 soak::

reference: ## Rewrite docs/configuration.md from the code
	REWRITE_REFERENCE=1 cargo test --locked --lib config::reference

check: .tools/deny lint-docker lint-deploy lint-monitoring ## Check formatting, lints, docs and dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	cargo deny --locked check bans licenses sources
	@cargo metadata --locked --quiet --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null

advisories: .tools/deny ## Check dependencies for known vulnerabilities (needs the advisory database)
	@cargo deny fetch db >/dev/null 2>&1 \
		|| { echo "NOT CHECKED: the advisory database cannot be downloaded."; exit 0; } \
		&& cargo deny --locked check advisories

# On two processors: the servers that are measured have the first one, and who sends to them the second.
BENCH := PURGEFRONT_BINARY=$(CURDIR)/target/bench/purgefront taskset -c 1 cargo bench --locked --bench
bench: release benches/http/peer/node_modules ## Measure the speed of everything, and write docs/performance.md
	@install -D target/release/purgefront target/bench/purgefront
	cargo bench --locked --no-run
	$(BENCH) parts
	$(BENCH) http
	$(BENCH) growth -- $(SUBJECTS)

benches/http/peer/node_modules: benches/http/peer/package-lock.json
	npm ci --prefix benches/http/peer --no-audit --no-fund --silent
	@touch $@

release: ## Build the reproducible release binary
	@deploy/release.sh
	@sha256sum target/release/purgefront

deb: .tools/deb release ## Build the Debian package of the release binary
	@deploy/debian/build release

lint-deploy: .tools/deb .tools/lint/installed .tools/checkov/installed ## Check everything in deploy/ (needs systemd and lintian of Debian)
	@cargo build --locked --quiet
	@.tools/lint/bin/python deploy/check/run

lint-docker: $(VENV)/docker ## Lint the Dockerfile
	$(VENV)/bin/hadolint Dockerfile

lint-monitoring: ## Check and test the alert rules (needs promtool, which comes with Prometheus)
	@if command -v promtool >/dev/null; then \
		promtool check rules deploy/monitoring/rules.yml \
		&& promtool test rules deploy/monitoring/rules_test.yml; \
	elif [ -n "$$CI" ] || [ "$$(id -u)" = 0 ]; then \
		echo "promtool is missing; Debian has it in prometheus"; exit 1; \
	else \
		echo "NOT CHECKED: the alert rules need promtool."; \
	fi

image-dry-run: ## Execute the Dockerfile without a container engine, and test the result
	@$(PYTHON) deploy/docker/dry-run.py

# cargo's metadata includes dependencies of disabled features (ring, sqlx-mysql);
# `cargo tree -e normal,build` shows what is really compiled.
sbom: .tools/cyclonedx ## Write a bill of materials of the locked build, as CycloneDX JSON
	@cargo fetch --locked --quiet
	@cargo cyclonedx --quiet --format json --spec-version 1.5
	@mkdir -p target/sbom
	@sed 's|file://$(CURDIR)|file:///purgefront|g' purgefront.cdx.json >target/sbom/purgefront.cdx.json
	@rm purgefront.cdx.json
	@echo target/sbom/purgefront.cdx.json

$(VENV)/docker: deploy/docker/requirements.txt
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

fuzz: ## Fuzz all parsers, for SECONDS each (default 60; FUZZ="rules": only that target)
	@echo "Building the fuzz targets; the first build takes some minutes."
	@cd fuzz && cargo build --locked --quiet
	@cd fuzz && for target in $(FUZZ); do \
		mkdir -p corpus/$$target artifacts/$$target; \
		echo "$$target: $(SECONDS) seconds"; \
		RUST_BACKTRACE=0 cargo run --locked --quiet --bin $$target -- corpus/$$target seeds/$$target \
			-artifact_prefix=artifacts/$$target/ -max_total_time=$(SECONDS) \
			-max_len=8192 -timeout=10 -rss_limit_mb=1024 >artifacts/$$target.log 2>&1 \
		|| { \
			tail -n 30 artifacts/$$target.log; \
			echo "FOUND: the input is in fuzz/artifacts/$$target/, the output in fuzz/artifacts/$$target.log"; \
			echo "To reproduce: cd fuzz && cargo run --bin $$target artifacts/$$target/FILE"; \
			exit 1; \
		}; \
		grep -E '#[0-9]+.DONE' artifacts/$$target.log; \
	done

.tools/lint/installed: deploy/check/requirements.txt
.tools/checkov/installed: deploy/check/checkov.txt
.tools/schemathesis/installed: tests/schemathesis/requirements.txt
.tools/lint/installed .tools/checkov/installed .tools/schemathesis/installed:
	@echo "Installing the tools of $<."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.tools/deb: VERSION := 3.8.0
.tools/deny: VERSION := 0.20.2
.tools/cyclonedx: VERSION := 0.5.9
.tools/%:
	@mkdir -p .tools
	@cargo $* --version 2>/dev/null | grep -q ' $(VERSION)$$' || { \
		echo "Installing cargo-$* $(VERSION); this takes some minutes."; \
		cargo install --quiet --locked cargo-$* --version $(VERSION) --root .tools; }
	@touch $@
