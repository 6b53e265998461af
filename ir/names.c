/* ir/names.c -- name table and type interning of a module. */
#include "ir/names.h"

#include <string.h>

/* ---- names ----------------------------------------------------------------------------------- */

/* FNV-1a; the owner's address may differ between runs, which only moves slots. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) hash = (hash ^ p[i]) * 0x100000001b3;
    return hash;
}

static uint64_t hash_name(const void *owner, const char *text)
{
    uint64_t hash = hash_bytes(0xcbf29ce484222325, &owner, sizeof owner);
    return hash_bytes(hash, text, strlen(text));
}

/* The slot that holds the name, or the empty one where it belongs. */
static SnlName **find_slot(const SnlNameTable *table, const void *owner, const char *text,
                           uint64_t hash)
{
    for (size_t i = hash & (table->n_slots - 1);; i = (i + 1) & (table->n_slots - 1)) {
        SnlName *name = table->slot[i];
        if (!name) return &table->slot[i];
        if (name->hash == hash && name->owner == owner && strcmp(name->text, text) == 0)
            return &table->slot[i];
    }
}

static void grow_names(SnlModule *m, SnlNameTable *table)
{
    SnlNameTable larger = {.n_slots = table->n_slots ? table->n_slots * 2 : 256,
                           .n_used = table->n_used};
    larger.slot = SNL_NEW_ARRAY(m->arena, SnlName *, larger.n_slots);
    for (size_t i = 0; i < table->n_slots; i++) {
        SnlName *name = table->slot[i];
        if (name) *find_slot(&larger, name->owner, name->text, name->hash) = name;
    }
    *table = larger;
}

static SnlName *name_entry(SnlModule *m, const void *owner, const char *text)
{
    SnlNameTable *table = &m->index->names;
    if (table->n_used * 2 >= table->n_slots) grow_names(m, table);
    uint64_t hash = hash_name(owner, text);
    SnlName **slot = find_slot(table, owner, text, hash);
    if (!*slot) {
        *slot = SNL_NEW(m->arena, SnlName);
        **slot = (SnlName){owner, snl_arena_strdup(m->arena, text), hash, NULL, 1};
        table->n_used++;
    }
    return *slot;
}

void *snl_name_find(const SnlModule *m, const void *owner, const char *text)
{
    const SnlNameTable *table = &m->index->names;
    if (table->n_slots == 0) return NULL;
    SnlName *name = *find_slot(table, owner, text, hash_name(owner, text));
    return name ? name->what : NULL;
}

const char *snl_name_set(SnlModule *m, const void *owner, const char *text, void *what)
{
    SnlName *name = name_entry(m, owner, text);
    SNL_ASSERT(!name->what && "name is taken");
    name->what = what;
    return name->text;
}

void snl_name_release(SnlModule *m, const void *owner, const char *text)
{
    name_entry(m, owner, text)->what = NULL;
}

const char *snl_name_fresh(SnlModule *m, const void *owner, const char *stem)
{
    SnlName *name = name_entry(m, owner, stem);
    for (;;) {
        const char *text =
            snl_arena_printf(m->arena, "%s%s%u", stem, *stem ? "." : "", name->next_suffix++);
        if (!snl_name_find(m, owner, text)) return text;
    }
}

/* ---- types ----------------------------------------------------------------------------------- */

static bool same_type(const SnlType *a, const SnlType *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

static const SnlType **find_type(const SnlTypeTable *table, const SnlType *type)
{
    uint64_t hash = hash_bytes(0xcbf29ce484222325, &type->dtype, sizeof type->dtype);
    hash = hash_bytes(hash, type->dim, (size_t)type->rank * sizeof type->dim[0]);
    for (size_t i = hash & (table->n_slots - 1);; i = (i + 1) & (table->n_slots - 1)) {
        const SnlType *found = table->slot[i];
        if (!found || same_type(found, type)) return &table->slot[i];
    }
}

static void grow_types(SnlModule *m, SnlTypeTable *table)
{
    SnlTypeTable larger = {.n_slots = table->n_slots ? table->n_slots * 2 : 64,
                           .n_used = table->n_used};
    larger.slot = SNL_NEW_ARRAY(m->arena, const SnlType *, larger.n_slots);
    for (size_t i = 0; i < table->n_slots; i++)
        if (table->slot[i]) *find_type(&larger, table->slot[i]) = table->slot[i];
    *table = larger;
}

const SnlType *snl_type(SnlModule *m, SnlDtype dtype, int rank, const int64_t *dim)
{
    SNL_ASSERT(rank >= 0 && rank <= SNL_MAX_RANK);
    SnlType wanted = {.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++) wanted.dim[i] = dim[i];
    SnlTypeTable *table = &m->index->types;
    if (table->n_used * 2 >= table->n_slots) grow_types(m, table);
    const SnlType **slot = find_type(table, &wanted);
    if (!*slot) {
        SnlType *made = SNL_NEW(m->arena, SnlType);
        *made = wanted;
        *slot = made;
        table->n_used++;
    }
    return *slot;
}

const SnlType *snl_type_rows(SnlModule *m, int64_t width)
{
    return snl_type(m, SNL_F32, 2, (int64_t[]){SNL_DIM_T, width});
}

const SnlType *snl_type_members_of(SnlModule *m, int64_t members, int64_t width)
{
    if (members == 0) return snl_type_rows(m, width);
    return snl_type(m, SNL_F32, 3, (int64_t[]){SNL_DIM_T, members, width});
}

const SnlType *snl_type_index(SnlModule *m)
{
    return snl_type(m, SNL_INDEX, 0, NULL);
}
