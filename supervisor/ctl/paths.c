/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/paths.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int join(char dst[PATH_MAX], const char *a, const char *b)
{
    int n = snprintf(dst, PATH_MAX, "%s/%s", a, b);
    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int paths_state(char dst[PATH_MAX])
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && state[0])
        return state[0] == '/' ? join(dst, state, "cellos") : -EINVAL;
    if (!home || !home[0]) {
        const struct passwd *pw = getpwuid(getuid());
        home = pw ? pw->pw_dir : NULL;
    }
    if (!home || !home[0])
        return -ENOENT;
    return home[0] == '/' ? join(dst, home, ".local/state/cellos") : -EINVAL;
}

int paths_make(const char *base, const char *name, char dst[PATH_MAX])
{
    char path[PATH_MAX];
    int r = join(path, base, name);
    if (r < 0)
        return r;
    for (char *slash = path + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return -errno;
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    memcpy(dst, path, strlen(path) + 1);
    return 0;
}
