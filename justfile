# `just check` tells whether a change may be committed and writes nothing; `just fix` writes.

# List the recipes.
default:
    @just --list

# Everything but the tests in other languages; writes nothing.
check:
    cargo fmt --check
    cargo clippy --locked --all-targets --features hot_path -- -D warnings
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --no-deps --lib --document-private-items
    tests/run --quick
    @if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check bans licenses sources; \
        else echo "skipped: cargo-deny is not installed"; fi

# Format, and let clippy repair what it can.
fix:
    cargo fmt
    cargo clippy --locked --fix --allow-dirty --allow-staged --all-targets

# All tests; `just test interop` for a part.
test *PARTS:
    tests/run {{PARTS}}

# What every change must pass.
ci:
    .ci/run

# A broker on the usual ports.
run *FLAGS:
    cargo run --release -- {{FLAGS}}
