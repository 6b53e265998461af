#!/usr/bin/env bash
# Every exact pass of the usual pipeline, held against the evaluator (--check-each) on a model of every
# family and several kinds of plans.
set -u
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0
plans=("seq" "n2 K1" "n2 K2 batch_fwd damping=0.1" "n2 1xF2 K1" "n2 K1 prefill=seq kv=corrected")
for model in "$SNL_SOURCE"/tests/data/*/config.json; do
    folder=${model%/config.json}
    for plan in "${plans[@]}"; do
        if "$SNLPC" compile "$folder" --emit ir -o "$out/x.snl" -q --context 32 --plan "$plan" \
            --check-each=3 --verify-each >"$out/log" 2>&1; then
            echo "ok      ${folder##*/}: $plan"
        else
            echo "FAILED  ${folder##*/}: $plan"
            tail -n 5 "$out/log"
            failed=1
        fi
    done
done
# What does not fit is refused before any pass runs.
if "$SNLPC" compile "$SNL_SOURCE/tests/data/llama" --emit ir -o "$out/x.snl" -q --plan "n2 7xF9 K1" \
    >"$out/log" 2>&1; then
    echo "FAILED  a plan that does not fit was taken"
    failed=1
fi
exit $failed
