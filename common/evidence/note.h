/* SPDX-License-Identifier: MIT */
/* A C2SP signed note (c2sp.org/signed-note) taken apart: the text, and its signature lines whoever made
 * them. Nothing is verified here. */
#pragma once

#include "common/base/buf.h"

#define NOTE_DASH    "\xe2\x80\x94 " /* em dash, space: how a signature line begins */
#define NOTE_SIG_MAX 8192            /* bytes of one signature line: post-quantum ones have nearly 5 kB */

struct note {
    struct str text; /* with its last LF: the bytes that are signed */
    struct str sigs; /* whole lines */
};

/* Borrowed from s. 0, or -EBADMSG when it is not a signed note. */
int note_parse(struct str s, struct note *ret) MUST_CHECK;

struct note_sig {
    struct str line; /* without LF */
    struct str name;
    struct str base64;
    uint32_t id; /* of the key, as the line says */
};

/* Takes the next signature line off. 1 with *ret, 0 at the end, -EBADMSG when it is no signature line. */
int note_next_sig(struct str *sigs, struct note_sig *ret) MUST_CHECK;

/* The bytes behind the key id; appends to b. 0, -EBADMSG or b's error. */
int note_sig_bytes(const struct note_sig *s, struct buf *b) MUST_CHECK;

/* Takes the next line that ends in LF off s; *ret is without it. */
bool note_next_line(struct str *s, struct str *ret);
