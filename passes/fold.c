/* passes/fold.c -- what scales a linear's input moves into its weight.
 *
 *     %n = rms_norm %x, @g {eps = 1e-05} : f32[T, 8]
 *     %y = linear %n, @w : f32[T, 4]
 *
 * becomes
 *
 *     weight @w.g : f32[4, 8] = colscale(@w, @g)
 *     %n = rms_norm %x {eps = 1e-05} : f32[T, 8]
 *     %y = linear %n, @w.g : f32[T, 4]
 *
 * Likewise for `scale %x, @g` and for one scaled operand (`lincomb %x {coef = [0.5]}`), which go
 * altogether. With members, `rms_norm %x, [@g8, @g9]` before `linear %n, [@w8, @w9]` becomes one
 * norm without weight that all members share.
 *
 * Only when every reader of the scaled value is such a linear, when every use of each weight would
 * get the same factor (a tied head has another one), and when the product keeps its precision: the
 * stored format is f32, or narrower than the source's, so that it is rounded by us anyway. The
 * options `weights` and `head` name the stored formats as in `pack`. */
#include "passes/heads.h"
#include "passes/rewrite.h"

#include <string.h>

/* The factor of one linear weight: a vector, or a number. */
typedef struct Factor {
    SnlWeight *vector; /* NULL: number */
    double number;
} Factor;

typedef struct Reader {
    SnlOp *linear;
    size_t member; /* of the scaled value that it reads; SIZE_MAX: all of it */
} Reader;

typedef struct Candidate {
    SnlOp *scaler; /* rms_norm with weights, scale, or lincomb of one scaled operand */
    SnlVec(Reader) readers;
    bool dropped;
} Candidate;

typedef struct Fold {
    SnlModule *m;
    SnlPassContext *ctx;
    SnlArena *arena;
    SnlVec(Candidate) candidates;
    const size_t *uses;
    size_t *matched; /* by weight id: uses in readers of candidates that are not dropped */
    Factor *factor;
    bool *conflict, *looked, *precise;
    const bool *is_head;
} Fold;

/* ---- candidates ----------------------------------------------------------------------------- */

static bool is_scaler(const SnlOp *op)
{
    if (op->code == SNL_OP_RMS_NORM)
        return op->sym[0].n > 0 && snl_attr_int(&op->attrs, "heads", 1) == 1;
    if (op->code == SNL_OP_SCALE) return op->sym[0].n == 1 && !op->sym[0].list;
    if (op->code != SNL_OP_LINCOMB || op->n_in != 1) return false;
    SnlTerm t = snl_lincomb_term(op, 0);
    return !t.weight && t.r != 0.0;
}

/* Readers of `value`, looking through `member`; false when one is not a linear. */
static bool collect_readers(Fold *fold, Candidate *c, const SnlValue *value, size_t member)
{
    for (const SnlUse *use = value->uses; use; use = use->next) {
        SnlOp *op = use->user;
        if (op->code == SNL_OP_MEMBER && member == SIZE_MAX) {
            size_t index = (size_t)snl_attr_int(&op->attrs, "index", 0);
            if (!collect_readers(fold, c, op->out[0], index)) return false;
            continue;
        }
        if (op->code != SNL_OP_LINEAR) return false;
        Reader r = {op, member};
        SNL_PUSH(fold->arena, &c->readers, r);
    }
    return true;
}

static void collect_candidates(Fold *fold)
{
    for (SnlFunc *f = fold->m->first; f; f = f->next)
        for (SnlOp *op = f->first; op; op = op->next) {
            Candidate c = {.scaler = op};
            if (!is_scaler(op) || !collect_readers(fold, &c, op->out[0], SIZE_MAX)) continue;
            if (c.readers.n) SNL_PUSH(fold->arena, &fold->candidates, c);
        }
}

/* Factor of weight number `j` of the reader's linear. */
static Factor factor_of(const Candidate *c, const Reader *r, size_t j)
{
    const SnlOp *s = c->scaler;
    if (s->code == SNL_OP_LINCOMB) return (Factor){NULL, snl_lincomb_term(s, 0).r};
    if (s->sym[0].n == 1) return (Factor){s->sym[0].weight[0], 1.0};
    return (Factor){s->sym[0].weight[r->member == SIZE_MAX ? j : r->member], 1.0};
}

static bool same_factor(Factor a, Factor b)
{
    return a.vector == b.vector && (a.vector || a.number == b.number);
}

/* ---- what may be folded --------------------------------------------------------------------- */

/* Bytes of 32 numbers. */
static int64_t width_of(SnlDtype dtype)
{
    return snl_dtype_row_bytes(dtype, 32);
}

static const char *stored_format(const Fold *fold, const SnlWeight *w)
{
    const char *head = snl_pass_text(fold->ctx, "head");
    return fold->is_head[w->id] && *head ? head : snl_pass_text(fold->ctx, "weights");
}

static SnlStatus look_at(Fold *fold, SnlWeight *w)
{
    if (fold->looked[w->id]) return SNL_OK;
    fold->looked[w->id] = true;
    const char *stored = stored_format(fold, w);
    SnlDtype source = w->type->dtype;
    if (!fold->ctx->source && snl_weight_has_source(w) && strcmp(stored, "source") == 0)
        return snl_error(fold->ctx->diag, SNL_E_PIPELINE, w->loc,
                         "fold: the stored type of @%s is not known without the model's files; "
                         "give weights=f32, bf16, f16, q8_0 or q4_0",
                         w->name);
    if (fold->ctx->source)
        SNL_TRY(snl_weight_stored_dtype(w, fold->ctx->source, fold->ctx->diag, &source));
    SnlDtype target = source;
    if (strcmp(stored, "source") != 0) snl_dtype_find(stored, strlen(stored), &target);
    fold->precise[w->id] = target == SNL_F32 || width_of(target) < width_of(source);
    return SNL_OK;
}

static SnlStatus count_matches(Fold *fold)
{
    memset(fold->matched, 0, fold->m->weights.n * sizeof fold->matched[0]);
    for (size_t i = 0; i < fold->candidates.n; i++) {
        const Candidate *c = &fold->candidates.at[i];
        for (size_t r = 0; r < c->readers.n && !c->dropped; r++) {
            const SnlOp *linear = c->readers.at[r].linear;
            for (size_t j = 0; j < linear->sym[0].n; j++) {
                SnlWeight *w = linear->sym[0].weight[j];
                Factor f = factor_of(c, &c->readers.at[r], j);
                SNL_TRY(look_at(fold, w));
                if (fold->matched[w->id]++ == 0)
                    fold->factor[w->id] = f;
                else if (!same_factor(fold->factor[w->id], f))
                    fold->conflict[w->id] = true;
            }
        }
    }
    return SNL_OK;
}

static bool is_foldable(const Fold *fold, const Candidate *c)
{
    for (size_t r = 0; r < c->readers.n; r++) {
        const SnlOp *linear = c->readers.at[r].linear;
        for (size_t j = 0; j < linear->sym[0].n; j++) {
            uint32_t id = linear->sym[0].weight[j]->id;
            if (fold->conflict[id] || !fold->precise[id] || fold->matched[id] != fold->uses[id])
                return false;
        }
    }
    return true;
}

/* Dropping one candidate can leave a weight of another with an unscaled use: until nothing changes.
 */
static SnlStatus choose(Fold *fold)
{
    for (bool again = true; again;) {
        again = false;
        SNL_TRY(count_matches(fold));
        for (size_t i = 0; i < fold->candidates.n; i++) {
            Candidate *c = &fold->candidates.at[i];
            if (c->dropped || is_foldable(fold, c)) continue;
            c->dropped = again = true;
        }
    }
    return SNL_OK;
}

/* ---- rewriting ------------------------------------------------------------------------------ */

static SnlWeight *scaled_weight(Fold *fold, SnlWeight *w, Factor f)
{
    SnlAttrs attrs = {0};
    const char *dot = f.vector ? strrchr(f.vector->name, '.') : NULL;
    const char *tail = f.vector ? (dot ? dot + 1 : f.vector->name) : "scaled";
    const char *name = snl_arena_printf(fold->arena, "%s.%s", w->name, tail);
    const SnlType *type =
        snl_type(fold->m, SNL_F32, w->type->rank, w->type->dim); /* products are */
    if (f.vector)
        return snl_weight_intern(fold->m, name, type, SNL_WEXPR_COLSCALE,
                                 (SnlWeight *[]){w, f.vector}, 2, attrs);
    snl_attr_set_real(fold->m, &attrs, "by", f.number);
    return snl_weight_intern(fold->m, name, type, SNL_WEXPR_SCALE, &w, 1, attrs);
}

/* What the readers read instead. */
static SnlValue *unscaled(const Candidate *c)
{
    SnlOp *s = c->scaler;
    if (s->code != SNL_OP_RMS_NORM) return snl_in(s, 0);
    SnlOp *norm = snl_op_create(s->func, s, SNL_OP_RMS_NORM);
    norm->loc = s->loc;
    snl_op_add_in(norm, snl_in(s, 0));
    norm->attrs = snl_attrs_copy(s->func->module, &s->attrs);
    return snl_op_finish(norm, NULL);
}

static void erase_scaler(SnlOp *scaler)
{
    SnlValue *value = scaler->out[0];
    while (value->uses) snl_op_erase(value->uses->user); /* members that nobody reads any more */
    snl_op_erase(scaler);
}

static void rewrite(Fold *fold, const Candidate *c)
{
    const char *name = c->scaler->out[0]->name;
    SnlValue *x = unscaled(c);
    for (size_t r = 0; r < c->readers.n; r++) {
        const Reader *reader = &c->readers.at[r];
        SnlOp *linear = reader->linear;
        for (size_t j = 0; j < linear->sym[0].n; j++)
            linear->sym[0].weight[j] =
                scaled_weight(fold, linear->sym[0].weight[j], factor_of(c, reader, j));
        SnlValue *in = x;
        if (reader->member != SIZE_MAX && x->type->rank == 3) {
            SnlOp *member = snl_op_create(linear->func, linear, SNL_OP_MEMBER);
            member->loc = linear->loc;
            snl_op_add_in(member, x);
            snl_attr_set_int(fold->m, &member->attrs, "index", (int64_t)reader->member);
            in = snl_op_finish(member, NULL);
        }
        snl_op_set_in(linear, 0, in);
    }
    bool norm = c->scaler->code == SNL_OP_RMS_NORM;
    erase_scaler(c->scaler);
    if (norm) snl_value_rename(x, name);
}

static bool check_format(const SnlPassContext *ctx, const char *option)
{
    const char *stored = snl_pass_text(ctx, option);
    SnlDtype dtype;
    bool named = snl_dtype_find(stored, strlen(stored), &dtype) &&
                 (snl_dtype_info[dtype].flags & SNL_DT_FLOAT);
    bool like_others = !*stored && strcmp(option, "head") == 0;
    if (named || like_others || strcmp(stored, "source") == 0) return true;
    snl_error_at(ctx->diag, SNL_E_PIPELINE, "fold",
                 "%s: found '%s', wanted source, f32, bf16, f16, q8_0 or q4_0", option, stored);
    return false;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    Fold fold = {.m = m, .ctx = ctx, .arena = ctx->scratch};
    size_t n = m->weights.n;
    if (!check_format(ctx, "weights") || !check_format(ctx, "head")) return SNL_PASS_FAILED;
    fold.is_head = snl_head_weights(fold.arena, m);
    fold.uses = snl_weight_uses(m, fold.arena);
    fold.matched = SNL_NEW_ARRAY(fold.arena, size_t, n);
    fold.factor = SNL_NEW_ARRAY(fold.arena, Factor, n);
    fold.conflict = SNL_NEW_ARRAY(fold.arena, bool, n);
    fold.looked = SNL_NEW_ARRAY(fold.arena, bool, n);
    fold.precise = SNL_NEW_ARRAY(fold.arena, bool, n);
    collect_candidates(&fold);
    if (choose(&fold) != SNL_OK) return SNL_PASS_FAILED;
    bool changed = false;
    for (size_t i = 0; i < fold.candidates.n; i++) {
        if (fold.candidates.at[i].dropped) continue;
        rewrite(&fold, &fold.candidates.at[i]);
        changed = true;
    }
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"weights", SNL_OPTION_TEXT, "source", 0, 0,
     "stored format of matrices: source (as in the model's files), f32, bf16, f16, q8_0, q4_0"},
    {"head", SNL_OPTION_TEXT, "", 0, 0, "the same for the matrix of the logits (default: weights)"},
    {0}};

const SnlPass snl_pass_fold = {
    .name = "fold",
    .summary = "norm weights and factors move into the weight of the linear that follows",
    .exactness = SNL_REORDERS,
    .options = options,
    .run = run,
};
