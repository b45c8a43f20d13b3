/* SPDX-License-Identifier: MIT */
#include "common/evidence/judge.h"

#include <pthread.h>
#include <stdio.h>

#define JUDGE_LINES 128            /* a batch: about ten milliseconds of one thread */
#define JUDGE_BYTES (192u * 1024u) /* and its bytes; one line more always fits behind */

enum judge_state {
    JUDGE_EMPTY,
    JUDGE_READY, /* read, nobody judges it yet */
    JUDGE_TAKEN,
    JUDGE_DONE,
};

struct judge_batch {
    enum judge_state state; /* under the lock while threads run */
    size_t n, used;
    int end; /* LOG_READ_LINE, or how the source ended behind these lines */
    struct judged end_line;
    struct judged line[JUDGE_LINES];
    char text[JUDGE_BYTES + LOG_READER_LINE_MAX + 1];
};

/* The batches are a ring: filled at fill, handed out at head, judged from next on. */
struct judge {
    struct judge_source source;
    const struct keyring *ring;
    unsigned threads, started;
    pthread_t thread[JUDGE_THREADS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    bool quit;
    int failed; /* -errno of a thread that could not begin */
    size_t nbatches;
    uint64_t fill, next, head; /* counts; modulo nbatches they are places */
    size_t at;                 /* in the batch at head */
    bool ended;
    struct judge_batch *batch[];
};

static struct judge_batch *judge_place(const struct judge *j, uint64_t count)
{
    return j->batch[count % j->nbatches];
}

/* ---- judging ---- */

static void judge_batch(const struct judge *j, struct judge_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct judged *l = &b->line[i];

        log_check_alone(l->line.text, j->ring, l->has_sig ? &l->sig : NULL, &l->check);
        l->bare = l->check.error == ENVELOPE_OK && !l->check.parsed.dssematerial.p;
    }
}

/* The next batch that nobody has; NULL: none is ready. Under the lock. */
static struct judge_batch *judge_take(struct judge *j)
{
    struct judge_batch *b;

    if (j->next == j->fill)
        return NULL;
    b = judge_place(j, j->next++);
    b->state = JUDGE_TAKEN;
    return b;
}

/* Judges a taken batch; under the lock before and after, not meanwhile. */
static void judge_work(struct judge *j, struct judge_batch *b)
{
    pthread_mutex_unlock(&j->lock);
    judge_batch(j, b);
    pthread_mutex_lock(&j->lock);
    b->state = JUDGE_DONE;
    pthread_cond_signal(&j->done);
}

static void *judge_thread(void *arg)
{
    struct judge *j = arg;
    int r = digest_init();

    pthread_mutex_lock(&j->lock);
    if (r < 0)
        j->failed = r;
    while (r == 0 && !j->quit) {
        struct judge_batch *b = judge_take(j);

        if (b)
            judge_work(j, b);
        else
            pthread_cond_wait(&j->work, &j->lock);
    }
    pthread_cond_signal(&j->done);
    pthread_mutex_unlock(&j->lock);
    digest_done();
    return NULL;
}

/* The calling thread works too, so one less. A thread that cannot be had is none: the others do its share. */
static void judge_start(struct judge *j)
{
    while (j->started + 1 < j->threads && pthread_create(&j->thread[j->started], NULL, judge_thread, j) == 0)
        j->started++;
    j->threads = j->started + 1;
}

/* ---- reading ---- */

static void judge_sig(const struct judge *j, struct judged *l)
{
    /* A sealed line, which ends in quote and bracket, has its own signature. */
    bool bare = l->line.text.len >= 2 && l->line.text.p[l->line.text.len - 2] == '}';

    l->sig_error = 0;
    l->has_sig = false;
    if (!bare)
        return;
    l->sig_error = j->source.sig ? j->source.sig(j->source.arg, &l->line, &l->sig) : -ENODATA;
    l->has_sig = l->sig_error == 0;
}

static int judge_read(struct judge *j, struct judge_batch *b)
{
    b->n = 0;
    b->used = 0;
    b->end = LOG_READ_LINE;
    while (b->n < JUDGE_LINES && b->used < JUDGE_BYTES) {
        struct judged *l = &b->line[b->n];

        b->end = j->source.next(j->source.arg, &l->line);
        if (b->end != LOG_READ_LINE) {
            b->end_line = *l;
            return b->end;
        }
        memcpy(b->text + b->used, l->line.text.p, l->line.text.len);
        l->line.text.p = b->text + b->used;
        b->used += l->line.text.len;
        judge_sig(j, l);
        b->n++;
    }
    return LOG_READ_LINE;
}

/* Fills what is empty, so that all threads have something to do while lines are handed out. */
static void judge_fill(struct judge *j)
{
    while (!j->ended && j->fill < j->head + j->nbatches) {
        struct judge_batch *b = judge_place(j, j->fill);

        j->ended = judge_read(j, b) != LOG_READ_LINE;
        pthread_mutex_lock(&j->lock);
        b->state = JUDGE_READY;
        j->fill++;
        pthread_cond_signal(&j->work);
        pthread_mutex_unlock(&j->lock);
        if (!j->ended && j->started == 0 && j->threads > 1)
            judge_start(j);
    }
}

/* ---- handing out ---- */

/* The batch at head, judged: by helping, and by waiting where there is nothing to help with. */
static int judge_wait(struct judge *j, struct judge_batch *head)
{
    int r = 0;

    pthread_mutex_lock(&j->lock);
    while (r == 0 && head->state != JUDGE_DONE) {
        struct judge_batch *b = judge_take(j);

        if (b)
            judge_work(j, b);
        else
            pthread_cond_wait(&j->done, &j->lock);
        r = j->failed;
    }
    pthread_mutex_unlock(&j->lock);
    return r;
}

int judge_next(struct judge *j, const struct judged **ret)
{
    for (;;) {
        struct judge_batch *b;
        int r;

        judge_fill(j);
        b = judge_place(j, j->head);
        r = judge_wait(j, b);
        if (r < 0)
            return r;
        if (j->at < b->n) {
            *ret = &b->line[j->at++];
            return LOG_READ_LINE;
        }
        if (b->end != LOG_READ_LINE) {
            *ret = &b->end_line;
            return b->end;
        }
        b->state = JUDGE_EMPTY;
        j->head++;
        j->at = 0;
    }
}

int judged_unsigned(const struct judged *j, char why[static LOG_CHECK_WHY_MAX])
{
    switch (j->sig_error) {
    case 0:
        return 0;
    case -ENODATA:
        return 1;
    case -ENOKEY:
        (void)snprintf(why, LOG_CHECK_WHY_MAX, "%s", envelope_error_text(ENVELOPE_E_KEY));
        return -EBADMSG;
    case -ELOOP:
    case -EFBIG:
    case -EBADMSG:
        (void)snprintf(why, LOG_CHECK_WHY_MAX, "%s",
                       "the signatures beside its segment are not a file, or too many files");
        return -EBADMSG;
    default:
        return j->sig_error;
    }
}

/* ---- life ---- */

static unsigned judge_threads(unsigned wanted)
{
    long n = wanted ? (long)wanted : sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > JUDGE_THREADS_MAX ? JUDGE_THREADS_MAX : (unsigned)n;
}

int judge_open(const struct judge_source *s, const struct keyring *ring, unsigned threads, struct judge **ret)
{
    unsigned n = judge_threads(threads);
    size_t nbatches = n == 1 ? 1 : 2 * (size_t)n + 1;
    struct judge *j = calloc(1, sizeof(*j) + nbatches * sizeof(struct judge_batch *));

    if (!j)
        return -ENOMEM;
    j->source = *s;
    j->ring = ring;
    j->threads = n;
    j->nbatches = nbatches;
    if (pthread_mutex_init(&j->lock, NULL) != 0 || pthread_cond_init(&j->work, NULL) != 0 ||
        pthread_cond_init(&j->done, NULL) != 0) {
        free(j);
        return -ENOMEM;
    }
    for (size_t i = 0; i < nbatches; i++) {
        j->batch[i] = malloc(sizeof(*j->batch[i])); /* not cleared: written before it is read */
        if (!j->batch[i]) {
            judge_free(j);
            return -ENOMEM;
        }
        j->batch[i]->state = JUDGE_EMPTY;
    }
    *ret = j;
    return 0;
}

struct judge *judge_free(struct judge *j)
{
    if (!j)
        return NULL;
    pthread_mutex_lock(&j->lock);
    j->quit = true;
    pthread_cond_broadcast(&j->work);
    pthread_mutex_unlock(&j->lock);
    for (unsigned i = 0; i < j->started; i++)
        pthread_join(j->thread[i], NULL);
    for (size_t i = 0; i < j->nbatches; i++)
        free(j->batch[i]);
    pthread_cond_destroy(&j->work);
    pthread_cond_destroy(&j->done);
    pthread_mutex_destroy(&j->lock);
    free(j);
    return NULL;
}

void judge_freep(struct judge **j)
{
    *j = judge_free(*j);
}
