/* compiler/frontend/family.h -- what a model family is: a row in families.def and one function.
 *
 * A family's file reads the configuration keys it knows, reports those it cannot honour, and builds
 * the sequential module with snl_build_* (build.h). Adding one is a row and a file. */
#ifndef SNL_FRONTEND_FAMILY_H
#define SNL_FRONTEND_FAMILY_H

#include "compiler/frontend/build.h"

/* Fills b->model (vocab, width, n_layers, trained_context, context, family) and b->module. */
typedef SnlStatus SnlFamilyBuild(SnlBuild *b, SnlJson config);

#define FAMILY(model_type, build, models) SnlFamilyBuild snl_family_##build;
#include "compiler/frontend/families.def"
#undef FAMILY

typedef struct SnlFamily {
    const char *model_type; /* of config.json */
    SnlFamilyBuild *build;
    const char *models; /* for people: what goes by this type */
} SnlFamily;

/* NULL: unknown. */
const SnlFamily *snl_family_find(const char *model_type);
/* "llama, mistral, ..." for messages. */
const char *snl_family_list(SnlArena *arena);

#endif
