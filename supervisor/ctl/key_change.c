/* SPDX-License-Identifier: MIT */
/* new, rotate and revoke: cellos-signerd is started for this one thing, with the keys' directory alone. */
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/base/clock.h"
#include "common/base/num.h"
#include "common/daemon/activation.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/key.h"
#include "supervisor/ctl/launcher.h"

#define KEY_ARGS_MAX 32
#define KEY_ENV_MAX  8

struct key_command {
    char path[PATH_MAX + 64];
    const char *argv[KEY_ARGS_MAX];
    size_t n;
    char valid_for[24], grace[24], at[24];
};

/* "90d" in seconds. */
static int key_duration(const char *flag, const char *text, char dst[24])
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}, {'y', 31536000}};
    size_t n = strlen(text);
    uint64_t count = 0;

    for (size_t i = 0; n > 1 && i < ARRAY_LEN(units); i++) {
        if (text[n - 1] != units[i].unit || num_parse_u64((struct str){text, n - 1}, 1, 1000000, &count) < 0)
            continue;
        count *= units[i].seconds;
        if (count > UINT64_C(100) * 31536000)
            break;
        (void)snprintf(dst, 24, "%" PRIu64, count);
        return CTL_OK;
    }
    return ctl_fail(CTL_USAGE, "key", "%s %s: a number and s, m, h, d, w or y, at most 100y", flag, text);
}

static void key_add(struct key_command *c, const char *flag, const char *value)
{
    if (!flag || (value && !*value))
        return;
    c->argv[c->n++] = flag;
    if (value)
        c->argv[c->n++] = value;
}

static int key_command_values(const struct key_args *a, struct key_command *c)
{
    uint64_t when;
    int r = CTL_OK;

    if (a->valid_for)
        r = key_duration("--valid-for", a->valid_for, c->valid_for);
    if (r == CTL_OK && a->grace)
        r = key_duration("--grace", a->grace, c->grace);
    if (r != CTL_OK || !a->at)
        return r;
    if (clock_parse_rfc3339(str_of(a->at), &when) < 0 || when == 0)
        return ctl_fail(CTL_USAGE, "key", "--at %s: a time like 2026-11-29T12:00:00Z", a->at);
    (void)snprintf(c->at, sizeof(c->at), "%" PRIu64, when);
    return CTL_OK;
}

static int key_command(const struct key_args *a, struct key_command *c)
{
    char binaries[PATH_MAX], error[256];
    int r = key_command_values(a, c);

    if (r != CTL_OK)
        return r;
    if (launcher_find(binaries, error, sizeof(error)) < 0)
        return ctl_fail(CTL_FAILED, "key", "%s", error);
    (void)snprintf(c->path, sizeof(c->path), "%s/%s", binaries, launcher_name(LAUNCHER_SIGNERD));
    c->argv[c->n++] = c->path;
    key_add(c, "--keys", a->action);
    key_add(c, "--mode", "embedded");
    key_add(c, a->standby ? "--standby" : NULL, NULL);
    key_add(c, "--valid-for", c->valid_for);
    key_add(c, "--grace", c->grace);
    key_add(c, "--at", c->at);
    key_add(c, a->id ? "--id" : NULL, a->id);
    key_add(c, a->reason ? "--reason" : NULL, a->reason);
    key_add(c, a->key ? "--key" : NULL, a->key);
    key_add(c, a->new_key ? "--new-key" : NULL, a->new_key);
    return CTL_OK;
}

/* Keys of a service are its user's: root does not leave files of its own among them. */
static int key_become_owner(int dir)
{
    struct stat st;

    if (fstat(dir, &st) < 0)
        return -errno;
    if (geteuid() != 0 || st.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
        setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
        return -errno;
    return 0;
}

static void key_child(const struct key_command *c, int dir)
{
    char pid[32], count[] = "LISTEN_FDS=1", names[] = "LISTEN_FDNAMES=keys";
    char *env[KEY_ENV_MAX + 1] = {pid, count, names};
    size_t n = launcher_key_env(env, 3, KEY_ENV_MAX);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), high;

    env[n] = NULL;
    (void)snprintf(pid, sizeof(pid), "LISTEN_PID=%d", getpid());
    if (key_become_owner(dir) < 0 || null < 0 || dup2(null, 0) < 0)
        _exit(127);
    high = fcntl(dir, F_DUPFD_CLOEXEC, ACTIVATION_FIRST_FD + 1);
    if (high < 0 || dup2(high, ACTIVATION_FIRST_FD) < 0)
        _exit(127);
    execve(c->path, (char *const *)(void *)c->argv, env);
    _exit(127);
}

static int key_execute(const struct key_command *c, int dir)
{
    int status = 0;
    pid_t pid, got;

    (void)fflush(stdout);
    pid = fork();
    if (pid < 0)
        return ctl_fail(CTL_FAILED, "key", "cannot start a process: %s", strerror(errno));
    if (pid == 0)
        key_child(c, dir);
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
    }
    if (got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return CTL_OK;
    if (got == pid && WIFEXITED(status) && WEXITSTATUS(status) != 127)
        return CTL_FAILED; /* it said why */
    return ctl_fail(CTL_FAILED, "key", "cellos-signerd cannot be executed, or died");
}

/* What is different now. */
static void key_tell(int dir, const struct keyset *before, const struct keyset *after)
{
    for (size_t i = 0; i < after->n; i++) {
        bool known = before && i < before->n;

        if (!known || before->key[i].state != after->key[i].state ||
            before->key[i].k.revoked_s != after->key[i].k.revoked_s)
            key_print(dir, &after->key[i]);
    }
}

static void key_hint(const struct key_args *a, const struct keyset *before)
{
    if (strcmp(a->action, "rotate") == 0)
        (void)fprintf(stderr, "Runs that go on now sign with the old key to their end.\n");
    else if (strcmp(a->action, "revoke") == 0)
        (void)fprintf(stderr, "Verifiers learn of it from the keyset: `cellctl key export`.\n");
    else if (before && a->standby && !a->new_key)
        (void)fprintf(stderr,
                      "Keep a copy of the standby key's file where the active one cannot be lost with it.\n");
}

static int key_change_in(const struct key_args *a, int dir, const char *path)
{
    _cleanup_(buf_done) struct buf old = {.data = NULL}, new = {.data = NULL};
    struct keyset_chain *before = malloc(sizeof(*before)), *after = malloc(sizeof(*after));
    struct key_command c = {.n = 0};
    bool absent = true;
    int r = before && after ? key_command(a, &c) : CTL_FAILED;

    buf_init(&old, KEYSET_FILE_MAX);
    buf_init(&new, KEYSET_FILE_MAX);
    if (r == CTL_OK)
        r = key_read(dir, path, &old, before, &absent);
    if (r == CTL_OK)
        r = key_execute(&c, dir);
    if (r == CTL_OK)
        r = key_read(dir, path, &new, after, /* absent= */ NULL);
    if (r == CTL_OK) {
        key_tell(dir, absent ? NULL : &before->newest, &after->newest);
        key_hint(a, absent ? NULL : &before->newest);
    }
    free(before);
    free(after);
    return r;
}

int key_change(const struct key_args *a)
{
    char path[PATH_MAX];
    int status = CTL_FAILED;
    _cleanup_close_ int dir = key_open_dir(a, true, path, &status);

    return dir < 0 ? status : key_change_in(a, dir, path);
}
