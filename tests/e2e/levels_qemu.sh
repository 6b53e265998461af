#!/usr/bin/env bash
# Levels on processors that this machine is not: an old one gets the level it can run and the same ids; one
# below the lowest gets a line that names what it lacks, never SIGILL.
set -u
if ! command -v qemu-x86_64 >/dev/null; then
    echo "skipped: no qemu-x86_64 to stand in for older processors (Debian: qemu-user)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fail() { echo "FAILED: $*"; failed=1; }

program=$work/program
"$SNLPC" compile "$SNL_SOURCE/tests/data/llama" -o "$program" -q || fail "compile"
wanted=$("$program" --ids "1 2 3" -n 12 -t 1 2>/dev/null)
[ -n "$wanted" ] || fail "no ids"
for cpu in Nehalem Haswell; do
    found=$(qemu-x86_64 -cpu $cpu "$program" --ids "1 2 3" -n 12 -t 1 2>/dev/null)
    if [ "$found" = "$wanted" ]; then echo "$cpu: the same ids"; else fail "$cpu: $found"; fi
done
message=$(qemu-x86_64 -cpu core2duo "$program" --ids "1" -n 1 2>&1)
[ $? -eq 4 ] || fail "core2duo: exit status"
case $message in *"lacks the feature sse4."*) ;; *) fail "core2duo: $message" ;; esac
exit $failed
