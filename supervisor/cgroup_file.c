/* SPDX-License-Identifier: MIT */
/* The text files of the kernel's cgroup interface. */
#include <fcntl.h>

#include "common/base/io.h"
#include "common/base/num.h"
#include "supervisor/cgroup_internal.h"

#define CGROUP_FILE_MAX 65536u

struct str cgroup_word(struct str *rest, const char *seps)
{
    size_t skip = 0, n = 0;

    while (skip < rest->len && strchr(seps, rest->p[skip]))
        skip++;
    while (skip + n < rest->len && !strchr(seps, rest->p[skip + n]))
        n++;
    struct str word = {rest->p + skip, n};
    *rest = (struct str){rest->p + skip + n, rest->len - skip - n};
    return word;
}

int cgroup_read(int dirfd, const char *file, struct buf *b)
{
    _cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);

    buf_init(b, CGROUP_FILE_MAX);
    return fd < 0 ? -errno : io_read_to_end(fd, b);
}

int cgroup_write(int dirfd, const char *file, const char *text)
{
    _cleanup_close_ int fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC);

    return fd < 0 ? -errno : io_write_full(fd, text, strlen(text));
}

bool cgroup_lists(int dirfd, const char *file, const char *word)
{
    _cleanup_(buf_done) struct buf b = {0};
    struct str rest, one;

    if (cgroup_read(dirfd, file, &b) < 0)
        return false;
    rest = buf_str(&b);
    while ((one = cgroup_word(&rest, " \n")).len > 0)
        if (str_is(one, word))
            return true;
    return false;
}

int cgroup_number(int dirfd, const char *file, const char *key, uint64_t *ret)
{
    _cleanup_(buf_done) struct buf b = {0};
    struct str rest;
    int r = cgroup_read(dirfd, file, &b);

    if (r < 0)
        return r;
    rest = buf_str(&b);
    while (rest.len > 0) {
        struct str line = cgroup_word(&rest, "\n");
        if (key && !str_is(cgroup_word(&line, " \t"), key))
            continue;
        return num_parse_u64(cgroup_word(&line, " \t"), 0, UINT64_MAX, ret);
    }
    return -ENOENT;
}

/* mountinfo: "id parent dev root point options - type ...". */
int cgroup_find_mount(struct str mountinfo, char *ret, size_t cap)
{
    while (mountinfo.len > 0) {
        struct str line = cgroup_word(&mountinfo, "\n"), root, point, word;
        for (int i = 0; i < 3; i++)
            (void)cgroup_word(&line, " ");
        root = cgroup_word(&line, " ");
        point = cgroup_word(&line, " ");
        do
            word = cgroup_word(&line, " ");
        while (word.len > 0 && !str_is(word, "-"));
        if (!str_is(cgroup_word(&line, " "), "cgroup2") || !str_is(root, "/") || point.len >= cap)
            continue;
        if (memchr(point.p, '\\', point.len))
            continue; /* blanks in the path: nobody mounts it there */
        memcpy(ret, point.p, point.len);
        ret[point.len] = '\0';
        return 0;
    }
    return -EOPNOTSUPP;
}

/* The line "0::PATH". */
int cgroup_find_own(struct str text, char *ret, size_t cap)
{
    while (text.len > 0) {
        struct str line = cgroup_word(&text, "\n");
        if (line.len < 4 || memcmp(line.p, "0::/", 4) != 0 || line.len - 3 >= cap)
            continue;
        memcpy(ret, line.p + 3, line.len - 3);
        ret[line.len - 3] = '\0';
        return 0;
    }
    return -EOPNOTSUPP;
}
