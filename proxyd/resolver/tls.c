/* SPDX-License-Identifier: MIT */
#include "proxyd/resolver/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

/* One for the process: a context and a few hundred parsed certificates are too much for every authority.
 * Nothing of a server is in it. */
static struct {
    int ca_fd;
    SSL_CTX *ctx;
} shared = {.ca_fd = -EBADF};

static void why_put(char *why, const char *text)
{
    (void)snprintf(why, DNS_TLS_WHY_MAX, "%s", text);
}

void dns_tls_ca_fd(int fd)
{
    shared.ca_fd = fd;
}

int dns_tls_prepare(void)
{
    tzset(); /* gmtime_r(), with which validity times are compared, reads /etc/localtime once */
    return OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1 ? 0 : -ENOMEM;
}

void dns_tls_done(void)
{
    SSL_CTX_free(shared.ctx);
    shared.ctx = NULL;
}

static void x509_free(X509 **c)
{
    X509_free(*c);
}

static void bio_free(BIO **b)
{
    BIO_free(*b);
}

static int store_fill(X509_STORE *store, const char *pem, size_t len)
{
    _cleanup_(bio_free) BIO *bio = BIO_new_mem_buf(pem, (int)len);
    unsigned n = 0;

    if (!bio)
        return -ENOMEM;
    while (n < DNS_CA_CERTS_MAX) {
        _cleanup_(x509_free) X509 *c = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!c)
            break;
        if (X509_STORE_add_cert(store, c) != 1)
            return -EBADMSG;
        n++;
    }
    ERR_clear_error(); /* the end of the text is an error to PEM_read_bio */
    return n > 0 ? 0 : -EBADMSG;
}

static int bundle_read(X509_STORE *store)
{
    _cleanup_free_ char *pem = NULL;
    struct stat st;

    if (shared.ca_fd < 0)
        return -ENOKEY;
    if (fstat(shared.ca_fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > DNS_CA_BUNDLE_MAX)
        return -EBADMSG;
    pem = malloc((size_t)st.st_size);
    if (!pem)
        return -ENOMEM;
    for (off_t at = 0; at < st.st_size;) {
        ssize_t n = pread(shared.ca_fd, pem + at, (size_t)(st.st_size - at), at);
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EBADMSG;
        at += n;
    }
    return store_fill(store, pem, (size_t)st.st_size);
}

/* OpenSSL hands over a session whenever the server has sent a ticket. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct dns_tls *tls = SSL_get_app_data(ssl);

    SSL_SESSION_free(tls->session);
    tls->session = session;
    return 1; /* the reference is ours */
}

static void ctx_free(SSL_CTX **c)
{
    SSL_CTX_free(*c);
}

static int context(SSL_CTX **ret, char *why)
{
    if (shared.ctx) {
        *ret = shared.ctx;
        return 0;
    }
    _cleanup_(ctx_free) SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
        why_put(why, "cannot set up TLS");
        return -ENOMEM;
    }
    int r = bundle_read(SSL_CTX_get_cert_store(ctx));
    if (r < 0) {
        why_put(why, r == -ENOKEY ? "no CA bundle: proxyd was started without one (--ca-file)"
                                  : "the CA bundle cannot be read");
        return r;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    SSL_CTX_set_max_cert_list(ctx, 64 * 1024);
    *ret = shared.ctx = TAKE_PTR(ctx);
    return 0;
}

void dns_tls_forget(struct dns_tls *tls)
{
    SSL_SESSION_free(tls->session);
    tls->session = NULL;
}

static void ssl_free(SSL **s)
{
    SSL_free(*s);
}

/* A certificate's common name never counts (RFC 6125 section 6.4.4, RFC 9525). */
static bool expect_server(const struct dns_tls *tls, SSL *ssl)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (tls->name[0])
        return X509_VERIFY_PARAM_set1_host(param, tls->name, 0) == 1 &&
               SSL_set_tlsext_host_name(ssl, tls->name) == 1;
    return X509_VERIFY_PARAM_set1_ip(param, tls->addr.bytes, tls->addr.family == AF_INET6 ? 16 : 4) == 1;
}

int dns_tls_start(struct dns_tls *tls, int fd, SSL **ret, char *why)
{
    _cleanup_(ssl_free) SSL *ssl = NULL;
    uint8_t alpn[16];
    SSL_CTX *ctx;
    int r = context(&ctx, why);

    if (r < 0)
        return r;
    ssl = SSL_new(ctx);
    alpn[0] = (uint8_t)strlen(tls->alpn);
    memcpy(alpn + 1, tls->alpn, alpn[0]);
    if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_set_alpn_protos(ssl, alpn, 1u + alpn[0]) != 0 ||
        !expect_server(tls, ssl)) {
        why_put(why, "cannot set up TLS");
        return -ENOMEM;
    }
    SSL_set_app_data(ssl, tls);
    /* TLS 1.3 tickets are for one use (RFC 8446 appendix C.4) */
    if (tls->session)
        (void)SSL_set_session(ssl, tls->session);
    dns_tls_forget(tls);
    SSL_set_connect_state(ssl);
    *ret = TAKE_PTR(ssl);
    return 0;
}

int dns_tls_result(SSL *ssl, int n, bool *ret_write, char *why)
{
    int error = SSL_get_error(ssl, n), saved = errno;
    long verify = SSL_get_verify_result(ssl);

    *ret_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (verify != X509_V_OK) {
        (void)snprintf(why, DNS_TLS_WHY_MAX, "certificate: %s", X509_verify_cert_error_string(verify));
        ERR_clear_error();
        return -EKEYREJECTED;
    }
    if (error == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        why_put(why, "the server broke the connection");
        return saved ? -saved : -ECONNRESET;
    }
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    (void)snprintf(why, DNS_TLS_WHY_MAX, "TLS: %s", reason ? reason : "failed");
    ERR_clear_error();
    return -EPROTO;
}

int dns_tls_check(const struct dns_tls *tls, const SSL *ssl, char *why)
{
    const unsigned char *got;
    unsigned len;

    SSL_get0_alpn_selected(ssl, &got, &len);
    if (len == 0 ? !tls->alpn_required : len == strlen(tls->alpn) && memcmp(got, tls->alpn, len) == 0)
        return 0;
    (void)snprintf(why, DNS_TLS_WHY_MAX, "the server does not speak \"%s\" (ALPN)", tls->alpn);
    return -EPROTO;
}
