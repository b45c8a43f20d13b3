/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/quorum.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/io.h"
#include "common/base/num.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/term.h"

int quorum_add(const char *verb, struct quorum *q, const char *witness)
{
    _cleanup_(buf_done) struct buf text = {.data = NULL};
    _cleanup_close_ int fd = -EBADF;
    struct str s = str_of(witness);

    buf_init(&text, LOG_FILE_MAX);
    if (q->n == COSIGN_WITNESSES_MAX)
        return ctl_fail(CTL_USAGE, verb, "more than %d witnesses", COSIGN_WITNESSES_MAX);
    fd = open(witness, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && io_read_to_end(fd, &text) == 0) {
        s = buf_str(&text);
        while (s.len > 0 && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
            s.len--;
    }
    if (cosigner_parse(s, &q->key[q->n]) < 0)
        return ctl_fail(
            CTL_USAGE, verb,
            "%s is neither the vkey of a witness (name+id+base64, signature type 0x04) nor a file "
            "with one",
            witness);
    for (size_t i = 0; i < q->n; i++)
        if (memcmp(q->key[i].public, q->key[q->n].public, ED25519_PUBLIC_LEN) == 0)
            return ctl_fail(CTL_USAGE, verb, "the witness %s is given twice: it counts once",
                            q->key[q->n].name);
    q->need = (unsigned)++q->n;
    return CTL_OK;
}

int quorum_need(const char *verb, struct quorum *q, const char *number)
{
    uint64_t need = 0;

    if (!number)
        return CTL_OK;
    if (num_parse_u64(str_of(number), 1, COSIGN_WITNESSES_MAX, &need) < 0 || need > q->n)
        return ctl_fail(CTL_USAGE, verb, "--quorum %s: a number from 1 to that of the witnesses (%zu)",
                        number, q->n);
    q->need = (unsigned)need;
    return CTL_OK;
}

int quorum_look(const struct quorum *q, struct str note, uint64_t size, struct quorum_seen *seen)
{
    for (size_t i = 0; i < q->n; i++) {
        uint64_t when;
        int r = cosign_check(note, &q->key[i], &when);

        if (r < 0)
            return r;
        if (r == COSIGN_E_SIGNATURE)
            seen->bad[i] = true;
        if (r == COSIGN_OK && when > seen->when[i]) {
            seen->when[i] = when;
            seen->size[i] = size;
        }
    }
    return 0;
}

/* "3 minutes", roughly as a person would say it. */
static const char *quorum_age(uint64_t seconds, char *dst, size_t cap)
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};

    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (seconds >= units[i].seconds) {
            uint64_t n = seconds / units[i].seconds;

            (void)snprintf(dst, cap, "%" PRIu64 " %s%s ago", n, units[i].name, n == 1 ? "" : "s");
            return dst;
        }
    (void)snprintf(dst, cap, "just now");
    return dst;
}

static void quorum_print_one(const struct cosigner *k, uint64_t when, uint64_t size)
{
    uint64_t now = clock_realtime_ms() / 1000;
    char time[CLOCK_RFC3339_LEN + 1] = "?", age[64];

    if (clock_format_rfc3339(when, time) < 0)
        (void)snprintf(time, sizeof(time), "?");
    (void)printf("        witness %s: %" PRIu64 " event%s, cosigned %s (%s)\n", k->name, size,
                 size == 1 ? "" : "s", time,
                 when > now ? "in the future by this clock" : quorum_age(now - when, age, sizeof(age)));
}

bool quorum_print(const struct quorum *q, const struct quorum_seen *seen, bool color)
{
    unsigned good = 0;
    bool bad = false;

    for (size_t i = 0; i < q->n; i++) {
        if (seen->bad[i])
            (void)printf("  %sBAD%s   witness %s: a cosignature in its name does not verify\n",
                         term_code(color, TERM_RED), term_code(color, TERM_PLAIN), q->key[i].name);
        else if (seen->when[i] == 0)
            (void)printf("        witness %s: no cosignature\n", q->key[i].name);
        else
            quorum_print_one(&q->key[i], seen->when[i], seen->size[i]);
        good += !seen->bad[i] && seen->when[i] > 0;
        bad |= seen->bad[i]; /* a fault, whoever else signed */
    }
    if (q->n > 0 && good < q->need)
        (void)printf("  %sBAD%s   %u of %zu witnesses, %u wanted\n", term_code(color, TERM_RED),
                     term_code(color, TERM_PLAIN), good, q->n, q->need);
    return !bad && good >= q->need;
}
