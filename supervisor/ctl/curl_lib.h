/* SPDX-License-Identifier: MIT */
/* libcurl, loaded when something goes over HTTP: it brings two dozen libraries with it, which would cost
 * every start of cellctl, also `cellctl run`, several milliseconds. */
#pragma once

#include <curl/curl.h>

#undef curl_easy_setopt /* type checks by macro, which would hide the pointers here */
#undef curl_easy_getinfo

#define CURL_LIB_NAME "libcurl.so.4"

struct curl_lib {
    __typeof__(&curl_global_init) global_init;
    __typeof__(&curl_easy_init) easy_init;
    __typeof__(&curl_easy_cleanup) easy_cleanup;
    __typeof__(&curl_easy_setopt) easy_setopt;
    __typeof__(&curl_easy_getinfo) easy_getinfo;
    __typeof__(&curl_easy_perform) easy_perform;
    __typeof__(&curl_easy_strerror) easy_strerror;
    __typeof__(&curl_slist_append) slist_append;
    __typeof__(&curl_slist_free_all) slist_free_all;
};

/* All of them, or NULL with what the dynamic loader says in *ret_why. Stays loaded. */
const struct curl_lib *curl_lib_load(const char **ret_why);
