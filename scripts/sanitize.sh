#!/bin/bash
# Builds with a sanitizer, runs the unit tests and tests of real mounts, and fails where it has anything to report:
#
#   sanitize.sh thread|address
#
# Each has a build of its own, beside the ordinary one. Reports go to files: the driver's own output goes nowhere.
set -euo pipefail
cd "$(dirname "$0")/.."
sanitizer=${1:?thread or address}
swift=${SWIFT:-swift}
build=$PWD/.build-$sanitizer
reports=$build/reports
options=()
# What is served at once to many: reading, writing, renaming, failing, and the server's uploads.
mounts=(mount_{model,files,rename,together,mappings,disk_cache,failures,life}.py server_uploads.py)

mkdir -p "$build"
rm -rf "$reports"
mkdir "$reports"
case "$sanitizer" in
    thread)
        # Swift's toolchain has one; no other compiler knows its calling convention.
        clang -Wall -Wextra -Werror -O1 -fPIC -c Tests/sanitizers/tsan-runtime.c -o "$build/tsan-runtime.o"
        options=(-Xlinker "$build/tsan-runtime.o")
        export TSAN_OPTIONS="log_path=$reports/thread suppressions=$PWD/Tests/sanitizers/tsan.supp"
        ;;
    # Leaks: the test runner has some, and the driver keeps what its threads have until it ends.
    address) export ASAN_OPTIONS="log_path=$reports/address detect_leaks=0" ;;
    *)
        echo "sanitize.sh: '$sanitizer' is neither thread nor address" >&2
        exit 1
        ;;
esac

$swift build --build-tests --sanitize "$sanitizer" --scratch-path "$build" "${options[@]}"

status=0
# Not all at once: each test has a time limit, and takes several times as long as without a sanitizer.
"$build/debug/tetherfsPackageTests.xctest" --testing-library swift-testing \
    --experimental-maximum-parallelization-width 4 || status=1
# Without what counts memory, which has this in its name: a sanitizer takes some itself.
TETHERFS_BIN_DIR=$build/debug TETHERFS_TEST_OPERATIONS=6000 \
    .venv/bin/python -m pytest "${mounts[@]/#/Tests/e2e/test_}" \
    -k "not memory_stays_bounded" || status=1

for report in "$reports"/*; do
    [ -e "$report" ] || break
    status=1
    echo "==> $report"
    cat "$report"
done
exit $status
