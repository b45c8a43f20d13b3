/* SPDX-License-Identifier: MIT */
/* Where keys are: in the directory, in a credential, in a token. */
#include <fcntl.h>
#include <sys/stat.h>

#include "common/base/log.h"
#include "signerd/key_dir_internal.h"
#include "signerd/token_uri.h"

static int key_dir_read_seed(const struct key_dir *d, const char *name, struct key_store **ret)
{
    _cleanup_close_ int fd = key_dir_open_file(d, name, O_RDONLY);
    int r = fd < 0 ? fd : key_store_read(fd, ret);

    if (r == -EPERM)
        return log_errno(r, "keys/%s must be a file of this user with mode 0600", name);
    return r < 0 && r != -ENOENT ? log_errno(r, "cannot read keys/%s", name) : r;
}

static int key_dir_read_uri(const struct key_dir *d, const char *name, struct key_store **ret)
{
    _cleanup_close_ int fd = key_dir_open_file(d, name, O_RDONLY);
    char uri[TOKEN_URI_MAX + 2] = "";
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return log_errno(-EPERM, "keys/%s must be a file of this user with mode 0600", name);
    n = read(fd, uri, sizeof(uri) - 1);
    if (n < 1 || uri[n - 1] != '\n' || memchr(uri, '\0', (size_t)n))
        return log_errno(-EBADMSG, "keys/%s does not hold one pkcs11: URI", name);
    uri[n - 1] = '\0';
    return key_store_token(uri, ret);
}

/* The wording of a credential's absence is the caller's: it may be looked for only in case it is there. */
static int key_dir_credential(const char *name, struct key_store **ret)
{
    int r = key_store_credential(name, ret);

    if (r == -EPERM)
        return log_errno(r, "the credential %s may be read by others", name);
    return r < 0 && r != -ENOENT ? log_errno(r, "cannot read the credential %s", name) : r;
}

int key_dir_active(struct key_dir *d, const char *source, struct key_store **ret)
{
    static const char credential[] = "credential:";
    int r;

    if (source && strncmp(source, credential, sizeof(credential) - 1) == 0) {
        const char *name = source + sizeof(credential) - 1;

        if (!*name || strchr(name, '/') || name[0] == '.')
            return log_errno(-EINVAL, "a credential's name is that of a file in $CREDENTIALS_DIRECTORY");
        r = key_dir_credential(name, ret);
        return r == -ENOENT ? log_errno(-ENOKEY, "there is no credential %s (LoadCredentialEncrypted=)", name)
                            : r;
    }
    if (source && token_uri_is(str_of(source)))
        return key_store_token(source, ret);
    if (source)
        return log_errno(-EINVAL, "a key is pkcs11:... or credential:NAME, not %s", source);
    r = key_dir_credential(KEY_STORE_CREDENTIAL, ret);
    if (r == -ENOENT)
        r = key_dir_read_uri(d, KEYS_URI_FILE, ret);
    return r == -ENOENT ? key_dir_read_seed(d, KEYS_FILE, ret) : r;
}

int key_dir_standby(struct key_dir *d, const struct keyset_key *k, struct key_store **ret)
{
    char key[KEY_DIR_NAME], uri[KEY_DIR_NAME];
    int r;

    key_dir_name(k->k.keyid, ".key", key);
    key_dir_name(k->k.keyid, ".uri", uri);
    r = key_dir_read_seed(d, key, ret);
    return r == -ENOENT ? key_dir_read_uri(d, uri, ret) : r;
}
