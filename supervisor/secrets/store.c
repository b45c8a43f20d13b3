/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

#include "supervisor/secrets/names.h"
#include "supervisor/secrets/store.h"

#define KEY_MAX LIMIT_SECRET_NAME
#define SCRATCH_LEN                                                                                          \
    (LIMIT_SECRET_VALUE + 2u) /* a newline that is stripped, and one byte that shows "too long" */

struct entry {
    char key[KEY_MAX + 1]; /* "NPM_TOKEN" */
    bool from_file;
    int fd;        /* from_file: -EBADF when err is set */
    int err;       /* from_file: why there is no fd */
    uint8_t *data; /* env: sodium_malloc memory; NULL when the value is empty or too long */
    size_t len;
};

struct secrets {
    struct entry entries[SECRETS_STORE_MAX];
    size_t n;
    uint8_t *scratch; /* sodium_malloc, SCRATCH_LEN */
};

static int open_file(const char *path)
{
    struct stat st;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EBADFD;
    return TAKE_FD(fd);
}

static int take_value(struct entry *e, const char *value)
{
    e->len = strlen(value);
    if (e->len == 0 || e->len > LIMIT_SECRET_VALUE)
        return 0;
    e->data = sodium_malloc(e->len);
    if (!e->data)
        return -ENOMEM;
    memcpy(e->data, value, e->len);
    return 0;
}

/* var is "CELLOS_SECRET_...=value". A name that no spec can ask for (too long a key) is taken away all the
 * same. */
static int take(struct secrets *s, const char *var)
{
    const char *eq = strchr(var, '=');
    bool file = strncmp(var, SECRET_FILE_PREFIX, strlen(SECRET_FILE_PREFIX)) == 0;
    const char *key = var + strlen(file ? SECRET_FILE_PREFIX : SECRET_ENV_PREFIX);
    size_t n = (size_t)(eq - key);
    if (eq <= key || n > KEY_MAX)
        return 0;
    if (s->n == SECRETS_STORE_MAX)
        return -ENOBUFS;
    struct entry *e = &s->entries[s->n++];
    *e = (struct entry){.from_file = file, .fd = -EBADF};
    memcpy(e->key, key, n);
    if (!file)
        return take_value(e, eq + 1);
    int r = secrets_fds(s, NULL, 0) < SECRETS_FILES_MAX ? open_file(eq + 1) : -EMFILE;
    if (r < 0)
        e->err = r;
    else
        e->fd = r;
    return 0;
}

/* Removes the entry from env and overwrites its bytes: the kernel shows them in /proc/PID/environ. */
static void erase(char **env, size_t i)
{
    sodium_memzero(env[i], strlen(env[i]));
    for (; env[i]; i++)
        env[i] = env[i + 1];
}

static int store_new(struct secrets **ret)
{
    struct secrets *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->scratch = sodium_malloc(SCRATCH_LEN);
    if (!s->scratch) {
        free(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

int secrets_load(char **env, struct secrets **ret)
{
    if (sodium_init() < 0)
        return -EIO;
    _cleanup_(secrets_freep) struct secrets *s = NULL;
    int first = store_new(&s);
    if (first < 0)
        return first;
    for (size_t i = 0; env && env[i];) {
        if (strncmp(env[i], SECRET_ENV_PREFIX, strlen(SECRET_ENV_PREFIX)) != 0 || !strchr(env[i], '=')) {
            i++;
            continue;
        }
        int r = take(s, env[i]);
        if (r < 0 && first == 0)
            first = r;
        erase(env, i);
    }
    if (first < 0)
        return first; // NOLINT(clang-analyzer-unix.Malloc): clang 14 does not know the cleanup attribute
    *ret = TAKE_PTR(s);
    return 0;
}

static const struct entry *find(const struct secrets *s, const char *key, bool from_file)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->entries[i].from_file == from_file && strcmp(s->entries[i].key, key) == 0)
            return &s->entries[i];
    return NULL;
}

/* Reads into the scratch memory. The length, or a negative errno. */
static ssize_t read_file(struct secrets *s, int fd)
{
    size_t n = 0;
    while (n < SCRATCH_LEN) {
        ssize_t r = pread(fd, s->scratch + n, SCRATCH_LEN - n, (off_t)n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    if (n > 0 && s->scratch[n - 1] == '\n')
        n--;
    return (ssize_t)n;
}

static enum secrets_outcome unusable(char text[SECRETS_TEXT_MAX], const char *variable, const char *why)
{
    (void)snprintf(text, SECRETS_TEXT_MAX, "%s %s", variable, why);
    return SECRETS_UNUSABLE;
}

static enum secrets_outcome check(struct str value, const char *variable, struct str *ret,
                                  char text[SECRETS_TEXT_MAX])
{
    if (value.len > LIMIT_SECRET_VALUE)
        return unusable(text, variable, "is too long: a secret has at most 32768 bytes");
    if (!value.p || value.len == 0)
        return unusable(text, variable, "is empty: give it a value");
    if (memchr(value.p, 0, value.len))
        return unusable(text, variable, "contains NUL, which no environment variable can hold");
    *ret = value;
    return SECRETS_OK;
}
_Static_assert(LIMIT_SECRET_VALUE == 32768, "the sentence above names it");

static enum secrets_outcome resolve_file(struct secrets *s, const struct entry *e, const char *variable,
                                         struct str *ret, char text[SECRETS_TEXT_MAX])
{
    char why[160];
    ssize_t n = e->err ? e->err : read_file(s, e->fd);
    if (n == -EBADFD)
        return unusable(text, variable, "must name a regular file");
    if (n == -ELOOP)
        return unusable(text, variable, "must name the file itself, not a symbolic link");
    if (n < 0) {
        (void)snprintf(why, sizeof(why), "names a file that cannot be read: %s", strerrordesc_np((int)-n));
        return unusable(text, variable, why);
    }
    return check((struct str){(const char *)s->scratch, (size_t)n}, variable, ret, text);
}

enum secrets_outcome secrets_resolve(struct secrets *s, struct str name, struct str *ret,
                                     char text[SECRETS_TEXT_MAX])
{
    char key[SECRET_VARIABLE_MAX], env_name[SECRET_VARIABLE_MAX], file_name[SECRET_VARIABLE_MAX];
    (void)secret_broker_variable("", name, key);
    (void)secret_broker_variable(SECRET_ENV_PREFIX, name, env_name);
    (void)secret_broker_variable(SECRET_FILE_PREFIX, name, file_name);
    secrets_forget(s);
    const struct entry *env = find(s, key, false), *file = find(s, key, true);
    if (env && file) {
        (void)snprintf(text, SECRETS_TEXT_MAX, "%s and %s are both set: set only one", env_name, file_name);
        return SECRETS_UNUSABLE;
    }
    if (file)
        return resolve_file(s, file, file_name, ret, text);
    if (env)
        return check((struct str){(const char *)env->data, env->len}, env_name, ret, text);
    (void)snprintf(text, SECRETS_TEXT_MAX,
                   "secret \"%.*s\" is not available: set %s, or %s to the path of a file", (int)name.len,
                   name.p, env_name, file_name);
    return SECRETS_MISSING;
}

void secrets_forget(struct secrets *s)
{
    if (s && s->scratch)
        sodium_memzero(s->scratch, SCRATCH_LEN);
}

size_t secrets_fds(const struct secrets *s, int *dst, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->entries[i].fd >= 0) {
            if (n < cap)
                dst[n] = s->entries[i].fd;
            n++;
        }
    return n;
}

struct secrets *secrets_free(struct secrets *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->n; i++) {
        sodium_free(s->entries[i].data);
        if (s->entries[i].fd >= 0)
            close(s->entries[i].fd);
    }
    sodium_free(s->scratch);
    free(s);
    return NULL;
}

void secrets_freep(struct secrets **s)
{
    *s = secrets_free(*s);
}
