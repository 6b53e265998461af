"""One folder of reference cases through compiled programs: every case that applies.

All plans of a folder are modes of one program (over one set of weights); a second program keeps the
states of the chain. Text cases: logits of every position, in blocks of several sizes. Generation cases:
token for token, with logits where they are stored.
"""

import case_counts
from golden_program import wanted_state
from program import (LOGITS_LIMIT, SCRATCH, STATES_LIMIT, Golden, check, close, compile_model,
                     generate, logits, numbers, read_tensors)

MODES_PER_PROGRAM = 32


def mode_options(golden, cases):
    """--plan options; the name of case i's mode is p<i>."""
    options = []
    for i, case in enumerate(cases):
        plan = case["plan"] or "seq"
        if "diag:" in plan:
            plan = plan.replace("diag:", f"diag:{golden.folder}/")
        options += ["--plan", f"p{i}={plan}"]
    return options


def check_text(golden, program, case, mode, blocks):
    ids = golden.ids(case, "tokens")
    wanted = golden.tensor(case["logits"])
    worst = 0.0
    for options in blocks:
        found = numbers(logits(program, ids, "--mode", mode, *options))
        what = f"{golden.name}: {case['key']} ({case['plan']}) {' '.join(options)}"
        worst = max(worst, close(what, found, wanted, LOGITS_LIMIT))
    return worst


def check_generation(golden, program, case, mode):
    prompt = golden.ids(case, "prompt", "prompt_ids")
    wanted = case["generated"]
    what = f"{golden.name}: {case['key']} ({case['plan']})"
    for options in (("-t", "1"), ("-t", "2", "--block", "3")):
        found = generate(program, prompt, len(wanted), "--mode", mode, *options)
        check(found == wanted, f"{what} {options}: found {found}, wanted {wanted}")
    if case.get("logits") is None:
        return 0.0
    rows = numbers(logits(program, prompt, "--mode", mode, n=len(wanted)))
    width = golden.expected[case["logits"]][1][1]
    return close(what, rows[(len(prompt) - 1) * width:], golden.tensor(case["logits"]), LOGITS_LIMIT)


def chain_links(case, n_layers):
    """Number of the layer after which state j of the case's windows stands."""
    if "hs_link" in case:
        return [link - 1 for link in case["hs_link"]]
    words = case["plan"].split()
    last = int(words[0][1:])
    per_unit = 1
    if "xF" in words[1]:
        per_unit = int(words[1].split("xF")[1])
    return [n_layers - last + (j + 1) * per_unit - 1 for j in range(case["hs_count"])]


def check_states(golden, program, case, mode):
    ids = golden.ids(case, "tokens")
    path = SCRATCH / "states.safetensors"
    generate(program, ids, 0, "--mode", mode, "--states", path)
    found = read_tensors(path)
    path.unlink()
    worst, n = 0.0, 0
    for j, link in enumerate(chain_links(case, len(found))):
        name = f"{case['hs_prefix']}{j}"
        if name not in golden.expected:
            continue
        worst = max(worst, close(f"{golden.name}: {case['key']} ({case['plan']}): {name}",
                                 numbers(found[f"h.{link}"][2]), wanted_state(golden, name), STATES_LIMIT))
        n += 1
    return worst, n


def check_program(golden, cases, number, blocks):
    options = mode_options(golden, cases)
    program = compile_model(golden.model, f"{golden.name}-plans{number}", "--cpu", "native", *options)
    worst, ran = 0.0, 0
    for i, case in enumerate(cases):
        if case.get("generated"):
            worst = max(worst, check_generation(golden, program, case, f"p{i}"))
        else:
            check(case.get("logits"), f"{golden.name}: {case['key']} applies, but has neither logits nor tokens")
            worst = max(worst, check_text(golden, program, case, f"p{i}", blocks))
        ran += 1
    program.unlink()
    return worst, ran


def check_all_states(golden, cases, number):
    cases = [case for case in cases if case.get("hs_prefix")]
    if not cases:
        return 0.0, 0
    program = compile_model(golden.model, f"{golden.name}-states{number}", "--keep-states", "--cpu", "native",
                            *mode_options(golden, cases))
    worst, n = 0.0, 0
    for i, case in enumerate(cases):
        error, count = check_states(golden, program, case, f"p{i}")
        worst, n = max(worst, error), n + count
    program.unlink()
    return worst, n


def check_folder(folder, part, blocks=(("-t", "2"), ("-t", "1", "--block", "1"), ("-t", "2", "--block", "7"))):
    golden = Golden(folder)
    cases = list(golden.cases.values())
    worst_logits, worst_states, n_states, ran = 0.0, 0.0, 0, 0
    for number, first in enumerate(range(0, len(cases), MODES_PER_PROGRAM)):
        some = cases[first:first + MODES_PER_PROGRAM]
        error, count = check_program(golden, some, number, blocks)
        worst_logits, ran = max(worst_logits, error), ran + count
        error, count = check_all_states(golden, some, number)
        worst_states, n_states = max(worst_states, error), n_states + count
    counted = case_counts.compare(part, golden, ran)
    return f"{counted}; logits within {worst_logits:.1e}, {n_states} states within {worst_states:.1e}"
