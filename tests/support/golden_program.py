"""One folder of reference cases through the compiled program: the sequential model.

Logits of every position (blocks of 1, of numbers that do not divide T, the compiled one; one thread and
two; every level of code that the machine runs), the chain's states, and the greedy generations token for
token.
"""
from program import (LOGITS_LIMIT, STATES_LIMIT, SCRATCH, Golden, check, close, compile_model, compiled_once,
                     generate, levels_here, logits, numbers, read_tensors)


def wanted_state(golden, name):
    """[T, D] or, stored as [S, T, D], in the program's order [T, S, D]."""
    _, shape, _ = golden.expected[name]
    values = golden.tensor(name)
    if len(shape) == 2:
        return values
    S, T, D = shape
    return [values[(s * T + t) * D + i] for t in range(T) for s in range(S) for i in range(D)]


def check_states(golden, program, ids, *options):
    path = SCRATCH / "states.safetensors"
    generate(program, ids, 0, "--states", path, *options)
    found = read_tensors(path)
    path.unlink()
    worst = 0.0
    stored = [name for name in golden.expected if name.startswith("h.")]
    check(stored, f"{golden.name}: no states are stored")
    for name in stored:
        check(name in found, f"{golden.name}: the program gives no state {name}")
        worst = max(worst, close(f"{golden.name}: {name}", numbers(found[name][2]),
                                 wanted_state(golden, name), STATES_LIMIT))
    return worst


def check_seq(golden, program, case, blocks, level=None):
    ids = golden.ids(case, "tokens")
    wanted = golden.tensor(case["logits"])
    worst = 0.0
    for options in blocks:
        found = numbers(logits(program, ids, *options, level=level))
        worst = max(worst, close(f"{golden.name}: {case['key']} {level or ''} {' '.join(options)}", found, wanted,
                                 LOGITS_LIMIT))
    return worst


def check_generation(golden, program, case):
    prompt = golden.ids(case, "prompt", "prompt_ids")
    wanted = case["generated"]
    for options in (("-t", "1"), ("-t", "2", "--block", "3")):
        found = generate(program, prompt, len(wanted), *options)
        check(found == wanted, f"{golden.name}: {case['key']} {options}: found {found}, wanted {wanted}")
    if case.get("logits") is None:
        return
    rows = numbers(logits(program, prompt, n=len(wanted)))
    width = golden.expected[case["logits"]][1][1]
    close(f"{golden.name}: {case['key']}", rows[(len(prompt) - 1) * width:],
          golden.tensor(case["logits"]), LOGITS_LIMIT)


BLOCKS = [("-t", "1"), ("-t", "1", "--block", "1"), ("-t", "2", "--block", "7"), ("-t", "2", "--block", "1"),
          ("-t", "1", "--block", "5"), ("-t", "3")]


def check_levels(golden, case):
    program = compile_model(golden.model, golden.name + "-levels", levels=True)
    names = levels_here(program)
    for name in names:
        check_seq(golden, program, case, BLOCKS[1:3], level=name)
    return names


def check_folder(folder, levels=False, n_blocks=len(BLOCKS)):
    """`levels`: the code of each level too. `n_blocks`: how many ways to divide the prompt."""
    golden = Golden(folder)
    seq = golden.cases["seq"]
    program = compiled_once(golden.model, "--keep-states")
    worst = check_seq(golden, program, seq, BLOCKS[:n_blocks])
    note = f"logits within {worst:.1e}"
    if any(name.startswith("h.") for name in golden.expected):
        ids = golden.ids(seq, "tokens")
        states = max(check_states(golden, program, ids, "--block", block) for block in ("1", "7", "64"))
        note += f", states within {states:.1e}"
    if levels:
        note += f", levels {' '.join(check_levels(golden, seq))}"
    generations = [case for key, case in golden.cases.items() if key.startswith("ar_seq")]
    if generations:
        # As users compile it: only the wanted rows of the prompt's last block are computed to the end.
        program = compiled_once(golden.model)
        check_seq(golden, program, seq, BLOCKS[2:3])
    for case in generations:
        check_generation(golden, program, case)
    return note + f", {len(generations)} generations equal"
