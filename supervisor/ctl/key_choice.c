/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/key_choice.h"

#include <fcntl.h>

#include "common/base/io.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"

static struct str key_strip(struct str s)
{
    while (s.len > 0 && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
        s.len--;
    return s;
}

/* The key itself or the first line of the file with that name. */
static int key_given(const char *verb, const char *key, struct vkey *ret)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    _cleanup_close_ int fd = -EBADF;
    int r;

    buf_init(&text, LOG_FILE_MAX);
    if (vkey_parse(str_of(key), ret) == 0)
        return CTL_OK;
    fd = open(key, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    r = fd < 0 ? -errno : io_read_to_end(fd, &text);
    if (r < 0)
        return ctl_fail(CTL_USAGE, verb, "--key %s is neither a vkey nor a file that can be read: %s", key,
                        strerror(-r));
    if (vkey_parse(key_strip(buf_str(&text)), ret) < 0)
        return ctl_fail(CTL_USAGE, verb, "%s does not hold a vkey (name+id+base64)", key);
    return CTL_OK;
}

static int key_read_keyset(const char *verb, const char *path, struct buf *b)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_read_to_end(fd, b);

    if (r == 0 && b->len == 0)
        return ctl_fail(CTL_FAILED, verb, "the keyset %s is empty", path);
    return r < 0 ? ctl_fail(CTL_FAILED, verb, "cannot read the keyset %s: %s", path, strerror(-r)) : CTL_OK;
}

int key_choice_find(const char *verb, const char *key, const char *keyset, struct key_choice *ret)
{
    struct key_choice c = {.from = KEY_GIVEN};
    int r = CTL_OK;

    if (digest_init() < 0 || ed25519_init() < 0)
        return ctl_fail(CTL_FAILED, verb, "SHA-256 or Ed25519 is not available");
    if (key && keyset)
        return ctl_fail(CTL_USAGE, verb, "--key or --keyset, not both");
    buf_init(&c.keyset, KEYSET_FILE_MAX);
    if (keyset)
        r = key_read_keyset(verb, keyset, &c.keyset);
    else if (key)
        r = key_given(verb, key, &c.key);
    else if (logdir_state_keyset(&c.keyset) == 0 && c.keyset.len > 0)
        c.from = KEY_STATE;
    else
        c.from = logdir_state_key(&c.key) == 0 ? KEY_STATE : KEY_SELF;
    if (r == CTL_OK)
        *ret = c;
    else
        buf_done(&c.keyset);
    return r;
}

void key_choice_done(struct key_choice *c)
{
    buf_done(&c->keyset);
}

struct trust_root key_choice_root(const struct key_choice *c)
{
    struct trust_root root = {.ring = NULL};

    if (c->keyset.len > 0)
        root.keyset = buf_str(&c->keyset);
    else if (c->from != KEY_SELF)
        root.key = &c->key;
    return root;
}

const char *key_choice_text(enum key_from from)
{
    switch (from) {
    case KEY_GIVEN:
        return " (given)";
    case KEY_STATE:
        return " (of this user's state)";
    default:
        return " (self-declared key)";
    }
}
