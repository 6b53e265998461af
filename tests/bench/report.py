"""Rounds to figures: medians, spreads, ratios within rounds, fractions of the machine's limits."""
import statistics

from shapes import SHAPES

OURS = "snlpc seq"


def is_ours(name):
    return name.startswith("snlpc ")


def is_sequential(name):
    """Ours without a plan, whatever its options."""
    return name == OURS or name.startswith(f"{OURS} ")


def median_spread(values, digits=0):
    if not values:
        return "none"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} [{low:.{digits}f}..{high:.{digits}f}]"


def select(rounds, what):
    """The rounds that count for `what`, and why others do not. Decode from a cache shared with neighbours
    counts while the reader finds it there."""
    floor = rounds[0].get("l3_floor")
    if what != "decode" or not floor:
        return rounds, None
    kept = [r for r in rounds if statistics.mean(r["reader"]) >= floor]
    return kept, f"{len(rounds) - len(kept)} of {len(rounds)} rounds dropped (reader below {floor:g} GB/s: --l3-threshold)"


def speeds(rounds, name, what):
    return [r["found"][name][what] for r in rounds if what in r["found"].get(name, {})]


def ratios(rounds, name, other, what):
    """name / other, each within its round."""
    pairs = [(r["found"].get(name, {}).get(what), r["found"].get(other, {}).get(what)) for r in rounds]
    return [a / b for a, b in pairs if a and b]


def limit_fractions(rounds, name, what):
    """Of the reader's GB/s (decode) or of the dots' rate (prefill) in the same round. Our programs bring a reader
    that takes turns with decode, token by token, and is at the limit of the same moments."""
    out = []
    for r in rounds:
        found = r["found"].get(name, {})
        if what not in found:
            continue
        turns = found.get("turns", {"reader": 0})
        if what == "decode" and turns["reader"]:
            out.append(found["bytes"] * turns["decode"] / turns["reader"] * 1e-9)
        elif what == "decode":
            out.append(found["bytes"] * found["decode"] / statistics.mean(r["reader"]) * 1e-9)
        elif r["dots"]:
            tokens = found["prefill_tokens"]
            flops = SHAPES[r["shape"]].prefill_flops(tokens) / tokens
            out.append(flops * found["prefill"] / r["dots"] * 1e-9)
    return out


def best_peer(rounds, what):
    names = [n for n in rounds[0]["found"] if not is_ours(n)]
    medians = {n: statistics.median(s) for n in names if (s := speeds(rounds, n, what))}
    return max(medians, key=medians.get) if medians else None


def line_of(rounds, name, what):
    of_limit = limit_fractions(rounds, name, what)
    share = f"{100 * statistics.median(of_limit):4.0f} % of limit" if of_limit else ""
    return f"  {what:8}{name:26}{median_spread(speeds(rounds, name, what)):32}{share}"


def waiting_text(rounds, names):
    """What threads wait at barriers, where it was measured: of a token's time, in the named programs."""
    shares = [[r["found"][n]["waiting"] for r in rounds if "waiting" in r["found"][n]] for n in names]
    if not all(shares):
        return ""
    return ", waiting there " + " to ".join(f"{100 * statistics.median(s):.1f} %" for s in shares)


def print_ratios(rounds, what):
    peer = best_peer(rounds, what)
    for name in rounds[0]["found"]:
        if is_ours(name) and name != OURS:
            barriers = [r["found"][n]["barriers"] for r in rounds[-1:] for n in (name, OURS)]
            print(f"  {what:8}{name} / {OURS}: {median_spread(ratios(rounds, name, OURS, what), 2)}x, "
                  f"barriers per token {barriers[0]} to {barriers[1]}"
                  + (waiting_text(rounds, (name, OURS)) if what == "decode" else ""))
            if is_sequential(name) and peer:
                print(f"  {what:8}{name} / {peer}: {median_spread(ratios(rounds, name, peer, what), 2)}x (best peer)")
        elif name != OURS:
            best = " (best peer)" if name == peer else ""
            of = ratios(rounds, OURS, name, what)
            if of:
                print(f"  {what:8}{OURS} / {name}: {median_spread(of, 2)}x{best}")


def threads_text(cell):
    neighbours = f" beside {cell['busy']} busy" if cell.get("busy") else ""
    return ("auto" if cell["threads"] == "auto" else f"{cell['threads']}T") + neighbours


def print_cell(rounds):
    """All rounds of one shape, format and number of threads."""
    first = rounds[0]
    loads = [r["load"] for r in rounds]
    print(f"{first['shape']} {first['format']}, head {first['head']}, {threads_text(first)}: {len(rounds)} rounds, "
          f"load {min(loads):.1f}..{max(loads):.1f}")
    reader = [gb for r in rounds for gb in r["reader"]]
    dots = [r["dots"] for r in rounds if r["dots"]]
    print(f"  reader of {first['reader_bytes'] / 1e6:.1f} MB, {first['pages']} pages: {median_spread(reader, 1)} GB/s "
          f"({first['level']}); {first['dot_unit']} dots {median_spread(dots)} G/s")
    for what in "decode", "prefill":
        kept, dropped = select(rounds, what)
        if dropped:
            print(f"  {what:8}{dropped}")
        if not kept:
            continue
        for name in first["found"]:
            if speeds(kept, name, what):
                print(line_of(kept, name, what))
        print_ratios(kept, what)
    if first["threads"] == "auto":
        print(f"  {OURS}: threads chosen for decode: "
              + ", ".join(str(r["found"][OURS]["threads"]) for r in rounds))
    for name, found in first["found"].items():
        version = f"; {found['version']}" if "version" in found else ""
        print(f"  {name}: {found['bytes'] / 1e6:.1f} MB per token{version}")


def summary_row(rounds, name):
    first, row = rounds[0], []
    row.append(f"{first['shape']} {first['format']} {threads_text(first)}{name.removeprefix(OURS)}")
    for what in "decode", "prefill":
        kept, _ = select(rounds, what)
        peer = best_peer(kept, what) if kept else None
        ours = speeds(kept, name, what)
        of_limit = limit_fractions(kept, name, what)
        row.append(median_spread(ours))
        row.append(f"{100 * statistics.median(of_limit):.0f} %" if of_limit else "-")
        row.append(f"{statistics.median(ratios(kept, name, peer, what)):.2f}x {peer} ({len(kept)})" if peer else "-")
    return row


def print_summary(cells):
    """A table over cells; ratios are to the best peer of the cell, with the number of rounds that counted."""
    rows = [summary_row(rounds, name) for rounds in cells for name in rounds[0]["found"] if is_sequential(name)]
    head = ["cell", "decode tokens/s", "of limit", "to best peer", "prefill tokens/s", "of limit", "to best peer"]
    for row in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(row) + " |")


def cells_of(rounds):
    """Rounds of one kind (what is measured, and against which limit), in the order in which they came."""
    out = {}
    for r in rounds:
        kind = r["shape"], r["format"], r["head"], r["threads"], r["pages"], r.get("busy", 0)
        out.setdefault(kind, []).append(r)
    return list(out.values())
