/* compiler/frontend/family.c -- the table of families. */
#include "compiler/frontend/family.h"

#include <string.h>

static const SnlFamily families[] = {
#define FAMILY(model_type, build, models) {model_type, snl_family_##build, models},
#include "compiler/frontend/families.def"
#undef FAMILY
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

const SnlFamily *snl_family_find(const char *model_type)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (strcmp(families[i].model_type, model_type) == 0) return &families[i];
    return NULL;
}

const char *snl_family_list(SnlArena *arena)
{
    const char *list = "";
    for (size_t i = 0; i < N_FAMILIES; i++)
        list = snl_arena_printf(arena, "%s%s%s", list, i ? ", " : "", families[i].model_type);
    return list;
}
