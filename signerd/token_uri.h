/* SPDX-License-Identifier: MIT */
/* The part of RFC 7512 that names one key of one token:
 *
 *   pkcs11:token=LABEL;[serial=S;]object=LABEL;[id=%01;]?module-path=/path.so&pin-source=file:/path&x-token-dir=/path
 *
 * module-path and pin-source are needed, and of the key its object or its id. x-token-dir (ours): the one
 * directory the module may read and write once it is logged in. */
#pragma once

#include <limits.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define TOKEN_URI_MAX   2048
#define TOKEN_LABEL_MAX 32  /* CK_TOKEN_INFO.label, padded there */
#define TOKEN_TEXT_MAX  128 /* an object's label */
#define TOKEN_ID_MAX    64

struct token_uri {
    char token[TOKEN_LABEL_MAX + 1];
    char serial[TOKEN_LABEL_MAX + 1];
    char object[TOKEN_TEXT_MAX + 1];
    uint8_t id[TOKEN_ID_MAX];
    size_t id_len;
    char module[PATH_MAX];
    char pin_file[PATH_MAX];
    char token_dir[PATH_MAX]; /* "": the module needs no file any more */
};

/* True for what token_uri_parse() is for. */
bool token_uri_is(struct str s);

/* 0, or -EINVAL with one sentence in *ret_why (a constant). */
int token_uri_parse(struct str s, struct token_uri *ret, const char **ret_why) MUST_CHECK;
