/* SPDX-License-Identifier: MIT */
/* The suite's directory: finding the v2 tree, a place in it, its controllers. */
#include "supervisor/cgroup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "supervisor/cgroup_internal.h"

#define CGROUP_FILE_MAX 65536u

static const char *const cgroup_controllers[] = {"cpu", "memory", "pids"};

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

/* Where the top of the cgroup2 tree is mounted, by proc_pid_mountinfo(5): "id parent dev root point options -
 * type ...". */
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

/* The process's own directory: the line "0::PATH" of proc_pid_cgroup(5). */
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

/* A directory with processes in it cannot hand controllers on (no internal processes), so a supervisor that
 * is alone in its own one moves down, as systemd's delegation asks for. */
static int cgroup_move_down(int parent)
{
    _cleanup_(buf_done) struct buf b;
    struct str rest, pid;
    char self[16];
    int r = cgroup_read(parent, "cgroup.procs", &b);

    if (r < 0)
        return r;
    rest = buf_str(&b);
    snprintf(self, sizeof(self), "%d", (int)getpid());
    while ((pid = cgroup_word(&rest, "\n")).len > 0)
        if (!str_is(pid, self))
            return -EBUSY;
    if (mkdirat(parent, "cellos-supervisor", 0755) < 0 && errno != EEXIST)
        return -errno;
    return cgroup_write(parent, "cellos-supervisor/cgroup.procs", self);
}

static bool cgroup_has(int dir, const char *controller)
{
    _cleanup_(buf_done) struct buf b;
    struct str rest, word;

    if (cgroup_read(dir, "cgroup.controllers", &b) < 0)
        return false;
    rest = buf_str(&b);
    while ((word = cgroup_word(&rest, " \n")).len > 0)
        if (str_is(word, controller))
            return true;
    return false;
}

/* Hands the controller from dir to its children. */
static bool cgroup_hand_on(int dir, const char *controller)
{
    char text[16];
    int r;

    if (!cgroup_has(dir, controller))
        return false;
    snprintf(text, sizeof(text), "+%s", controller);
    r = cgroup_write(dir, "cgroup.subtree_control", text);
    if (r == -EBUSY && cgroup_move_down(dir) == 0)
        r = cgroup_write(dir, "cgroup.subtree_control", text);
    return r == 0;
}

static void cgroup_take_controllers(struct cgroup *c)
{
    size_t used = (size_t)snprintf(c->text, sizeof(c->text), "v2");

    for (unsigned i = 0; i < ARRAY_LEN(cgroup_controllers); i++) {
        const char *name = cgroup_controllers[i];
        if (!cgroup_has(c->dir, name) && !cgroup_hand_on(c->parent, name))
            continue;
        if (!cgroup_hand_on(c->dir, name))
            continue;
        c->controllers |= 1u << i;
        used += (size_t)snprintf(c->text + used, sizeof(c->text) - used, "%s%s", used > 2 ? " " : ": ", name);
    }
}

static int cgroup_make(const char *mount, const char *own, struct cgroup *c)
{
    char path[PATH_MAX * 2];
    uint32_t salt;

    snprintf(path, sizeof(path), "%s%s", mount, own);
    c->parent = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (c->parent < 0)
        return -errno;
    /* A pid comes round again, and a suite that was killed may have left its directory. */
    if (getrandom(&salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
        return -EIO;
    snprintf(c->name, sizeof(c->name), "cellos-%d-%08x", (int)getpid(), salt);
    if (mkdirat(c->parent, c->name, 0755) < 0)
        return -errno;
    c->dir = openat(c->parent, c->name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (c->dir < 0)
        return -errno;
    cgroup_take_controllers(c);
    return 0;
}

static int cgroup_find(char *mount, char *own, size_t cap)
{
    _cleanup_close_ int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(buf_done) struct buf mounts, groups;
    int r;

    buf_init(&mounts, 0);
    buf_init(&groups, 0);
    if (proc < 0)
        return -errno;
    r = cgroup_read(proc, "mountinfo", &mounts);
    if (r == 0)
        r = cgroup_read(proc, "cgroup", &groups);
    if (r == 0)
        r = cgroup_find_mount(buf_str(&mounts), mount, cap);
    return r == 0 ? cgroup_find_own(buf_str(&groups), own, cap) : r;
}

static struct cgroup *cgroup_alloc(void)
{
    struct cgroup *c = calloc(1, sizeof(*c));

    if (c)
        c->parent = c->dir = -EBADF;
    return c;
}

int cgroup_open(struct cgroup **ret, struct fault *f)
{
    char mount[PATH_MAX], own[PATH_MAX];
    int r = cgroup_find(mount, own, sizeof(mount));

    if (r < 0)
        return fault_set(f, r, "this host mounts no cgroup v2 tree");
    for (int i = 0; i < 2; i++) {
        struct cgroup *c;
        if (i == 1 && (geteuid() != 0 || strcmp(own, "/") == 0))
            break;
        c = cgroup_alloc();
        if (!c)
            return -ENOMEM;
        r = cgroup_make(mount, i == 0 ? own : "/", c);
        if (r == 0) {
            *ret = c;
            return 0;
        }
        cgroup_free(c);
    }
    return fault_set(f, -EOPNOTSUPP, "no cgroup may be made below %s%s (%s)", mount, own, strerror(-r));
}

struct cgroup *cgroup_free(struct cgroup *c)
{
    if (!c)
        return NULL;
    if (c->dir >= 0)
        (void)!unlinkat(c->parent, c->name, AT_REMOVEDIR);
    cleanup_closep(&c->dir);
    cleanup_closep(&c->parent);
    free(c);
    return NULL;
}

int cgroup_dirfd(const struct cgroup *c)
{
    return c->dir;
}

int cgroup_parent_dirfd(const struct cgroup *c)
{
    return c->parent;
}

const char *cgroup_describe(const struct cgroup *c)
{
    return c ? c->text : "none";
}

const char *cgroup_missing(const struct cgroup *c, const struct cgroup_limits *l)
{
    const bool wanted[] = {l->cpu_quota_us.set, l->memory_max_bytes.set, l->pids_max.set};
    unsigned have = c ? c->controllers : 0;

    for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
        if (wanted[i] && !(have & 1u << i))
            return cgroup_controllers[i];
    return NULL;
}
