/* SPDX-License-Identifier: MIT */
#include "supervisor/spec/attach.h"

#include <stdio.h>

int spec_attachment_paths(struct spec *s, struct strs *ret)
{
    size_t max = s->dns ? s->dns->nresolvers : 0, n = 0;
    struct str *v = arena_alloc(&s->arena, (max + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < max; i++) {
        struct str path = s->dns->resolvers[i].trust_anchors_path;
        bool known = !path.p;
        for (size_t k = 0; k < n && !known; k++)
            known = str_eq(v[k], path);
        if (!known)
            v[n++] = path;
    }
    *ret = (struct strs){v, n};
    return 0;
}
_Static_assert(LIMIT_RESOLVERS <= LIMIT_ATTACHMENTS, "a spec names at most one file a resolver");

static const struct attachment *find(const struct attachments *files, struct str path)
{
    for (size_t i = 0; i < files->files.n; i++)
        if (str_eq(files->files.v[i].path, path))
            return &files->files.v[i];
    return NULL;
}

/* Text with a record of one of the two types in it; what exactly they say is the validating library's
 * business. */
static bool has_anchor(struct str text)
{
    return text.len > 0 && !memchr(text.p, 0, text.len) && str_utf8_valid(text.p, text.len) &&
           (memmem(text.p, text.len, "DS", 2) || memmem(text.p, text.len, "DNSKEY", 6));
}

static int attach(struct spec *s, struct spec_resolver *r, size_t i, const struct attachments *files,
                  struct violations *out)
{
    char at[96];
    const struct attachment *f = find(files, r->trust_anchors_path);
    (void)snprintf(at, sizeof(at), "spec.authority.dnsAuthority.resolvers[%zu].dnssec.trustAnchorsPath", i);
    if (!f) {
        violations_add(out, at, "missing", "the file was not readable, or was not sent along");
        return 0;
    }
    if (!has_anchor(f->content)) {
        violations_add(out, at, "content", "the file must have DS or DNSKEY records as text");
        return 0;
    }
    r->trust_anchors = arena_copy(&s->arena, f->content);
    return r->trust_anchors.p ? 0 : -ENOMEM;
}

int spec_attach(struct spec *s, const struct attachments *files, struct violations *out)
{
    struct spec_resolver *v = s->dns ? s->dns->resolvers : NULL;
    for (size_t i = 0; s->dns && i < s->dns->nresolvers; i++) {
        int r = v[i].trust_anchors_path.p ? attach(s, &v[i], i, files, out) : 0;
        if (r < 0)
            return r;
    }
    return out->err;
}
