/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/cell_plan.h"

#include <ctype.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>

#include "supervisor/launch/workload.h"

static int cell_plan_copy(struct arena *a, struct str *s)
{
    *s = arena_copy(a, *s);
    return s->p ? 0 : -ENOMEM;
}

static int cell_plan_copy_all(struct arena *a, struct strs *list)
{
    struct str *v;

    if (!list->v)
        return 0;
    v = arena_alloc(a, (list->n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        v[i] = list->v[i];
        if (cell_plan_copy(a, &v[i]) < 0)
            return -ENOMEM;
    }
    list->v = v;
    return 0;
}

static int cell_plan_argv(struct cell_plan *p)
{
    const struct strs *argv = &p->launch.argv;

    if (!argv->v)
        return 0;
    if (argv->n == 0 || argv->v[0].len == 0)
        return -EBADMSG;
    p->argv = arena_alloc(&p->arena, (argv->n + 1) * sizeof(*p->argv));
    if (!p->argv)
        return -ENOMEM;
    for (size_t i = 0; i < argv->n; i++)
        p->argv[i] = (char *)(uintptr_t)argv->v[i].p;
    return 0;
}

int cell_plan_read(struct cell_plan *p, int memfd, struct str sha256)
{
    struct launch *l = &p->launch;
    int r;

    *p = (struct cell_plan){0};
    buf_init(&p->bytes, LIMIT_LAUNCH_DOC);
    arena_init(&p->arena, LIMIT_ARENA);
    r = codec_from_memfd(&schema_launch, memfd, LIMIT_LAUNCH_DOC, sha256, &p->bytes, &p->arena, l);
    if (r == 0)
        r = cell_plan_copy(&p->arena, &l->cell_id);
    if (r == 0)
        r = cell_plan_copy(&p->arena, &l->working_directory);
    if (r == 0)
        r = cell_plan_copy_all(&p->arena, &l->argv);
    if (r == 0)
        r = cell_plan_copy_all(&p->arena, &l->read_only);
    if (r == 0)
        r = cell_plan_copy_all(&p->arena, &l->read_write);
    if (r == 0)
        r = cell_plan_argv(p);
    if (r == 0)
        snprintf(p->hostname, sizeof(p->hostname), "%s", l->cell_id.p);
    return r;
}

void cell_plan_done(struct cell_plan *p)
{
    buf_done(&p->bytes);
    arena_done(&p->arena);
}

void cell_env_init(struct cell_env *e)
{
    static char path[] = "PATH=" WORKLOAD_PATH;

    *e = (struct cell_env){.v = {path}, .n = 1};
}

static bool cell_env_name_good(struct str name)
{
    if (name.len == 0 || isdigit((unsigned char)name.p[0]))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.p[i]) && name.p[i] != '_')
            return false;
    return true;
}

int cell_env_add(struct cell_env *e, struct str name, struct str value)
{
    char *entry;

    if (!cell_env_name_good(name) || (value.len > 0 && memchr(value.p, '\0', value.len)))
        return -EINVAL;
    for (size_t i = 0; i < e->n; i++)
        if (strncmp(e->v[i], name.p, name.len) == 0 && e->v[i][name.len] == '=')
            return -EINVAL;
    if (e->n >= ARRAY_LEN(e->v) - 1)
        return -EDQUOT;
    entry = sodium_malloc(name.len + 1 + value.len + 1);
    if (!entry)
        return -ENOMEM;
    memcpy(entry, name.p, name.len);
    entry[name.len] = '=';
    if (value.len > 0)
        memcpy(entry + name.len + 1, value.p, value.len);
    entry[name.len + 1 + value.len] = '\0';
    e->v[e->n++] = entry;
    return 0;
}

void cell_env_done(struct cell_env *e)
{
    for (size_t i = 1; i < e->n; i++)
        sodium_free(e->v[i]);
    cell_env_init(e);
}
