/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/witness_way.h"

#include <stdio.h>

#include "common/base/num.h"
#include "supervisor/ctl/curl_lib.h"

#define UNIX_PREFIX "unix:"

static const struct curl_lib *way_curl; /* once it is needed */

void witness_reply_init(struct witness_reply *r)
{
    *r = (struct witness_reply){.answer = WITNESS_REFUSED};
    buf_init(&r->note, CHECKPOINT_NOTE_MAX);
    buf_init(&r->body, WITNESS_ANSWER_MAX);
}

void witness_reply_done(struct witness_reply *r)
{
    buf_done(&r->note);
    buf_done(&r->body);
}

static void way_curl_free(CURL **c)
{
    way_curl->easy_cleanup(*c);
}

static void way_list_free(struct curl_slist **l)
{
    way_curl->slist_free_all(*l);
}

/* Answering less than n ends the transfer: an endless body is cut off. */
static size_t way_body(char *p, size_t size, size_t n, void *arg)
{
    struct buf *b = arg;

    buf_put(b, p, size * n);
    return b->err ? 0 : size * n;
}

static enum witness_answer way_answer(long status)
{
    switch (status) {
    case 200:
        return WITNESS_COSIGNED;
    case 403:
        return WITNESS_FORBIDDEN;
    case 404:
        return WITNESS_UNKNOWN_LOG;
    case 409:
        return WITNESS_CONFLICT;
    case 422:
        return WITNESS_INCONSISTENT;
    default:
        return WITNESS_REFUSED;
    }
}

/* A 409 says the size in decimal with LF. */
static int way_size(struct str body, uint64_t *ret)
{
    if (body.len < 2 || body.p[body.len - 1] != '\n')
        return -EBADMSG;
    return num_parse_u64((struct str){body.p, body.len - 1}, 0, UINT64_MAX, ret) < 0 ? -EBADMSG : 0;
}

static bool way_url(const char *to, char *url, size_t cap, const char **ret_socket)
{
    bool local = strncmp(to, UNIX_PREFIX, sizeof(UNIX_PREFIX) - 1) == 0;
    size_t n = strlen(to);

    *ret_socket = local ? to + sizeof(UNIX_PREFIX) - 1 : NULL;
    if (local)
        return snprintf(url, cap, "http://localhost/add-checkpoint") < (int)cap;
    while (n > 0 && to[n - 1] == '/')
        n--;
    return n < cap && snprintf(url, cap, "%.*s/add-checkpoint", (int)n, to) < (int)cap;
}

static bool way_options(CURL *c, const char *url, const char *socket, struct curl_slist *headers,
                        struct str request, struct witness_reply *ret)
{
    return way_curl->easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
           (!socket || way_curl->easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, socket) == CURLE_OK) &&
           way_curl->easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           way_curl->easy_setopt(c, CURLOPT_PROXY, socket ? "" : NULL) == CURLE_OK &&
           way_curl->easy_setopt(c, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           way_curl->easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)request.len) == CURLE_OK &&
           way_curl->easy_setopt(c, CURLOPT_POSTFIELDS, request.p) == CURLE_OK &&
           way_curl->easy_setopt(c, CURLOPT_WRITEFUNCTION, way_body) == CURLE_OK &&
           way_curl->easy_setopt(c, CURLOPT_WRITEDATA, &ret->body) == CURLE_OK &&
           way_curl->easy_setopt(c, CURLOPT_TIMEOUT, (long)WITNESS_TIMEOUT_S) == CURLE_OK &&
           way_curl->easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
}

static int way_load(struct witness_reply *ret)
{
    const char *why = "libcurl does not start";
    const struct curl_lib *c = way_curl ? way_curl : curl_lib_load(&why);

    if (c && (c == way_curl || c->global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)) {
        way_curl = c;
        return 0;
    }
    (void)snprintf(ret->why, sizeof(ret->why), "%s", why ? why : "libcurl does not start");
    return -ENOENT;
}

static int way_post(const char *to, struct str request, struct witness_reply *ret)
{
    _cleanup_(way_curl_free) CURL *c = way_curl->easy_init();
    _cleanup_(way_list_free) struct curl_slist *headers =
        way_curl->slist_append(NULL, "Content-Type: text/plain");
    const char *socket;
    char url[2048];
    long status = 0;
    CURLcode e;

    if (!c || !headers)
        return -ENOMEM;
    if (!way_url(to, url, sizeof(url), &socket))
        return -ENAMETOOLONG;
    if (!way_options(c, url, socket, headers, request, ret))
        return -ENOMEM;
    e = way_curl->easy_perform(c);
    if (e != CURLE_OK || way_curl->easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK) {
        (void)snprintf(ret->why, sizeof(ret->why), "%s",
                       ret->body.err ? "its answer is too long" : way_curl->easy_strerror(e));
        return -EIO;
    }
    ret->status = status > 0 && status < 1000 ? (unsigned)status : 0;
    ret->answer = way_answer(status);
    if (ret->answer == WITNESS_CONFLICT && way_size(buf_str(&ret->body), &ret->size) < 0)
        ret->answer = WITNESS_REFUSED;
    return 0;
}

int witness_post(const char *to, struct str request, struct witness_reply *ret)
{
    int r = way_load(ret);

    return r < 0 ? r : way_post(to, request, ret);
}
