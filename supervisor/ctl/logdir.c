/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/logdir.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/dir.h"
#include "common/evidence/log_reader.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/paths.h"

#define LOGDIR_LOGS_MAX 1000000

void logdir_list_done(struct logdir_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->path[i]);
    free(l->path);
    *l = (struct logdir_list){.n = 0};
}

int logdir_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

bool logdir_is_log(int dirfd)
{
    _cleanup_free_ uint64_t *segments = NULL;

    if (faccessat(dirfd, "checkpoint", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
        faccessat(dirfd, "origin", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return true;
    return log_reader_segments(dirfd, &segments) > 0;
}

static int logdir_add(struct logdir_list *l, const char *dir, const char *name)
{
    char path[PATH_MAX];
    int n = name ? snprintf(path, sizeof(path), "%s/%s", dir, name) : snprintf(path, sizeof(path), "%s", dir);

    if (n < 0 || n >= PATH_MAX)
        return -ENAMETOOLONG;
    if ((l->n & (l->n - 1)) == 0) { /* grows at every power of two */
        char **more = reallocarray(l->path, l->n ? 2 * l->n : 1, sizeof(*more));

        if (!more)
            return -ENOMEM;
        l->path = more;
    }
    l->path[l->n] = strdup(path);
    if (!l->path[l->n])
        return -ENOMEM;
    l->n++;
    return 0;
}

static int logdir_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Takes fd. */
static int logdir_below(int fd, const char *dir, struct logdir_list *l)
{
    _cleanup_(dir_closep) DIR *d = NULL;
    struct dirent *e;
    int r = dir_take(fd, &d);

    while (r == 0 && l->n < LOGDIR_LOGS_MAX && (e = readdir(d))) {
        _cleanup_close_ int sub = -EBADF;

        if (e->d_name[0] == '.')
            continue;
        sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        /* One that may not be looked into may be a log: it is not passed over, whoever opens it says why. */
        if (sub >= 0 ? logdir_is_log(sub) : errno == EACCES)
            r = logdir_add(l, dir, e->d_name);
    }
    if (l->n > 0)
        qsort(l->path, l->n, sizeof(*l->path), logdir_order);
    return r;
}

static int logdir_default(const char *verb, char dst[PATH_MAX])
{
    char state[PATH_MAX];
    int r = paths_state(state);

    if (r < 0)
        return ctl_fail(CTL_FAILED, verb, "no state directory is known (%s): name a directory", strerror(-r));
    if (snprintf(dst, PATH_MAX, "%s/log", state) >= PATH_MAX)
        return ctl_fail(CTL_FAILED, verb, "the path of the state directory is too long: name a directory");
    return CTL_OK;
}

int logdir_find(const char *verb, const char *dir, struct logdir_list *ret)
{
    char parent[PATH_MAX];

    return logdir_find_below(verb, dir, false, ret, parent);
}

int logdir_find_below(const char *verb, const char *dir, bool empty, struct logdir_list *ret,
                      char ret_parent[PATH_MAX])
{
    char path[PATH_MAX];
    int fd, r = CTL_OK;

    if (!dir) {
        r = logdir_default(verb, path);
        if (r != CTL_OK)
            return r;
        dir = path;
    }
    fd = logdir_open(dir);
    if (fd == -ENOENT && dir == path)
        return ctl_fail(CTL_FAILED, verb, "there is no log yet: %s does not exist (`cellctl run` makes one)",
                        dir);
    if (fd < 0)
        return ctl_fail(CTL_FAILED, verb, "cannot open %s: %s", dir, strerror(-fd));
    if (logdir_is_log(fd)) {
        close(fd);
        ret_parent[0] = '\0';
        r = logdir_add(ret, dir, NULL);
    } else {
        (void)snprintf(ret_parent, PATH_MAX, "%s", dir);
        r = logdir_below(fd, dir, ret);
    }
    if (r < 0)
        return ctl_fail(CTL_FAILED, verb, "cannot read %s: %s", dir, strerror(-r));
    if (ret->n == 0 && !(empty && ret_parent[0]))
        return ctl_fail(CTL_FAILED, verb, "%s is not a log and no log is directly below it", dir);
    return CTL_OK;
}

static bool logdir_has_origin(const char *path, struct str origin_line)
{
    _cleanup_(buf_done) struct buf origin = {.data = NULL};
    _cleanup_close_ int fd = logdir_open(path);

    buf_init(&origin, LOG_FILE_MAX);
    return fd >= 0 && log_verify_read_file(fd, "origin", &origin) == 0 &&
           str_eq(buf_str(&origin), origin_line);
}

void logdir_keep_origin(struct logdir_list *l, struct str note)
{
    const char *lf = note.len ? memchr(note.p, '\n', note.len) : NULL;
    struct str line = {note.p, lf ? (size_t)(lf + 1 - note.p) : 0};
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (line.len > 0 && logdir_has_origin(l->path[i], line))
            l->path[kept++] = l->path[i];
        else
            free(l->path[i]);
    }
    l->n = kept;
}

void logdir_keep_one(struct logdir_list *l, size_t i)
{
    for (size_t k = 0; k < l->n; k++)
        if (k != i)
            free(l->path[k]);
    l->path[0] = l->path[i];
    l->n = 1;
}

/* A file of this user's directory with keys, if nobody else may have put it there. */
static int logdir_state_file(const char *name, struct buf *b)
{
    _cleanup_close_ int fd = -EBADF;
    char state[PATH_MAX], keys[PATH_MAX];
    struct stat st;
    int r = paths_state(state);

    if (r < 0)
        return r;
    if (snprintf(keys, sizeof(keys), "%s/keys", state) >= PATH_MAX)
        return -ENAMETOOLONG;
    fd = logdir_open(keys);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return -EPERM;
    return log_verify_read_file(fd, name, b);
}

int logdir_state_key(struct vkey *ret)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    int r;

    buf_init(&text, LOG_FILE_MAX);
    r = logdir_state_file("signing.vkey", &text);
    if (r < 0)
        return r;
    if (text.len > 0 && text.data[text.len - 1] == '\n')
        text.len--;
    return vkey_parse(buf_str(&text), ret);
}

int logdir_state_keyset(struct buf *b)
{
    return logdir_state_file(KEYSET_FILE, b);
}
