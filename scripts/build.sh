#!/bin/bash
# Builds: build.sh release|debug|tests|benchmarks
set -eu
cd "$(dirname "$0")/.."
swift=${SWIFT:-swift}

# `SWIFT` may be more than a word, such as "nice swift".
if ! $swift --version >/dev/null 2>&1; then
    echo "Swift 6.3 is needed to build and is not there: see https://www.swift.org/install/linux" >&2
    exit 1
fi

# Only the programs, and not what is for tests.
build_programs() {
    for product in tetherfs tetherfs-server; do
        $swift build --product "$product" "$@"
    done
}

case "${1:-}" in
    # The Swift runtime goes into the programs: mount(8) starts the driver without an environment, and other users
    # or machines may not have the toolchain.
    release) build_programs -c release --static-swift-stdlib ;;
    debug) build_programs ;;
    tests) $swift build --build-tests ;;
    # What the benchmarks need beside the programs, which have to be there.
    benchmarks) $swift build -c release --package-path Benchmarks ;;
    *)
        echo "build.sh: '${1:-}' is none of release, debug, tests, benchmarks" >&2
        exit 1
        ;;
esac
