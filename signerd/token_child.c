/* SPDX-License-Identifier: MIT */
/* The process with the foreign module. It holds no secret but the PIN, for a moment; no log and no socket but
 * the one to its parent. PKCS#11 2.40 and, for Ed25519, 3.0 (CKM_EDDSA). */
#include "signerd/token_child.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sodium.h>
#include <sys/socket.h>

#include <p11-kit/pkcs11.h>

#include "common/base/log.h"
#include "common/priv/drop.h"
#include "common/priv/landlock.h"
#include "common/priv/seccomp.h"
#include "signerd/token.h"

#define TOKEN_SLOTS_MAX 256
#define TOKEN_PIN_MAX   256

#define TOKEN_DIR_ACCESS                                                                                     \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |            \
     LANDLOCK_ACCESS_FS_TRUNCATE)

static const struct role_syscall token_syscalls[] = {
    SECCOMP_ROW(openat, "the token's files (Landlock: below x-token-dir only)"),
    SECCOMP_ROW(getdents64, "a software token looks for its objects"),
    SECCOMP_ROW1(fcntl, "SoftHSM locks a file while it reads it", SECCOMP_IS(1, F_SETLKW)),
    SECCOMP_ROW1(fcntl, "the same", SECCOMP_IS(1, F_SETLK)),
    SECCOMP_ROW(statx, "a software token looks whether its files changed"),
#ifdef __NR_stat
    SECCOMP_ROW(stat, "the same of older libraries"),
    SECCOMP_ROW(access, "the same"),
    SECCOMP_ROW(open, "the same"),
#endif
};

const struct role token_role = {
    .name = "token",
    .syscalls = token_syscalls,
    .nsyscalls = ARRAY_LEN(token_syscalls),
    .may_fork = false,
};

struct token_session {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    uint8_t public[ED25519_PUBLIC_LEN];
};

static int token_failed(const char *what, CK_RV rv)
{
    log_error("the token: %s: CKR 0x%lx", what, rv);
    return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED || rv == CKR_PIN_LEN_RANGE ? -EPERM : -EIO;
}

static int token_load(const struct token_uri *uri, CK_FUNCTION_LIST **ret)
{
    void *module = dlopen(uri->module, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get;
    CK_RV rv;

    if (!module)
        return log_errno(-ENOEXEC, "%s cannot be loaded: %s", uri->module, dlerror());
    *(void **)(&get) = dlsym(module, "C_GetFunctionList");
    if (!get)
        return log_errno(-ENOEXEC, "%s is no PKCS#11 module", uri->module);
    rv = get(ret);
    if (rv != CKR_OK || !*ret)
        return token_failed("C_GetFunctionList", rv);
    rv = (*ret)->C_Initialize(NULL);
    return rv == CKR_OK ? 0 : token_failed("C_Initialize", rv);
}

/* PKCS#11 texts are padded with blanks. */
static bool token_text_is(const unsigned char *text, size_t n, const char *want)
{
    size_t len = strlen(want);

    if (len > n || memcmp(text, want, len) != 0)
        return false;
    for (size_t i = len; i < n; i++)
        if (text[i] != ' ')
            return false;
    return true;
}

static bool token_is(CK_FUNCTION_LIST *f, CK_SLOT_ID slot, const struct token_uri *uri)
{
    CK_TOKEN_INFO info;

    return f->C_GetTokenInfo(slot, &info) == CKR_OK &&
           (!uri->token[0] || token_text_is(info.label, sizeof(info.label), uri->token)) &&
           (!uri->serial[0] || token_text_is(info.serialNumber, sizeof(info.serialNumber), uri->serial));
}

/* Exactly one slot may hold such a token. */
static int token_find_slot(CK_FUNCTION_LIST *f, const struct token_uri *uri, CK_SLOT_ID *ret)
{
    CK_SLOT_ID slot[TOKEN_SLOTS_MAX];
    CK_ULONG n = TOKEN_SLOTS_MAX;
    unsigned found = 0;
    CK_RV rv = f->C_GetSlotList(CK_TRUE, slot, &n);

    if (rv != CKR_OK)
        return token_failed("C_GetSlotList", rv);
    for (CK_ULONG i = 0; i < n; i++)
        if (token_is(f, slot[i], uri)) {
            *ret = slot[i];
            found++;
        }
    if (found == 1)
        return 0;
    log_error(found ? "several tokens are called that: name one by its serial" : "there is no such token");
    return found ? -EINVAL : -ENOKEY;
}

/* The PIN is the file's first line; it exists in this process only, in locked memory, until the login. */
static int token_login(struct token_session *s, int pin_file)
{
    _cleanup_sodium_ unsigned char *pin = sodium_malloc(TOKEN_PIN_MAX);
    ssize_t n = pin ? read(pin_file, pin, TOKEN_PIN_MAX) : -1;
    const unsigned char *lf;
    CK_RV rv;

    close(pin_file);
    if (n < 0)
        return pin ? -errno : -ENOMEM;
    lf = n ? memchr(pin, '\n', (size_t)n) : NULL;
    if (lf)
        n = lf - pin;
    rv = s->f->C_Login(s->session, CKU_USER, pin, (CK_ULONG)n);
    return rv == CKR_OK ? 0 : token_failed("C_Login", rv);
}

/* The one object of this class with the URI's label and id. 0, -ENOKEY, -errno. */
static int token_find(struct token_session *s, const struct token_uri *uri, CK_OBJECT_CLASS class,
                      CK_OBJECT_HANDLE *ret)
{
    CK_KEY_TYPE type = CKK_EC_EDWARDS;
    CK_ATTRIBUTE want[4] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)}};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG n = 0, nwant = 2;
    CK_RV rv;

    if (uri->object[0])
        want[nwant++] = (CK_ATTRIBUTE){CKA_LABEL, (void *)uri->object, strlen(uri->object)};
    if (uri->id_len)
        want[nwant++] = (CK_ATTRIBUTE){CKA_ID, (void *)uri->id, uri->id_len};
    rv = s->f->C_FindObjectsInit(s->session, want, nwant);
    if (rv == CKR_OK)
        rv = s->f->C_FindObjects(s->session, found, 2, &n);
    (void)s->f->C_FindObjectsFinal(s->session);
    if (rv != CKR_OK)
        return token_failed("C_FindObjects", rv);
    if (n != 1) {
        log_error("the token has %s Ed25519 %s key of that name", n ? "more than one" : "no",
                  class == CKO_PRIVATE_KEY ? "private" : "public");
        return -ENOKEY;
    }
    *ret = found[0];
    return 0;
}

/* CKA_EC_POINT: 32 bytes, by PKCS#11 3.0 in an OCTET STRING, by some modules without it. */
static int token_public(struct token_session *s, const struct token_uri *uri)
{
    static const uint8_t octets[2] = {0x04, ED25519_PUBLIC_LEN};
    uint8_t point[2 + ED25519_PUBLIC_LEN];
    CK_ATTRIBUTE a = {CKA_EC_POINT, point, sizeof(point)};
    CK_OBJECT_HANDLE key;
    int r = token_find(s, uri, CKO_PUBLIC_KEY, &key);
    CK_RV rv;

    if (r < 0)
        return r;
    rv = s->f->C_GetAttributeValue(s->session, key, &a, 1);
    if (rv != CKR_OK)
        return token_failed("CKA_EC_POINT", rv);
    if (a.ulValueLen == sizeof(point) && memcmp(point, octets, sizeof(octets)) == 0)
        memcpy(s->public, point + sizeof(octets), ED25519_PUBLIC_LEN);
    else if (a.ulValueLen == ED25519_PUBLIC_LEN)
        memcpy(s->public, point, ED25519_PUBLIC_LEN);
    else
        return log_errno(-EBADMSG, "the token's public key is not one of Ed25519");
    return 0;
}

static int token_sign_one(struct token_session *s, const uint8_t *msg, size_t n, uint8_t *ret_sig)
{
    CK_MECHANISM pure = {CKM_EDDSA, NULL, 0}; /* no parameter: Ed25519 as in RFC 8032, no context */
    CK_ULONG len = ED25519_SIG_LEN;
    CK_RV rv = s->f->C_SignInit(s->session, &pure, s->key);

    if (rv == CKR_OK)
        rv = s->f->C_Sign(s->session, (CK_BYTE_PTR)msg, n, ret_sig, &len);
    if (rv != CKR_OK)
        return token_failed("C_Sign", rv);
    return len == ED25519_SIG_LEN ? 0 : -EBADMSG;
}

static int token_prepare(const struct token_uri *uri, int pin, struct token_session *s)
{
    CK_SLOT_ID slot;
    CK_RV rv;
    int r = token_load(uri, &s->f);

    if (r < 0 || !s->f)
        return r < 0 ? r : -ENOEXEC;
    r = token_find_slot(s->f, uri, &slot);
    if (r < 0)
        return r;
    rv = s->f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &s->session);
    if (rv != CKR_OK)
        return token_failed("C_OpenSession", rv);
    r = token_login(s, pin);
    if (r == 0)
        r = token_find(s, uri, CKO_PRIVATE_KEY, &s->key);
    if (r == 0)
        r = token_public(s, uri);
    return r;
}

static int token_confine(const struct token_uri *uri)
{
    _cleanup_close_ int dir = -EBADF;
    struct drop_report report;
    struct role_path path;
    int r;

    if (uri->token_dir[0]) {
        dir = open(uri->token_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            return log_errno(-errno, "the token's directory %s", uri->token_dir);
    }
    path = (struct role_path){dir, TOKEN_DIR_ACCESS};
    r = seccomp_check(&token_role, /* ret_bad= */ NULL);
    if (r == 0)
        r = drop_privileges(&token_role, ROLE_EMBEDDED, &report);
    if (r == 0)
        r = landlock_confine(&path, uri->token_dir[0] ? 1 : 0, 0);
    if (r >= 0)
        r = seccomp_confine(&token_role);
    return r < 0 ? log_errno(r, "cannot confine the process of the token") : 0;
}

void token_child(const struct token_uri *uri, int fd, int pin)
{
    static uint8_t msg[TOKEN_MESSAGE_MAX];
    struct token_session s = {.f = NULL};
    struct token_reply reply = {.error = token_prepare(uri, pin, &s)};
    uint8_t probe[ED25519_SIG_LEN];

    /* Signed once before the process is confined: whatever the module still loads for it is there then. */
    if (reply.error == 0)
        reply.error = token_sign_one(&s, msg, 1, probe);
    if (reply.error == 0)
        reply.error = token_confine(uri);
    memcpy(reply.bytes, s.public, ED25519_PUBLIC_LEN);
    while (send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) == (ssize_t)sizeof(reply) && reply.error == 0) {
        ssize_t n = recv(fd, msg, sizeof(msg), 0);

        if (n <= 0)
            break;
        reply.error = token_sign_one(&s, msg, (size_t)n, reply.bytes);
    }
    _exit(reply.error == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}
