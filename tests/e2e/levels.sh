#!/usr/bin/env bash
# Levels of processors in one program: each that this machine has gives the same text; unknown and
# missing ones are refused in one line.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fail() { echo "FAILED: $*"; failed=1; }

model=$SNL_SOURCE/tests/data/llama
text() { env SNL_LEVEL="$1" "$2" --ids "1 2 3" -n 12 -t 1 2>/dev/null; }

for weights in f32 bf16 q8_0; do
    program=$work/$weights
    "$SNLPC" compile "$model" -o "$program" --weights $weights >/dev/null 2>&1 || fail "compile $weights"
    wanted=$(text "" "$program")
    [ -n "$wanted" ] || fail "$weights: no ids"
    for level in $("$program" --about | sed -n 's/^levels: *//p' | sed 's/(runs here)//'); do
        message=$(SNL_LEVEL=$level "$program" --ids "1" -n 1 2>&1 >/dev/null)
        status=$?
        if [ $status -eq 4 ]; then
            case $message in
            *"lacks the feature"*) echo "level $level: not on this machine" ;;
            *) fail "$weights, level $level: $message" ;;
            esac
        elif [ "$(text "$level" "$program")" != "$wanted" ]; then
            fail "$weights, level $level: other ids"
        else
            echo "$weights, level $level: the same ids"
        fi
    done
    message=$(SNL_LEVEL=v9 "$program" --ids "1" -n 1 2>&1) && fail "SNL_LEVEL=v9 was taken"
    case $message in *"found 'v9', this program has v2, v3"*) ;; *) fail "v9: $message" ;; esac
done

exit $failed
