/* SPDX-License-Identifier: MIT */
/* TLS towards resolvers (RFC 8310 strict profile): TLS 1.2 or later, the chain verified against the CA
 * bundle, the server's name or address checked against the certificate's subjectAltName, sessions resumed. */
#pragma once

#include <openssl/ssl.h>

#include "proxyd/dns/dns.h"

#define DNS_CA_FILE       "/etc/ssl/certs/ca-certificates.crt"
#define DNS_CA_BUNDLE_MAX (4u << 20)
#define DNS_CA_CERTS_MAX  4096u
#define DNS_TLS_WHY_MAX   160u

/* The CA bundle, opened before the sandbox closes: read at the first use of TLS, never before. The fd stays
 * the caller's and must stay open. -EBADF: there is none, and no TLS resolver can be reached. */
void dns_tls_ca_fd(int fd);

/* What OpenSSL would open later (its configuration, the time zone) is read now, before the sandbox closes;
 * the CA bundle is not. 0 or -ENOMEM. */
int dns_tls_prepare(void) MUST_CHECK;

/* Frees what the whole process shares (tests look for leaks). */
void dns_tls_done(void);

/* One server: whom the certificate must name, and the session to resume. */
struct dns_tls {
    char name[LIMIT_HOSTNAME + 1]; /* "": the address */
    struct addr addr;              /* of the connection, where name is "" */
    const char *alpn;              /* "dot" or "h2" */
    bool alpn_required;
    SSL_SESSION *session;
};

void dns_tls_forget(struct dns_tls *tls); /* frees the session */

/* A client side on a connecting or connected socket. tls must outlive it. 0; -ENOKEY without a CA bundle,
 * -EBADMSG when it cannot be read; why (DNS_TLS_WHY_MAX bytes) then says more. */
int dns_tls_start(struct dns_tls *tls, int fd, SSL **ret, char *why) MUST_CHECK;

/* The outcome of SSL_connect, SSL_read or SSL_write: -EAGAIN with *ret_write telling what it waits for, 0 for
 * a proper end of the stream, or another negative errno with a text in why. n: what the call returned (<= 0).
 */
int dns_tls_result(SSL *ssl, int n, bool *ret_write, char *why);

/* After the handshake: is the protocol the one that was wanted? 0 or -EPROTO. */
int dns_tls_check(const struct dns_tls *tls, const SSL *ssl, char *why) MUST_CHECK;
