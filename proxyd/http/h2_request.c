/* SPDX-License-Identifier: MIT */
/* What the fields of an HTTP/2 request say (RFC 9113 section 8.3.1). The checks are all here: the library's
 * own would end a stream before anybody can say why. */
#include "common/base/num.h"
#include "proxyd/http/h2_fields.h"

enum pseudo { P_METHOD, P_SCHEME, P_AUTHORITY, P_PATH, P_PROTOCOL, _P_MAX };

static const char *const pseudo_names[] = {":method", ":scheme", ":authority", ":path", ":protocol"};

struct request_facts {
    struct str pseudo[_P_MAX], host;
    bool regular; /* a field that is none of the pseudo fields was there */
    unsigned hosts;
    struct h2_request request;
};

static bool one_of(struct str s, const char *const *names)
{
    for (; *names; names++)
        if (str_is(s, *names))
            return true;
    return false;
}

static bool is_hop_field(struct str name)
{
    static const char *const names[] = {"connection",        "keep-alive", "proxy-connection",
                                        "transfer-encoding", "upgrade",    NULL};
    return one_of(name, names);
}

/* Not forwarded, but no reason to refuse. */
static bool is_dropped_field(struct str name)
{
    static const char *const names[] = {"host", "http2-settings", "proxy-authorization", NULL};
    return one_of(name, names);
}

/* What a gateway to CGI folds into a field that decides. */
static bool is_alias(struct str name)
{
    static const char *const names[] = {"content_length", "transfer_encoding", "transfer-encoding", NULL};
    return one_of(name, names);
}

static bool well_formed(struct str name, struct str value)
{
    return nghttp2_check_header_name((const uint8_t *)name.p, name.len) != 0 &&
           nghttp2_check_header_value_rfc9113((const uint8_t *)value.p, value.len) != 0;
}

static enum h2_request_outcome pseudo_read(struct str name, struct str value, struct request_facts *f)
{
    if (f->regular)
        return H2_REQUEST_UNPARSEABLE;
    for (size_t i = 0; i < _P_MAX; i++) {
        if (!str_is(name, pseudo_names[i]))
            continue;
        if (f->pseudo[i].p)
            return i == P_AUTHORITY ? H2_REQUEST_CONFLICT : H2_REQUEST_UNPARSEABLE;
        f->pseudo[i] = value;
        return H2_REQUEST_OK;
    }
    return H2_REQUEST_UNPARSEABLE;
}

static enum h2_request_outcome regular_read(struct str name, struct str value, struct request_facts *f)
{
    f->regular = true;
    if (is_hop_field(name) || is_alias(name) || (str_is(name, "te") && !str_is(value, "trailers")))
        return H2_REQUEST_UNPARSEABLE;
    if (str_is(name, "host")) {
        f->host = value;
        return ++f->hosts > 1 ? H2_REQUEST_CONFLICT : H2_REQUEST_OK;
    }
    if (str_is(name, "content-length")) {
        if (f->request.has_length || num_parse_u64(value, 0, INT64_MAX, &f->request.length) < 0)
            return H2_REQUEST_UNPARSEABLE;
        f->request.has_length = true;
    }
    return H2_REQUEST_OK;
}

static enum h2_request_outcome host_judge(struct request_facts *f)
{
    struct str authority = f->pseudo[P_AUTHORITY];
    struct http_host other;

    if (!authority.p)
        authority = f->host;
    if (authority.len == 0 || (f->hosts > 0 && f->host.len == 0))
        return H2_REQUEST_NO_AUTHORITY;
    if (http_host_parse(authority, &f->request.host) < 0)
        return H2_REQUEST_UNPARSEABLE;
    if (f->hosts > 0 && (http_host_parse(f->host, &other) < 0 || !http_host_eq(&f->request.host, &other)))
        return H2_REQUEST_CONFLICT;
    return H2_REQUEST_OK;
}

static bool path_ok(struct str path, struct str method)
{
    if (path.len == 0 || memchr(path.p, '#', path.len) ||
        nghttp2_check_path((const uint8_t *)path.p, path.len) == 0)
        return false;
    return path.p[0] == '/' || (str_is(path, "*") && str_is(method, "OPTIONS"));
}

static enum h2_request_outcome facts_judge(struct request_facts *f, bool ended)
{
    struct str method = f->pseudo[P_METHOD];

    if (!method.p || !http_is_token(method))
        return H2_REQUEST_UNPARSEABLE;
    if (str_is(method, "CONNECT") || f->pseudo[P_PROTOCOL].p) {
        if (host_judge(f) != H2_REQUEST_OK)
            f->request.host = (struct http_host){0};
        return H2_REQUEST_TUNNEL;
    }
    if (!str_is(f->pseudo[P_SCHEME], "http") || !path_ok(f->pseudo[P_PATH], method) ||
        (ended && f->request.length > 0))
        return H2_REQUEST_UNPARSEABLE;
    f->request.is_head = str_is(method, "HEAD");
    return host_judge(f);
}

static int forwarded(const struct h2_fields *f, const struct request_facts *facts, struct h2_fields *to)
{
    for (size_t i = P_METHOD; i <= P_PATH; i++) {
        struct str value = i == P_AUTHORITY && !facts->pseudo[i].p ? facts->host : facts->pseudo[i];
        int r = h2_fields_add(to, str_of(pseudo_names[i]), value, false, 2 * H2_REQUEST_LIST_MAX);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < f->n; i++) {
        struct str name = h2_field_name(f, i);
        if (name.p[0] == ':' || is_dropped_field(name))
            continue;
        int r = h2_fields_add(to, name, h2_field_value(f, i), f->list[i].secret, 2 * H2_REQUEST_LIST_MAX);
        if (r < 0)
            return r;
    }
    return 0;
}

int h2_request_read(const struct h2_fields *f, bool ended, struct h2_request *ret, struct h2_fields *to,
                    enum h2_request_outcome *ret_outcome)
{
    struct request_facts facts = {0};
    enum h2_request_outcome o = H2_REQUEST_OK;

    for (size_t i = 0; i < f->n && o == H2_REQUEST_OK; i++) {
        struct str name = h2_field_name(f, i), value = h2_field_value(f, i);
        if (!well_formed(name, value))
            o = H2_REQUEST_UNPARSEABLE;
        else
            o = name.p[0] == ':' ? pseudo_read(name, value, &facts) : regular_read(name, value, &facts);
    }
    if (o == H2_REQUEST_OK)
        o = facts_judge(&facts, ended);
    if (o == H2_REQUEST_OK) {
        int r = forwarded(f, &facts, to);
        if (r < 0)
            return r;
    }
    *ret = facts.request;
    *ret_outcome = o;
    return 0;
}

bool h2_trailers_ok(const struct h2_fields *f)
{
    static const char *const never[] = {"host", "content-length", "te", NULL};

    for (size_t i = 0; i < f->n; i++) {
        struct str name = h2_field_name(f, i);
        if (!well_formed(name, h2_field_value(f, i)) || name.p[0] == ':' || is_hop_field(name) ||
            is_alias(name) || one_of(name, never))
            return false;
    }
    return true;
}
