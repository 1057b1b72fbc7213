# What people type. Everything works from a fresh clone, with Rust, gcc and Python 3.11 or later.

PYTHON ?= python3
CARGO_DENY := 0.20.2
VENV := .venv
# Ours where the machine's own is not there.
export PATH := $(PATH):$(CURDIR)/.tools/bin

.PHONY: help demo test check advisories bench

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 18

demo: $(VENV)/installed ## Watch an upload to S3 become a CloudFront invalidation (KEEP=1: and play on)
	@echo "Building purgefront; the first time this takes some minutes."
	@cargo build --locked
	@exec $(VENV)/bin/python deploy/demo/demo.py $(if $(KEEP),--keep)

$(VENV)/installed: deploy/demo/requirements.txt
	@echo "Making a virtual environment in $(VENV) for moto, which plays AWS."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

test: ## Run all tests
	cargo test --locked

check: .tools/deny ## Formatting, lints, docs, dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	cargo deny --locked check bans licenses sources

advisories: .tools/deny ## Known vulnerabilities in dependencies (needs the advisory database)
	@cargo deny fetch db >/dev/null 2>&1 \
		|| { echo "NOT CHECKED: the advisory database cannot be had here."; exit 0; } \
		&& cargo deny --locked check advisories

bench: ## Measure what a request costs
	cargo bench --locked

.tools/deny:
	@mkdir -p .tools
	@cargo deny --version 2>/dev/null | grep -q ' $(CARGO_DENY)$$' || { \
		echo "Installing cargo-deny $(CARGO_DENY); this takes some minutes."; \
		cargo install --quiet --locked cargo-deny --version $(CARGO_DENY) --root .tools; }
	@touch $@
