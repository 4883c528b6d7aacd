# `make demo` runs the main job, `make test` passes the tests; both install what they need.
.PHONY: demo test setup bench

setup:
	@tools/setup

demo: setup
	@tools/demo

test: setup
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo nextest run --workspace --locked
	cargo build --locked -p estiva
	tools/setup-tools
	cd tests && ../.venv/bin/python -m pytest

bench: setup
	cargo build --locked --release -p estiva
	.venv/bin/python bench/run.py
