/* SPDX-License-Identifier: MIT */
/* Dead letters: what the destination will never take, kept as files. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/dir.h"
#include "common/evidence/envelope.h"
#include "supervisor/ctl/ship_file.h"

#define LINE_SUFFIX   ".json"
#define REASON_SUFFIX ".reason"
#define REASON_HEAD   "cellos-ship-dead 1\n"
#define DEAD_LIST_MAX 1000000

void ship_dead_name(uint64_t sequence, const char *id, char dst[static SHIP_STATE_NAME_MAX + 1])
{
    char text[20 + 1 + SHIP_ID_MAX + 1];

    (void)snprintf(text, sizeof(text), "%020" PRIu64 "-%.*s", sequence, (int)SHIP_ID_MAX, id);
    ship_file_name(text, LINE_SUFFIX, dst);
}

/* The name of the reason beside it. */
static void reason_name(const char *name, char dst[static SHIP_STATE_NAME_MAX + sizeof(REASON_SUFFIX)])
{
    int n = (int)(strlen(name) - strlen(LINE_SUFFIX));

    (void)snprintf(dst, SHIP_STATE_NAME_MAX + sizeof(REASON_SUFFIX), "%.*s" REASON_SUFFIX, n, name);
}

static void reason_text(const struct ship_dead *d, struct buf *b)
{
    char time[CLOCK_RFC3339_LEN + 1] = "-", why[512];

    if (clock_format_rfc3339(clock_realtime_ms() / 1000, time) < 0)
        time[0] = '\0';
    buf_printf(b, REASON_HEAD "origin %s\nsequence %" PRIu64 "\nid %s\ntime %s\nreason %s\n", d->origin,
               d->sequence, d->id, time, str_escape(why, sizeof(why), d->why, strlen(d->why)));
}

int ship_dead_put(const struct ship_state *s, const struct ship_dead *d)
{
    _cleanup_(buf_done) struct buf line = {.data = NULL}, reason = {.data = NULL};
    char name[SHIP_STATE_NAME_MAX + 1], beside[SHIP_STATE_NAME_MAX + sizeof(REASON_SUFFIX)];
    int r;

    buf_init(&line, ENVELOPE_LINE_MAX + 1);
    buf_init(&reason, SHIP_STATE_FILE_MAX);
    buf_put_str(&line, d->line);
    buf_putc(&line, '\n');
    reason_text(d, &reason);
    ship_dead_name(d->sequence, d->id, name);
    reason_name(name, beside);
    r = ship_file_write(s->dead, beside, &reason); /* first: a line without its reason cannot be sent again */
    return r < 0 ? r : ship_file_write(s->dead, name, &line);
}

int ship_dead_remove(const struct ship_state *s, uint64_t sequence, const char *id)
{
    char name[SHIP_STATE_NAME_MAX + 1], beside[SHIP_STATE_NAME_MAX + sizeof(REASON_SUFFIX)];

    ship_dead_name(sequence, id, name);
    reason_name(name, beside);
    if (unlinkat(s->dead, name, 0) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (unlinkat(s->dead, beside, 0) < 0 && errno != ENOENT)
        return -errno;
    return fsync(s->dead) < 0 ? -errno : 1;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dead(const char *name)
{
    size_t n = strlen(name), suffix = strlen(LINE_SUFFIX);

    return n > 20 + suffix && n <= SHIP_STATE_NAME_MAX && strcmp(name + n - suffix, LINE_SUFFIX) == 0;
}

/* Every name, or only their number when list is NULL. */
static int walk(const struct ship_state *s, char ***list)
{
    _cleanup_(dir_closep) DIR *dir = NULL;
    struct dirent *e;
    int n = 0, r = dir_open(s->dead, ".", &dir);

    if (r < 0)
        return r;
    while (n < DEAD_LIST_MAX && (e = readdir(dir))) {
        if (!is_dead(e->d_name))
            continue;
        if (list) {
            char **more = reallocarray(*list, (size_t)n + 1, sizeof(*more));

            if (!more)
                return -ENOMEM;
            *list = more;
            more[n] = strdup(e->d_name);
            if (!more[n])
                return -ENOMEM;
        }
        n++;
    }
    return n;
}

int ship_dead_count(const struct ship_state *s)
{
    return walk(s, NULL);
}

int ship_dead_list(const struct ship_state *s, char ***ret)
{
    int n = walk(s, ret);

    if (n > 0)
        qsort(*ret, (size_t)n, sizeof(**ret), name_order);
    return n;
}

int ship_dead_load(const struct ship_state *s, const char *name, struct buf *line,
                   char origin[static CHECKPOINT_NAME_MAX + 1], uint64_t *ret_sequence)
{
    _cleanup_(buf_done) struct buf reason = {.data = NULL};
    char beside[SHIP_STATE_NAME_MAX + sizeof(REASON_SUFFIX)];
    struct str text, value;
    int r;

    buf_init(&reason, SHIP_STATE_FILE_MAX);
    reason_name(name, beside);
    r = ship_file_read(s->dead, beside, &reason);
    if (r == 0)
        r = ship_file_read(s->dead, name, line);
    if (r < 0)
        return r;
    text = buf_str(&reason);
    if (line->len == 0 || line->data[line->len - 1] != '\n' || !ship_file_head(&text, REASON_HEAD) ||
        !ship_file_field(&text, "origin", &value) || value.len > CHECKPOINT_NAME_MAX ||
        !ship_file_number(&text, "sequence", ret_sequence))
        return -EBADMSG;
    line->len--;
    memcpy(origin, value.p, value.len);
    origin[value.len] = '\0';
    return 0;
}
