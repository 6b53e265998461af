/* passes/schedule_ready.c -- the one rule of stages: a consumer may stand in its producer's stage
 * when every thread reads only what it made itself. */
#include "passes/schedule_internal.h"

/* The op whose memory `v` lies in, through views; NULL for parameters. */
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

/* First stage in which an op placed as `p` (stage ignored) may read `v`. */
int64_t snl_ready_stage(const SnlValue *v, const SnlOp *reader, const SnlPlacement *p)
{
    const SnlOp *def = snl_storage_op(v);
    SnlPlacement d;
    if (!def || !snl_placement_read(def, &d)) return 0;
    bool joins = false;
    switch (d.split) {
    case SNL_SPLIT_ALL:
        joins = true;
        break;
    case SNL_SPLIT_ONE:
        joins = p->split == SNL_SPLIT_ONE;
        break;
    case SNL_SPLIT_ROWS:
        joins =
            p->split == SNL_SPLIT_ROWS && snl_op_is_tail(reader) == snl_op_is_tail(def) &&
            (reader->code == SNL_OP_KV_WRITE || (snl_op_info[reader->code].flags & SNL_ROWWISE));
        break;
    case SNL_SPLIT_COLS:
    case SNL_SPLIT_INNER: {
        bool heads = reader->code == SNL_OP_ROPE || reader->code == SNL_OP_ATTENTION ||
                     reader->code == SNL_OP_KV_WRITE || reader->code == SNL_OP_RMS_NORM;
        bool local = heads || reader->code == SNL_OP_MIX || reader->code == SNL_OP_STACK ||
                     (snl_op_info[reader->code].flags & SNL_ELTWISE);
        bool columns = p->split == SNL_SPLIT_COLS || p->split == SNL_SPLIT_INNER;
        if (!local || !columns || snl_op_is_tail(reader) != snl_op_is_tail(def)) break;
        bool same_width =
            reader->n_out == 1 && snl_type_width(v->type) == snl_type_width(reader->out[0]->type);
        int64_t grain = heads || !same_width ? snl_type_width(v->type) / p->units : p->grain;
        int64_t members = snl_type_members(v->type);
        bool same_kind = p->split == d.split || (members == 1 && p->split == SNL_SPLIT_INNER) ||
                         (d.split == SNL_SPLIT_INNER && p->split == SNL_SPLIT_COLS);
        if (p->split == SNL_SPLIT_COLS && reader->n_out == 1 &&
            snl_type_members(reader->out[0]->type) != members)
            same_kind = false; /* a shared row read by members split apart */
        if (reader->code == SNL_OP_MIX && members > 1 && d.split != SNL_SPLIT_INNER)
            same_kind = false; /* a column of all streams is wanted */
        joins = same_kind && view_keeps_units(v, &d, p->units, grain);
        break;
    }
    case SNL_SPLIT_TILES:
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
