/* SPDX-License-Identifier: MIT */
#include "signerd/keeper.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "common/base/log.h"
#include "signerd/compress.h"

#define KEEPER_NICE 19

enum keeper_state { KEEPER_IDLE, KEEPER_LOOK, KEEPER_UNLINK, KEEPER_DONE };

struct keeper {
    struct ev_loop *loop;
    int dirfd;
    struct prune_rule rule;
    void (*done)(void *self, const struct keeper_result *r);
    void *self;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    ev_async async;
    atomic_bool stop;
    uint64_t
        damaged; /* up to this segment all were tried, and this one cannot be compressed; UINT64_MAX: none */
    /* under lock; the rest belongs to the thread while the state is LOOK or UNLINK */
    enum keeper_state state;
    uint64_t segment, needed;
    struct tiles now;
    struct keeper_result result;
};

/* Every closed segment that is not compressed. One whose lines are not whole is left as it is. */
static int keeper_compress(struct keeper *k, const uint64_t *segments, size_t n)
{
    for (size_t i = 0; i < n && segments[i] < k->segment; i++) {
        int r;

        if (k->damaged != UINT64_MAX && segments[i] <= k->damaged)
            continue;
        if (!segment_is_plain(k->dirfd, segments[i]))
            continue;
        r = compress_segment(k->dirfd, segments[i], &k->stop);
        if (r == -ECANCELED)
            return r;
        if (r == -EBADMSG)
            k->damaged = segments[i];
        if (r < 0)
            log_failed(LOG_WARNING, r, "cannot compress a closed segment of the log");
        if (r < 0 && r != -EBADMSG)
            return r;
    }
    return 0;
}

static int keeper_do_look(struct keeper *k)
{
    _cleanup_free_ uint64_t *segments = NULL;
    struct keeper_result *ret = &k->result;
    int n = log_reader_segments(k->dirfd, &segments), r;

    if (n < 0)
        return log_errno(n, "cannot read the log's directory");
    if (n > 0)
        segment_sweep(k->dirfd, segments[0]);
    r = keeper_compress(k, segments, (size_t)n);
    if (r == -ECANCELED)
        return r;
    /* A full disk may be why there is no room to compress in: retention goes on. */
    n = prune_choose(k->dirfd, &k->rule, k->segment, k->needed < k->now.size ? k->needed : k->now.size,
                     &ret->choice);
    if (n == 1)
        n = prune_check(k->dirfd, &k->now, &ret->choice, &k->stop) ?: 1;
    if (n < 0 && n != -ECANCELED && n != -EBADMSG)
        log_failed(LOG_WARNING, n, "cannot look after the log's retention");
    ret->prune = n == 1;
    return n < 0 ? n : r;
}

static int keeper_do_unlink(struct keeper *k)
{
    int r = segment_unlink(k->dirfd, k->segment);

    if (r < 0)
        log_failed(LOG_WARNING, r, "cannot delete a segment that retention lets go");
    return r;
}

static void *keeper_thread(void *arg)
{
    struct keeper *k = arg;

    (void)setpriority(PRIO_PROCESS, 0, KEEPER_NICE); /* on Linux that is this thread alone: setpriority(2) */
    if (digest_init() < 0)
        atomic_store(&k->stop, true);
    pthread_mutex_lock(&k->lock);
    for (;;) {
        while (k->state != KEEPER_LOOK && k->state != KEEPER_UNLINK && !atomic_load(&k->stop))
            pthread_cond_wait(&k->wake, &k->lock);
        if (atomic_load(&k->stop))
            break;
        bool look = k->state == KEEPER_LOOK;
        pthread_mutex_unlock(&k->lock);
        k->result = (struct keeper_result){.prune = false};
        k->result.error = look ? keeper_do_look(k) : keeper_do_unlink(k);
        pthread_mutex_lock(&k->lock);
        k->state = KEEPER_DONE;
        ev_async_send(k->loop, &k->async);
    }
    pthread_mutex_unlock(&k->lock);
    digest_done();
    return NULL;
}

static void keeper_on_async(struct ev_loop *loop, ev_async *w, int revents)
{
    struct keeper *k = w->data;
    bool done;

    (void)loop;
    (void)revents;
    pthread_mutex_lock(&k->lock);
    done = k->state == KEEPER_DONE;
    if (done)
        k->state = KEEPER_IDLE;
    pthread_mutex_unlock(&k->lock);
    if (done)
        k->done(k->self, &k->result);
}

/* Signals belong to the loop's thread. */
static int keeper_spawn(struct keeper *k)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    r = pthread_create(&k->thread, NULL, keeper_thread, k);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int keeper_new(struct ev_loop *loop, int dirfd, const struct prune_rule *rule,
               void (*done)(void *self, const struct keeper_result *r), void *self, struct keeper **ret)
{
    struct keeper *k = calloc(1, sizeof(*k));
    int r;

    if (!k)
        return -ENOMEM;
    k->loop = loop;
    k->dirfd = dirfd;
    k->rule = *rule;
    k->done = done;
    k->self = self;
    k->damaged = UINT64_MAX;
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->wake, NULL);
    ev_async_init(&k->async, keeper_on_async);
    k->async.data = k;
    r = keeper_spawn(k);
    if (r < 0) {
        free(k);
        return r;
    }
    ev_async_start(loop, &k->async);
    *ret = k;
    return 0;
}

static void keeper_start(struct keeper *k, enum keeper_state job, uint64_t segment)
{
    k->state = job;
    k->segment = segment;
    pthread_cond_signal(&k->wake);
}

void keeper_look(struct keeper *k, uint64_t open, uint64_t needed, const struct tiles *now)
{
    pthread_mutex_lock(&k->lock);
    k->now = *now;
    k->needed = needed;
    keeper_start(k, KEEPER_LOOK, open);
    pthread_mutex_unlock(&k->lock);
}

void keeper_unlink(struct keeper *k, uint64_t first)
{
    pthread_mutex_lock(&k->lock);
    keeper_start(k, KEEPER_UNLINK, first);
    pthread_mutex_unlock(&k->lock);
}

struct keeper *keeper_free(struct keeper *k)
{
    if (!k)
        return NULL;
    atomic_store(&k->stop, true);
    pthread_mutex_lock(&k->lock);
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    ev_async_stop(k->loop, &k->async);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->lock);
    free(k);
    return NULL;
}
