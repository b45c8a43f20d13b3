/* SPDX-License-Identifier: MIT */
#include "supervisor/launch/etc.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/io.h"
#include "supervisor/launch/etc_layer.h"

static const char *const etc_secret_names[] = {
    "shadow*",       "gshadow*", "*shadow-",  ".pwd.lock", "opasswd", /* shadow(5) */
    "ssh_host_*key", /* sshd(8) host keys; the .pub ones may stay */
    "private",       "*.key",    "*-key.pem", "*_key.pem", "privkey*.pem", /* openssl, certbot */
    "*.p12",         "*.pfx",    "*.jks",     "*.keytab",  "id_rsa",       "id_ecdsa", "id_ed25519", "id_dsa",
};

static const char etc_resolv_conf[] = "nameserver 127.0.0.1\noptions attempts:1 edns0\n";

static const char etc_nsswitch_conf[] =
    "passwd: files\ngroup: files\nshadow: files\ngshadow: files\n"
    "hosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"
    "ethers: files\nrpc: files\nnetgroup: files\n";

bool etc_name_is_secret(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(etc_secret_names); i++)
        if (fnmatch(etc_secret_names[i], name, FNM_CASEFOLD) == 0)
            return true;
    return false;
}

bool etc_is_hidden(const char *name, uint32_t mode)
{
    if (etc_name_is_secret(name))
        return true;
    if (S_ISDIR(mode))
        return !(mode &
                 S_IXOTH); /* without S_IROTH names are unknown, but a known one could still be opened */
    return !S_ISREG(mode) || !(mode & S_IROTH);
}

static struct str etc_field(struct str *rest, char sep)
{
    const char *at = rest->len ? memchr(rest->p, sep, rest->len) : NULL;
    struct str field = {rest->p, at ? (size_t)(at - rest->p) : rest->len};
    size_t used = field.len + (at ? 1 : 0);

    *rest = (struct str){rest->p + used, rest->len - used};
    return field;
}

int etc_with_row(struct str text, uint32_t id, const char *row, struct buf *b)
{
    struct str rest = text;
    char want[16];
    bool name_taken = false;

    snprintf(want, sizeof(want), "%u", id);
    while (rest.len > 0) {
        struct str line = etc_field(&rest, '\n');
        struct str name = etc_field(&line, ':');
        etc_field(&line, ':');
        if (str_is(etc_field(&line, ':'), want))
            return 0;
        name_taken = name_taken || str_is(name, USERNS_CELL_NAME);
    }
    buf_put_str(b, text);
    if (text.len > 0 && text.p[text.len - 1] != '\n')
        buf_putc(b, '\n');
    buf_puts(b, USERNS_CELL_NAME);
    if (name_taken)
        buf_printf(b, "-%u", id);
    buf_puts(b, row);
    buf_putc(b, '\n');
    return b->err ? b->err : 1;
}

static int etc_write(int dir, const char *name, struct str text)
{
    _cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

    if (fd < 0)
        return -errno;
    if (fchmod(fd, 0644) < 0) /* whatever the umask is */
        return -errno;
    return io_write_full(fd, text.p, text.len);
}

static int etc_write_row(int etc, int layer, const char *name, uint32_t id, const char *row)
{
    _cleanup_close_ int fd = openat(etc, name, O_RDONLY | O_CLOEXEC);
    _cleanup_(buf_done) struct buf text = {0}, out = {0};
    int r = 0;

    buf_init(&text, ETC_FILE_MAX);
    buf_init(&out, ETC_FILE_MAX + 256);
    if (fd >= 0)
        r = io_read_to_end(fd, &text);
    if (r == 0)
        r = etc_with_row(buf_str(&text), id, row, &out);
    return r <= 0 ? r : etc_write(layer, name, buf_str(&out));
}

int etc_build_layer(int etc, int layer, const struct userns_workload *ids, struct fault *f)
{
    char passwd[64], group[32];
    int r;

    snprintf(passwd, sizeof(passwd), ":x:%u:%u::/tmp:/bin/sh", ids->inner_uid, ids->inner_gid);
    snprintf(group, sizeof(group), ":x:%u:", ids->inner_gid);
    r = etc_write(layer, "resolv.conf", str_of(etc_resolv_conf));
    if (r == 0)
        r = etc_write(layer, "nsswitch.conf", str_of(etc_nsswitch_conf));
    if (r == 0)
        r = etc_write_names(layer, USERNS_CELL_NAME); /* a place for each cell's own, mounted over these */
    if (r == 0)
        r = etc_write_row(etc, layer, "passwd", ids->inner_uid, passwd);
    if (r == 0)
        r = etc_write_row(etc, layer, "group", ids->inner_gid, group);
    if (r < 0)
        return fault_set(f, r, "writing the files of /etc");
    return etc_hide_secrets(etc, layer, f);
}

int etc_write_names(int dir, const char *hostname)
{
    char text[512];
    int r;

    snprintf(text, sizeof(text),
             "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.0.1 %s\n::1 %s\n",
             hostname, hostname);
    r = etc_write(dir, "hosts", str_of(text));
    if (r < 0)
        return r;
    snprintf(text, sizeof(text), "%s\n", hostname);
    return etc_write(dir, "hostname", str_of(text));
}
