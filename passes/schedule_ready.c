/* passes/schedule_ready.c -- the one rule of stages: a consumer may stand in its producer's stage
 * when every thread reads only what it made itself. */
#include "passes/schedule_internal.h"

const SnlOp *snl_storage_op(const SnlValue *v)
{
    while (v->def && snl_op_is_view(v->def)) v = snl_in(v->def, 0);
    return v->def;
}

/* Is the view chain from `v` down to its storage such that the storage's column units are, one for
 * one, units of `units` x `grain` columns of `v`? */
static bool view_keeps_units(const SnlValue *v, const SnlPlacement *base, int64_t units,
                             int64_t grain)
{
    const SnlOp *op = v->def;
    if (!op || !snl_op_is_view(op)) return base->units == units && base->grain == grain;
    if (op->code == SNL_OP_MEMBER)
        return base->split == SNL_SPLIT_INNER &&
               view_keeps_units(snl_in(op, 0), base, units, grain);
    const SnlValue *whole = snl_in(op, 0);
    const SnlAttrValue *pieces = whole->def ? snl_attr_find(&whole->def->attrs, "pieces") : NULL;
    if (!pieces || base->units != units) return false;
    int64_t begin = snl_attr_int(&op->attrs, "begin", 0), end = snl_attr_int(&op->attrs, "end", 0);
    int64_t piece_begin = 0;
    for (size_t i = 0; i < pieces->list.n; i++) {
        int64_t piece_end = pieces->list.at[i].i;
        if (piece_begin == begin && piece_end == end) return end - begin == units * grain;
        piece_begin = piece_end;
    }
    return false;
}

static bool by_columns(const SnlPlacement *p)
{
    return p->split == SNL_SPLIT_COLS || p->split == SNL_SPLIT_INNER;
}

/* `cols` shares out pairs of (member, unit), `inner` units of all members at once: the same thing
 * for one member only. `d` made a value of which the reader sees `seen` members, the reader makes
 * `made`. */
static bool same_shares(const SnlPlacement *d, int64_t seen, const SnlPlacement *p, int64_t made)
{
    if (p->split == d->split) return p->split == SNL_SPLIT_INNER || made == seen;
    return p->split == SNL_SPLIT_COLS ? made == 1 : seen == 1;
}

/* Does the op's result (or effect) on some columns need those columns of its operands only? */
static bool reads_columns(const SnlOp *op, const SnlValue *v)
{
    switch (op->code) {
    case SNL_OP_ROPE:
        return v != snl_in(op, 1); /* every head reads the whole table */
    case SNL_OP_RMS_NORM:
    case SNL_OP_ATTENTION:
    case SNL_OP_KV_WRITE:
    case SNL_OP_MIX:
    case SNL_OP_STACK:
        return true;
    default:
        return (snl_op_info[op->code].flags & SNL_ELTWISE) != 0;
    }
}

/* `v`, made by columns as `d`: does each thread read, as `p`, only columns that it made? */
static bool keeps_to_own_columns(const SnlValue *v, const SnlPlacement *d, const SnlOp *reader,
                                 const SnlPlacement *p)
{
    if (snl_linear_part(reader) > 0) /* unit m of v is what member m reads */
        return d->split == SNL_SPLIT_COLS &&
               view_keeps_units(v, d, snl_type_members(reader->out[0]->type),
                                snl_linear_part(reader));
    if (!by_columns(p) || !reads_columns(reader, v)) return false;
    int64_t members = snl_type_members(v->type);
    if (reader->code == SNL_OP_MIX && d->split == SNL_SPLIT_COLS && members > 1)
        return false; /* a column of all streams is wanted */
    const SnlType *made = reader->n_out ? reader->out[0]->type : snl_in(reader, 0)->type;
    int64_t width = snl_type_width(v->type), reader_width = snl_type_width(made), grain = p->grain;
    if (width != reader_width) {
        /* Heads, or a factor for each of them: unit by unit, when units divide both evenly. */
        if (p->units * grain != reader_width || width % p->units != 0) return false;
        grain = width / p->units;
    }
    return same_shares(d, members, p, snl_type_members(made)) &&
           view_keeps_units(v, d, p->units, grain);
}

/* First stage in which an op placed as `p` (stage ignored) may read `v`. */
int64_t snl_ready_stage(const SnlValue *v, const SnlOp *reader, const SnlPlacement *p)
{
    const SnlOp *def = snl_storage_op(v);
    SnlPlacement d;
    if (!def || !snl_placement_read(def, &d)) return 0;
    bool same_rows = snl_op_is_tail(reader) == snl_op_is_tail(def), joins = false;
    bool by_row =
        reader->code == SNL_OP_KV_WRITE || (snl_op_info[reader->code].flags & SNL_ROWWISE);
    switch (d.split) {
    case SNL_SPLIT_ALL:
        joins = true;
        break;
    case SNL_SPLIT_ONE:
        joins = p->split == SNL_SPLIT_ONE;
        break;
    case SNL_SPLIT_ROWS:
        joins = p->split == SNL_SPLIT_ROWS && same_rows && by_row;
        break;
    case SNL_SPLIT_COLS:
    case SNL_SPLIT_INNER:
        joins = same_rows && keeps_to_own_columns(v, &d, reader, p);
        break;
    case SNL_SPLIT_TILES:
    case SNL_SPLIT_PARTS:
    case SNL_SPLIT_VIEW:
    case SNL_SPLIT_COUNT:
        break;
    }
    return joins ? d.stage : d.stage + 1;
}

int64_t snl_earliest_stage(const SnlOp *op, const SnlPlacement *p)
{
    int64_t stage = 0;
    for (size_t i = 0; i < op->n_in; i++) {
        int64_t r = snl_ready_stage(snl_in(op, i), op, p);
        if (r > stage) stage = r;
    }
    return stage;
}
