/* codegen/calls.c -- the list of a step's calls, and their shapes. */
#include "codegen/calls.h"

unsigned snl_call_numbers(const SnlCall *call, int64_t *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < call->n_ptr; i++)
        if (call->ptr[i].region != SNL_IN_NULL) out[n++] = call->ptr[i].offset;
    const SnlRange *r = &call->range;
    if (r->columns == SNL_COLUMNS_SHARE || r->columns == SNL_COLUMNS_MEMBER) out[n++] = r->share;
    if (r->columns == SNL_COLUMNS_ALL || r->columns == SNL_COLUMNS_MEMBER) out[n++] = r->width;
    if (r->columns == SNL_COLUMNS_MEMBER || r->columns == SNL_COLUMNS_TURNS) out[n++] = r->before;
    if (r->columns == SNL_COLUMNS_MEMBER) out[n++] = r->begin;
    return n;
}

static bool same_shape(const SnlCall *a, const SnlCall *b)
{
    if (a->kernel != b->kernel || a->n_ptr != b->n_ptr || a->pos != b->pos ||
        a->range.columns != b->range.columns || a->range.rows != b->range.rows)
        return false;
    for (unsigned i = 0; i < a->n_ptr; i++)
        if (a->ptr[i].region != b->ptr[i].region) return false;
    return true;
}

static uint32_t shape_of(SnlCalls *calls, const SnlCall *call)
{
    for (size_t i = 0; i < calls->shapes.n; i++) {
        const SnlCall *other = calls->shapes.at[i].call;
        if (call && other ? same_shape(other, call) : call == other && !calls->shapes.at[i].body)
            return (uint32_t)i;
    }
    SnlShape shape = {.call = call};
    SNL_PUSH(calls->arena, &calls->shapes, shape);
    return (uint32_t)(calls->shapes.n - 1);
}

void snl_calls_add(SnlCalls *calls, const SnlCall *call)
{
    SnlCall *copy = SNL_NEW(calls->arena, SnlCall);
    *copy = *call;
    SnlItem item = {.shape = shape_of(calls, copy), .call = copy};
    SNL_PUSH(calls->arena, &calls->items, item);
}

void snl_calls_barrier(SnlCalls *calls)
{
    SnlItem item = {.shape = shape_of(calls, NULL)};
    SNL_PUSH(calls->arena, &calls->items, item);
}

int64_t snl_calls_share(SnlCalls *calls, SnlShare share)
{
    for (size_t i = 0; i < calls->shares.n; i++) {
        const SnlShare *s = &calls->shares.at[i];
        if (s->units == share.units && s->grain == share.grain && s->limit == share.limit &&
            s->begin == share.begin)
            return (int64_t)i;
    }
    SNL_PUSH(calls->arena, &calls->shares, share);
    return (int64_t)calls->shares.n - 1;
}
