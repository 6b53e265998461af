/* runtime/level.c -- levels of processors, tried from the highest down. */
#include "runtime/level.h"

#include "runtime/cpu_check.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static SnlrtStatus unknown(const SnlrtModel *model, const char *forced, SnlrtError *err)
{
    char names[256] = "";
    size_t n = 0;
    for (int64_t i = 0; i < model->n_levels && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "",
                              model->levels[i].name);
    return snlrt_fail(err, SNLRT_USAGE, "SNL_LEVEL: found '%s', this program has %s", forced,
                      *names ? names : "only one level");
}

SnlrtStatus snlrt_level_choose(const SnlrtModel *model, const char *forced, SnlrtModel *out,
                               SnlrtError *err)
{
    *out = *model;
    bool any = forced && *forced;
    for (int64_t i = model->n_levels - 1; i >= 0; i--) {
        const SnlrtLevel *level = &model->levels[i];
        if (any && strcmp(forced, level->name) != 0) continue;
        SnlrtStatus status = snlrt_cpu_check(level->features, err);
        out->graphs = level->graphs;
        out->cpu_features = level->features;
        if (status == SNLRT_OK || any || i == 0) return status;
    }
    return any ? unknown(model, forced, err) : snlrt_cpu_check(model->cpu_features, err);
}
