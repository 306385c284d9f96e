#!/bin/bash
# Builds: build.sh release|debug|tests
set -eu
cd "$(dirname "$0")/.."
swift=${SWIFT:-swift}

# `SWIFT` may be more than a word, such as "nice swift".
if ! $swift --version >/dev/null 2>&1; then
    echo "Swift 6.3 is needed to build and is not there: see https://www.swift.org/install/linux" >&2
    exit 1
fi

case "${1:-}" in
    # The Swift runtime goes into the programs: mount(8) starts the driver without an environment, and other users
    # or machines may not have the toolchain.
    release) $swift build -c release --static-swift-stdlib ;;
    debug) $swift build ;;
    tests) $swift build --build-tests ;;
    *)
        echo "build.sh: '${1:-}' is none of release, debug, tests" >&2
        exit 1
        ;;
esac
