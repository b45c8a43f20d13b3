/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/attachments.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/spec/parse.h"

static int read_regular(const char *path, struct buf *b)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    if (st.st_size > LIMIT_TRUST_ANCHORS)
        return -EFBIG;
    return io_read_to_end(fd, b);
}

static int read_one(const char *verb, struct str path, struct arena *a, struct attachments *to,
                    struct attachment *v)
{
    _cleanup_(buf_done) struct buf b = {0};
    buf_init(&b, LIMIT_TRUST_ANCHORS);
    int r = read_regular(path.p, &b);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        (void)ctl_fail(0, verb, "cannot read %s: %s", path.p,
                       r == -EINVAL ? "not a regular file" : strerrordesc_np(-r));
        return 0;
    }
    v[to->files.n] = (struct attachment){arena_copy(a, path), arena_copy(a, buf_str(&b))};
    if (!v[to->files.n].path.p || !v[to->files.n].content.p)
        return -ENOMEM;
    to->files.n++;
    return 0;
}

int attachments_read(const char *verb, struct str document, const struct spec_operator *op, struct arena *a,
                     struct attachments *ret)
{
    _cleanup_(violations_done) struct violations found = {0};
    _cleanup_(spec_freep) struct spec *s = NULL;
    struct strs paths = {0};
    *ret = (struct attachments){0};
    int r = spec_parse(document, op, &s, &found);
    if (r == SPEC_INVALID)
        return 0;
    if (r == SPEC_OK)
        r = spec_attachment_paths(s, &paths);
    if (r < 0)
        return r;
    struct attachment *v = arena_alloc(a, (paths.n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    ret->files.v = v;
    for (size_t i = 0; i < paths.n && r == 0; i++)
        r = read_one(verb, paths.v[i], a, ret, v);
    return r;
}
