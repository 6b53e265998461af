"""Random IR: a module with `@forward(%tokens, %pos) -> logits` made of every kind of op, in combinations that
no model family asks for: members out of members, slices of slices, streams, caches that several readers
share, rows kept from the call before. Reproducible from its seed.

Values stay of size 1 or so (weights are scaled, wide ones normed now and then), so that rounding errors stay
small and a difference is a mistake.
"""
import math
import random

WIDTHS = [1, 3, 8, 15, 16, 17, 24, 32, 40, 48, 96]
HEADS = [(1, 1, 8), (2, 1, 8), (2, 2, 4), (4, 2, 8), (3, 1, 16), (6, 2, 4), (8, 1, 6), (12, 1, 4), (9, 3, 2)]


class Graph:
    def __init__(self, seed, n_ops=30, context=48, vocab=37):
        self.random = random.Random(seed)
        self.context, self.vocab = context, vocab
        self.declarations, self.body = [], []
        self.names = 0
        self.values = []  # (name, members, width)
        self.tables = {}
        self.same_in_blocks = True  # what a call attends to does not depend on where it begins
        first = self.op("embed %tokens, " + self.weight(f"[{vocab}, 48]", 1.0), 1, 48)
        self.op(f"rms_norm {first[0]} {{eps = 1e-05}}", 1, 48)
        makers = [self.linear, self.linear, self.linear, self.norm, self.lincomb, self.lincomb, self.unary, self.mul,
                  self.scale, self.mix, self.slice, self.member, self.stack, self.rope, self.attention,
                  self.attention, self.attention, self.kept_row, self.heads_of_projection]
        while len(self.body) < n_ops:
            self.random.choice(makers)()
        self.finish()

    # ---- pieces ------------------------------------------------------------------------------------------

    def name(self, sigil):
        self.names += 1
        return f"{sigil}{'vws'['%@$'.index(sigil)]}{self.names}".replace("$", "@")

    def weight(self, shape, scale):
        name = self.name("@")
        self.declarations.append(f"weight {name} : f32{shape} = random {{scale = {scale:.6f}, seed = {self.names}}}")
        return name

    def weights(self, shape, scale, n):
        return "[" + ", ".join(self.weight(shape, scale) for _ in range(n)) + "]"

    def state(self, shape):
        name = self.name("$")
        self.declarations.append(f"state {name} : f32{shape}")
        return name

    def type(self, members, width):
        return f"f32[T, {members}, {width}]" if members > 1 else f"f32[T, {width}]"

    def op(self, text, members, width, keep=True):
        name = self.name("%")
        self.body.append(f"{name} = {text} : {self.type(members, width)}")
        value = (name, members, width)
        if keep:
            self.values.append(value)
        return value

    def effect(self, text):
        self.body.append(text)

    def pick(self, condition=lambda v: True):
        # Late values more often, so that graphs grow deep.
        fitting = [v for v in self.values if condition(v)]
        if not fitting:
            return None
        return fitting[min(len(fitting) - 1, int(len(fitting) * math.sqrt(self.random.random())))]

    def project(self, x, width, members=1):
        """A linear from x to `width`; gives [T, members, width]."""
        name, m, k = x
        scale = 1 / math.sqrt(k)
        if m > 1 and members > 1 and m != members:
            x = self.op(f"member {name} {{index = {self.random.randrange(m)}}}", 1, k, keep=False)
            name, m, k = x
        if m > 1:
            group = self.weights(f"[{width}, {k}]", scale, m)
            if members == 1:
                return self.op(f"linear {name}, {group} {{reduce}}", 1, width)
            return self.op(f"linear {name}, {group}", m, width)
        if members > 1:
            return self.op(f"linear {name}, {self.weights(f'[{width}, {k}]', scale, members)}", members, width)
        bias = ", " + self.weight(f"[{width}]", 0.5) if self.random.random() < 0.3 else ""
        return self.op(f"linear {name}, {self.weight(f'[{width}, {k}]', scale)}{bias}", 1, width)

    def table(self, d):
        if d not in self.tables:
            self.tables[d] = self.op(f"rope_table %pos {{theta = 100.0, width = {d}}}", 1, d, keep=False)[0]
        return self.tables[d]

    # ---- ops -----------------------------------------------------------------------------------------------

    def linear(self):
        self.project(self.pick(), self.random.choice(WIDTHS), self.random.choice([1, 1, 1, 2, 3]))

    def norm(self):
        x = self.pick(lambda v: v[2] >= 8)
        heads = self.random.choice([h for h in (1, 2, 3, 4) if x[2] % h == 0 and x[2] // h >= 8])
        attrs = "{eps = 0.001" + (f", heads = {heads}" if heads > 1 else "") + "}"
        d = x[2] // heads
        how = self.random.randrange(3)
        if how == 0:
            self.op(f"rms_norm {x[0]} {attrs}", x[1], x[2])
        elif how == 1 and x[1] == 1:
            self.op(f"rms_norm {x[0]}, {self.weight(f'[{d}]', 1.0)} {attrs}", 1, x[2])
        else:
            members = x[1] if x[1] > 1 else 2
            self.op(f"rms_norm {x[0]}, {self.weights(f'[{d}]', 1.0, members)} {attrs}", members, x[2])

    def lincomb(self):
        x = self.pick()
        like = [v for v in self.values if v[2] == x[2] and v[1] in (1, x[1])]
        others = [self.random.choice(like) for _ in range(self.random.choice([1, 1, 2, 3, 9]))]
        coef = [self.random.choice(["1.0", "-1.0", "0.5", "-0.75", self.weight("[1]", 0.5)]) for _ in range(len(others) + 1)]
        names = ", ".join(v[0] for v in [x, *others])
        self.op(f"lincomb {names} {{coef = [{', '.join(coef)}]}}", x[1], x[2])

    def unary(self):
        x = self.pick()
        self.op(f"{self.random.choice(['silu', 'sigmoid'])} {x[0]}" if self.random.random() < 0.6
                else f"softcap {x[0]} {{cap = 2.5}}", x[1], x[2])

    def mul(self):
        x = self.pick()
        other = self.pick(lambda v: v[1] == x[1] and x[2] % v[2] == 0)
        cap = self.op(f"softcap {other[0]} {{cap = 1.5}}", other[1], other[2], keep=False)
        self.op(f"mul {x[0]}, {cap[0]}", x[1], x[2])

    def scale(self):
        x = self.pick()
        self.op(f"scale {x[0]}, {self.weight(f'[{x[2]}]', 1.0)}", x[1], x[2])

    def mix(self):
        x = self.pick()
        out = self.random.choice([1, 2, 3, 4])
        self.op(f"mix {x[0]}, {self.weight(f'[{out}, {x[1]}]', 1 / math.sqrt(x[1]))}", out, x[2])

    def slice(self):
        x = self.pick(lambda v: v[2] > 1)
        begin = self.random.randrange(x[2])
        end = self.random.randrange(begin + 1, x[2] + 1)
        self.op(f"slice {x[0]} {{begin = {begin}, end = {end}}}", x[1], end - begin)

    def member(self):
        x = self.pick(lambda v: v[1] > 1)
        if x:
            self.op(f"member {x[0]} {{index = {self.random.randrange(x[1])}}}", 1, x[2])

    def stack(self):
        x = self.pick(lambda v: v[1] == 1)
        like = [v for v in self.values if v[1:] == x[1:]]
        parts = [x] + [self.random.choice(like) for _ in range(self.random.choice([1, 2]))]
        self.op("stack " + ", ".join(v[0] for v in parts), len(parts), x[2])

    def rope(self):
        x = self.pick(lambda v: v[2] % 8 == 0)
        d = self.random.choice([d for d in (2, 4, 8) if x[2] % d == 0])
        self.op(f"rope {x[0]}, {self.table(d)} {{heads = {x[2] // d}}}", x[1], x[2])

    def kept_row(self):
        x = self.pick()
        shape = f"[{x[1]}, {x[2]}]" if x[1] > 1 else f"[{x[2]}]"
        state = self.state(shape)
        first = self.random.random() < 0.5
        if first:  # then the row is the call's own, not the one before
            self.same_in_blocks = False
            self.effect(f"row_write {x[0]}, %pos, {state}")
        self.op(f"shift {x[0]}, %pos, {state}", x[1], x[2])
        if not first:
            self.effect(f"row_write {x[0]}, %pos, {state}")

    def attend(self, q, k, v, members, heads, groups, d):
        """A cache of its own; its writer before or behind, of the same rows or of others."""
        caches = [self.state(f"[2, {groups}, {self.context}, {d}]") for _ in range(members)]
        states = "[" + ", ".join(caches) + "]" if members > 1 else caches[0]
        attrs = f"heads = {heads}, kv_heads = {groups}"
        window = self.random.choice([None, None, 0, 3, 9, 100])
        if window is not None:
            attrs += f", window = {window}"
        how = self.random.choice(["before", "before", "before", "behind", "others", "never"])
        self.same_in_blocks = self.same_in_blocks and how in ("before", "behind")
        written = v if how == "others" else k
        if how in ("before", "others"):
            self.effect(f"kv_write {written}, {v}, %pos, {states}")
        self.op(f"attention {q}, {k}, {v}, %pos, {states} {{{attrs}}}", members, heads * d)
        if how == "behind":
            self.effect(f"kv_write {k}, {v}, %pos, {states}")

    def attention(self):
        x = self.pick()
        heads, groups, d = self.random.choice(HEADS)
        members = x[1] if x[1] > 1 else self.random.choice([1, 1, 1, 2, 3])
        q, k, v = (self.project(x, n * d, members) for n in (heads, groups, groups))
        if d % 2 == 0 and self.random.random() < 0.7:
            q = self.op(f"rope {q[0]}, {self.table(d)} {{heads = {heads}}}", members, heads * d)
            k = self.op(f"rope {k[0]}, {self.table(d)} {{heads = {groups}}}", members, groups * d)
        if d >= 8 and self.random.random() < 0.3:
            attrs = "{eps = 0.001" + (f", heads = {heads}" if heads > 1 else "") + "}"
            q = self.op(f"rms_norm {q[0]} {attrs}", members, heads * d)
        self.attend(q[0], k[0], v[0], members, heads, groups, d)

    def heads_of_projection(self):
        """q, k and v as slices of one product, as merged models have them."""
        x = self.pick(lambda v: v[1] == 1)
        heads, groups, d = self.random.choice(HEADS)
        members = self.random.choice([1, 1, 2])
        whole = self.project(x, (heads + 2 * groups) * d, members)
        ends = [0, heads * d, (heads + groups) * d, (heads + 2 * groups) * d]
        q, k, v = (self.op(f"slice {whole[0]} {{begin = {a}, end = {b}}}", members, b - a, keep=False)[0]
                   for a, b in zip(ends, ends[1:]))
        self.attend(q, k, v, members, heads, groups, d)

    # ---- the end -------------------------------------------------------------------------------------------

    def finish(self):
        """Every value that nothing reads goes into the logits, so that nothing is dropped as dead."""
        text = "\n".join(self.body)
        parts = []
        for name, members, width in list(self.values):
            if text.count(name + " ") + text.count(name + ",") + text.count(name + "\n") > 1:
                continue
            parts.append(self.project((name, members, width), self.vocab))
        last = self.values[-1]
        parts = parts or [self.project(last, self.vocab)]
        names = [p[0] for p in parts]
        self.body.append(f"%logits = lincomb {', '.join(names)} : f32[T, {self.vocab}]")

    def text(self):
        lines = "\n".join("  " + line for line in self.body)
        return (f"module @random attributes {{context = {self.context}, vocab = {self.vocab}}}\n\n"
                + "\n".join(self.declarations)
                + f"\n\nfunc @forward(%tokens: i32[T], %pos: index) -> f32[T, {self.vocab}] {{\n{lines}\n  return %logits\n}}\n")
