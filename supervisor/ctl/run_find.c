/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/run_find.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>

#include "common/base/dir.h"
#include "common/base/uuid.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/logwalk.h"
#include "supervisor/ctl/paths.h"
#include "supervisor/ctl/run_socket.h"

bool run_find_matches(const char *run_id, const char *word)
{
    size_t n = strlen(word), all = strlen(run_id);
    if (strncmp(word, "run-", 4) == 0 && n > 4)
        return run_find_matches(run_id, word + 4);
    return n >= RUN_FIND_SUFFIX && n <= all && strcmp(run_id + all - n, word) == 0;
}

/* ---- running suites ---- */

/* How many directories below run/ the word means; the last one's name is in ret. */
static size_t matches(const char *parent, const char *word, char ret[UUID_TEXT_LEN + 1])
{
    _cleanup_(dir_closep) DIR *d = opendir(parent);
    struct dirent *e;
    size_t n = 0;
    while (d && (e = readdir(d)))
        if (uuid_v7_valid(str_of(e->d_name)) && run_find_matches(e->d_name, word)) {
            (void)snprintf(ret, UUID_TEXT_LEN + 1, "%.*s", UUID_TEXT_LEN, e->d_name);
            n++;
        }
    return n;
}

static int open_dir(const char *parent, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%s", parent, name) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* STATE/run/<id> itself, or STATE/log/<id>. */
static int by_path(const char *verb, const char *word, char run[], size_t cap)
{
    char path[PATH_MAX], parent[PATH_MAX + 16];
    if (!realpath(word, path))
        return -ctl_fail(CTL_FAILED, verb, "cannot open %s: %s", word, strerrordesc_np(errno));
    char *id = strrchr(path, '/') + 1;
    if (!uuid_v7_valid(str_of(id)))
        return -ctl_fail(CTL_FAILED, verb, "%s is no directory of a run", word);
    (void)snprintf(run, cap, "%s", id);
    id[-1] = '\0';
    (void)snprintf(parent, sizeof(parent), "%s/" RUN_SOCKET_DIR, dirname(path));
    int fd = open_dir(parent, run);
    return fd < 0 ? -ctl_fail(CTL_FAILED, verb, "the run %s has ended: its policy cannot be changed any more",
                              run)
                  : fd;
}

static int not_running(const char *verb, const char *word)
{
    char log[PATH_MAX], state[PATH_MAX];
    _cleanup_(logdir_list_done) struct logdir_list logs = {.n = 0};
    if (paths_state(state) == 0 && snprintf(log, sizeof(log), "%s/log", state) < (int)sizeof(log) &&
        access(log, F_OK) == 0 && logdir_find(verb, log, &logs) == CTL_OK)
        for (size_t i = 0; i < logs.n; i++)
            if (run_find_matches(strrchr(logs.path[i], '/') + 1, word))
                return -ctl_fail(CTL_FAILED, verb,
                                 "the run %s has ended: its policy cannot be changed any more",
                                 strrchr(logs.path[i], '/') + 1);
    return -ctl_fail(CTL_FAILED, verb, "no run of this user is called %s: give its run id, or the end of it",
                     word);
}

int run_find_live(const char *verb, const char *word, char ret_run[], size_t cap)
{
    char state[PATH_MAX], parent[PATH_MAX + 16], run[UUID_TEXT_LEN + 1];
    if (strchr(word, '/'))
        return by_path(verb, word, ret_run, cap);
    int r = paths_state(state);
    if (r < 0)
        return -ctl_fail(CTL_FAILED, verb, "no state directory is known (%s): name a path",
                         strerrordesc_np(-r));
    (void)snprintf(parent, sizeof(parent), "%s/" RUN_SOCKET_DIR, state);
    size_t n = matches(parent, word, run);
    if (n > 1)
        return -ctl_fail(CTL_FAILED, verb, "%zu runs end in %s: give more of the run id", n, word);
    if (n == 0)
        return not_running(verb, word);
    (void)snprintf(ret_run, cap, "%s", run);
    int fd = open_dir(parent, run);
    return fd < 0 ? not_running(verb, run) : fd;
}

/* ---- logs ---- */

struct wanted {
    const char *cell;
    bool found;
};

static int is_cell(void *self, const struct envelope *e)
{
    struct wanted *w = self;
    const size_t urn = sizeof(ENVELOPE_SUBJECT) - 1;
    w->found =
        e->subject.len > urn && str_is((struct str){e->subject.p + urn, e->subject.len - urn}, w->cell);
    return w->found ? LOGWALK_STOP : LOGWALK_ON;
}

static int pick(const char *verb, const char *word, const struct logdir_list *logs, char ret[PATH_MAX])
{
    const char *found = NULL;
    size_t n = 0;
    for (size_t i = 0; i < logs->n; i++)
        if (run_find_matches(strrchr(logs->path[i], '/') + 1, word)) {
            found = logs->path[i];
            n++;
        }
    for (size_t i = logs->n; n == 0 && i-- > 0;) {
        struct wanted w = {word, false};
        if (logwalk(NULL, logs->path[i], is_cell, &w) == CTL_OK && w.found) {
            found = logs->path[i];
            n = 1;
        }
    }
    if (n != 1)
        return ctl_fail(CTL_FAILED, verb,
                        n ? "more than one run ends in %s: give more of the run id"
                          : "no run or cell %s in these logs",
                        word);
    (void)snprintf(ret, PATH_MAX, "%s", found);
    return CTL_OK;
}

int run_find_log(const char *verb, const char *word, char ret[PATH_MAX])
{
    _cleanup_(logdir_list_done) struct logdir_list logs = {.n = 0};
    bool path = word && (strchr(word, '/') || strcmp(word, ".") == 0);
    int r = logdir_find(verb, path ? word : NULL, &logs);
    if (r != CTL_OK)
        return r;
    if (word && !path)
        return pick(verb, word, &logs, ret);
    (void)snprintf(ret, PATH_MAX, "%s", logs.path[logs.n - 1]);
    return CTL_OK;
}
