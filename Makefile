# What there is to run. `make test` needs a Rust toolchain and, for its Redis servers, Debian's packages;
# it fetches the rest.

CARGO ?= cargo

.PHONY: test matrix gate figures figures-redis tools

# Everything that must hold, in one build profile.
test: tools
	$(CARGO) test --workspace --locked

# Every fault under load, on every number of replicas, with every number waited for: half an hour.
# ABIDE_MATRIX="kill 3+6 all" runs one cell, fewer words run more.
matrix: tools
	$(CARGO) test -p abide-chaos-tests --test matrix --locked -- --ignored --nocapture

# Read-only: format, lints, docs. The tests hold the dependency arrows, the purity of the engines and the
# README's session.
gate: tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

# The ratios of docs/performance.md. Takes some minutes; asserts nothing.
figures:
	$(CARGO) bench -p abide --bench figures --bench peak --locked

# Those of the Redis store, on servers of its own. `make figures-redis ONLY=coerce` also builds what it names.
figures-redis:
	$(CARGO) bench -p abide --bench redis --locked -- $(ONLY)

tools:
	@command -v rustfmt >/dev/null && command -v cargo-clippy >/dev/null || rustup component add rustfmt clippy
	@chaos-tests/setup/servers.sh
