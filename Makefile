# `make demo` runs the main job, `make test` passes the tests; both install what they need.
.PHONY: demo test setup

setup:
	@tools/setup

test: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo nextest run --workspace --locked
