/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/jetstream.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/base/io.h"
#include "supervisor/ctl/backoff.h"

static int wake_fd = -EBADF; /* outlives every connection: libnats calls back also while one is closed */

const char **jetstream_flag(struct jetstream_options *o, const char *flag)
{
    if (strcmp(flag, "--creds") == 0)
        return &o->creds;
    if (strcmp(flag, "--user-file") == 0)
        return &o->user_file;
    if (strcmp(flag, "--ca-file") == 0)
        return &o->ca;
    if (strcmp(flag, "--cert-file") == 0)
        return &o->cert;
    return strcmp(flag, "--key-file") == 0 ? &o->key : NULL;
}

/* The servers of a list, as natsOptions_SetServers() wants them. */
struct url_list {
    char text[JETSTREAM_URLS_MAX * (JETSTREAM_URL_MAX + 1)];
    const char *url[JETSTREAM_URLS_MAX];
    int n;
};

static bool url_ok(const char *url)
{
    const size_t scheme = sizeof("nats://") - 1;

    if (strncmp(url, "tls://", scheme - 1) != 0 && strncmp(url, "nats://", scheme) != 0)
        return false;
    url = strstr(url, "://") + 3;
    if (!*url || strchr(url, '/'))
        return false;
    for (; *url; url++)
        if ((unsigned char)*url <= ' ' || (unsigned char)*url >= 0x7f || *url == '@')
            return false;
    return true;
}

/* False when the list is not one; l then names the bad URL, if one is bad, in url[n]. */
static bool url_list_read(const char *urls, struct url_list *l)
{
    char *at = l->text, *next;

    l->n = 0;
    l->url[0] = "";
    if (!urls || strlen(urls) >= sizeof(l->text))
        return false;
    memcpy(l->text, urls, strlen(urls) + 1);
    for (; at; at = next) {
        if (l->n == JETSTREAM_URLS_MAX)
            return false;
        next = strchr(at, ',');
        if (next)
            *next++ = '\0';
        l->url[l->n] = at;
        if (strlen(at) > JETSTREAM_URL_MAX || !url_ok(at))
            return false;
        l->n++;
    }
    return true;
}

int jetstream_check(const struct jetstream_options *o, char why[static JETSTREAM_WHY_MAX])
{
    struct url_list l;
    const char *secret = o->urls ? strchr(o->urls, '@') : NULL;

    if (secret)
        (void)snprintf(why, JETSTREAM_WHY_MAX,
                       "a URL with a user or password in it would be seen by everybody on this machine: "
                       "use --user-file or --creds");
    else if (!o->urls || !url_list_read(o->urls, &l))
        (void)snprintf(why, JETSTREAM_WHY_MAX,
                       "\"%.200s\" is no NATS server: " JETSTREAM_SCHEME_HELP ", at most %d with commas",
                       o->urls ? o->urls : "", JETSTREAM_URLS_MAX);
    else if (o->creds && o->user_file)
        (void)snprintf(why, JETSTREAM_WHY_MAX, "--creds and --user-file exclude each other");
    else if (!o->cert != !o->key)
        (void)snprintf(why, JETSTREAM_WHY_MAX, "--cert-file and --key-file go together");
    else
        return 0;
    return -EINVAL;
}

int jetstream_wake_fd(void)
{
    if (wake_fd < 0)
        wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake_fd < 0 ? -errno : wake_fd;
}

static void on_change(natsConnection *nc, void *closure)
{
    const uint64_t one = 1;

    (void)nc;
    (void)closure;
    if (write(wake_fd, &one, sizeof(one)) < 0) /* full: it is readable already */
        return;
}

/* A broken consumer or a slow one; without a handler libnats prints to stderr. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus s, void *closure)
{
    (void)sub;
    (void)s;
    on_change(nc, closure);
}

static int64_t on_delay(natsConnection *nc, int attempts, void *closure)
{
    (void)nc;
    (void)closure;
    return (int64_t)backoff_ms(attempts > 0 ? (unsigned)attempts - 1 : 0);
}

/* user:password, one line. */
static int user_file_read(const char *path, struct buf *b, const char **ret_password)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_read_to_end(fd, b);
    char *colon;

    if (r < 0)
        return r;
    while (b->len > 0 && (b->data[b->len - 1] == '\n' || b->data[b->len - 1] == '\r'))
        b->len--;
    if (!buf_cstr(b) || memchr(b->data, '\n', b->len) || memchr(b->data, '\0', b->len))
        return -EBADMSG;
    colon = strchr((char *)b->data, ':');
    if (!colon || colon == (char *)b->data)
        return -EBADMSG;
    *colon = '\0';
    *ret_password = colon + 1;
    return 0;
}

/* Why a file does not do, in words. */
static int file_error(const char *path, int error, char why[static JETSTREAM_WHY_MAX])
{
    (void)snprintf(why, JETSTREAM_WHY_MAX, "cannot use %.300s: %s", path,
                   error == -EBADMSG ? "it does not hold one line user:password" : strerror(-error));
    return -EINVAL;
}

static int set_login(const struct jetstream_options *o, natsOptions *n, char why[static JETSTREAM_WHY_MAX])
{
    uint8_t room[JETSTREAM_USER_FILE_MAX]; /* never freed memory: the password is wiped below */
    struct buf b = {.data = room, .cap = sizeof(room), .max = sizeof(room) - 1};
    const char *password = NULL;
    natsStatus s = NATS_OK;

    if (o->creds) {
        if (access(o->creds, R_OK) < 0)
            return file_error(o->creds, -errno, why);
        s = natsOptions_SetUserCredentialsFromFiles(n, o->creds, NULL);
    } else if (o->user_file) {
        int r = user_file_read(o->user_file, &b, &password);

        if (r == 0)
            s = natsOptions_SetUserInfo(n, (const char *)room, password);
        sodium_memzero(room, sizeof(room));
        if (r < 0)
            return file_error(o->user_file, r, why);
    }
    if (s == NATS_OK)
        return 0;
    (void)jetstream_error(s, 0, "reading the credentials", why);
    return -EINVAL;
}

static int set_tls(const struct jetstream_options *o, natsOptions *n, char why[static JETSTREAM_WHY_MAX])
{
    const char *file = NULL;
    natsStatus s = NATS_OK;

    if (o->ca) {
        file = o->ca;
        s = natsOptions_LoadCATrustedCertificates(n, o->ca);
    }
    if (s == NATS_OK && o->cert) {
        file = o->cert;
        s = natsOptions_LoadCertificatesChain(n, o->cert, o->key);
    }
    /* libnats takes tls:// for a wish: a server without TLS would be talked to in clear. A CA or a
     * certificate means TLS as well. */
    if (s == NATS_OK && (file || strstr(o->urls, "tls://")))
        s = natsOptions_SetSecure(n, true);
    if (s == NATS_OK)
        return 0;
    if (file && access(file, R_OK) < 0)
        return file_error(file, -errno, why);
    (void)snprintf(why, JETSTREAM_WHY_MAX, "cannot use %.300s: no PEM certificate or key that fits",
                   file ? file : "TLS");
    return -EINVAL;
}

static natsStatus set_rules(const struct jetstream_options *o, natsOptions *n)
{
    struct url_list l;
    natsStatus s = NATS_ERR;

    if (url_list_read(o->urls, &l))
        s = natsOptions_SetServers(n, l.url, l.n);
    if (s == NATS_OK)
        s = natsOptions_SetName(n, o->name ? o->name : "cellctl");
    if (s == NATS_OK)
        s = natsOptions_SetNoRandomize(n, true);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(n, JETSTREAM_CONNECT_MS);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(n, JETSTREAM_PING_MS);
    if (s == NATS_OK)
        s = natsOptions_SetMaxPingsOut(n, 2);
    if (s == NATS_OK)
        s = natsOptions_SetWriteDeadline(n, JETSTREAM_WRITE_MS);
    if (s == NATS_OK) /* one thread for all subscriptions, not one each */
        s = natsOptions_UseGlobalMessageDelivery(n, true);
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(n, o->reconnect);
    if (s == NATS_OK && o->reconnect)
        s = natsOptions_SetMaxReconnect(n, -1);
    if (s == NATS_OK && o->reconnect)
        s = natsOptions_SetCustomReconnectDelay(n, on_delay, NULL);
    return s;
}

static natsStatus set_callbacks(natsOptions *n)
{
    natsStatus s = natsOptions_SetErrorHandler(n, on_error, NULL);

    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(n, on_change, NULL);
    if (s == NATS_OK)
        s = natsOptions_SetDisconnectedCB(n, on_change, NULL);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectedCB(n, on_change, NULL);
    return s;
}

static int error_errno(natsStatus s)
{
    switch (s) {
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
        return -EACCES;
    case NATS_SSL_ERROR:
    case NATS_SECURE_CONNECTION_WANTED:
    case NATS_SECURE_CONNECTION_REQUIRED:
        return -EPROTO;
    case NATS_NO_MEMORY:
        return -ENOMEM;
    default:
        return -EHOSTUNREACH;
    }
}

static int connect_with(const struct jetstream_options *o, natsOptions *n, struct jetstream *j,
                        char why[static JETSTREAM_WHY_MAX])
{
    natsStatus s = set_rules(o, n);
    jsOptions js;
    int r;

    if (s == NATS_OK)
        s = set_callbacks(n);
    if (s != NATS_OK) {
        (void)jetstream_error(s, 0, "preparing the connection", why);
        return -EINVAL;
    }
    r = set_login(o, n, why);
    if (r == 0)
        r = set_tls(o, n, why);
    if (r < 0)
        return r;
    s = natsConnection_Connect(&j->nc, n);
    if (s == NATS_OK)
        s = jsOptions_Init(&js);
    if (s == NATS_OK) {
        js.Wait = JETSTREAM_REQUEST_MS;
        s = natsConnection_JetStream(&j->js, j->nc, &js);
    }
    if (s == NATS_OK)
        return 0;
    char what[JETSTREAM_WHY_MAX / 2];
    (void)snprintf(what, sizeof(what), "connecting to %.200s", o->urls);
    (void)jetstream_error(s, 0, what, why);
    return error_errno(s);
}

int jetstream_connect(const struct jetstream_options *o, struct jetstream **ret,
                      char why[static JETSTREAM_WHY_MAX])
{
    struct jetstream *j = NULL;
    natsOptions *n = NULL;
    int r = jetstream_check(o, why);

    if (r < 0)
        return r;
    r = jetstream_wake_fd();
    if (r < 0 || natsOptions_Create(&n) != NATS_OK) {
        (void)snprintf(why, JETSTREAM_WHY_MAX, "out of memory or of file descriptors");
        return r < 0 ? r : -ENOMEM;
    }
    j = calloc(1, sizeof(*j));
    if (!j)
        (void)snprintf(why, JETSTREAM_WHY_MAX, "out of memory");
    r = j ? connect_with(o, n, j, why) : -ENOMEM;
    natsOptions_Destroy(n);
    if (r < 0) {
        jetstream_free(j);
        return r;
    }
    *ret = j;
    return 0;
}

struct jetstream *jetstream_free(struct jetstream *j)
{
    if (j) {
        jsCtx_Destroy(j->js);
        natsConnection_Destroy(j->nc);
        free(j);
    }
    return NULL;
}

void jetstream_freep(struct jetstream **j)
{
    *j = jetstream_free(*j);
}

/* What an operator can do about it. */
static const char *remedy(natsStatus s, jsErrCode js)
{
    switch (js) {
    case JSNotEnabledErr:
    case JSNotEnabledForAccountErr:
        return "start nats-server with -js, or enable JetStream for this account";
    case JSStreamNotFoundErr:
        return "make the stream, or name another";
    case JSAccountResourcesExceededErr:
    case JSMemoryResourcesExceededErr:
    case JSStorageResourcesExceededErr:
        return "the server's JetStream storage is full";
    default:
        break;
    }
    switch (s) {
    case NATS_NO_SERVER:
        return "does it run, and is a firewall in between?";
    case NATS_CONNECTION_AUTH_FAILED:
        return "give --creds or --user-file";
    case NATS_NOT_PERMITTED:
        return "this user may not use that subject";
    case NATS_NO_RESPONDERS:
        return "JetStream is off, or no stream takes the subject";
    case NATS_SECURE_CONNECTION_REQUIRED:
        return "the server wants TLS: use tls://";
    case NATS_SECURE_CONNECTION_WANTED:
        return "the server has no TLS: use nats://";
    case NATS_SSL_ERROR:
        return "is its certificate signed by --ca-file, and for this name?";
    default:
        return NULL;
    }
}

const char *jetstream_error(natsStatus s, jsErrCode js, const char *what, char dst[static JETSTREAM_WHY_MAX])
{
    natsStatus last = NATS_OK;
    const char *text = nats_GetLastError(&last), *mend = remedy(s, js);

    if (!text || !*text || last != s)
        text = natsStatus_GetText(s);
    if (*text == '(' && strstr(text, "): ")) /* where in libnats */
        text = strstr(text, "): ") + 3;
    (void)snprintf(dst, JETSTREAM_WHY_MAX, "%.230s failed: %.180s%s%s", what, text, mend ? ": " : "",
                   mend ? mend : "");
    return dst;
}

bool jetstream_token_ok(const char *s, size_t max)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

    return n > 0 && n <= max && s[n] == '\0';
}
