/* SPDX-License-Identifier: MIT */
#include "signerd/commit.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>

#include "common/evidence/digest.h"

enum commit_state { COMMIT_IDLE, COMMIT_WORK, COMMIT_DONE };

struct commit {
    struct ev_loop *loop;
    struct disk *disk;
    void (*done)(void *self, int err);
    void *self;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    ev_async async;
    /* under lock */
    enum commit_state state;
    struct disk_batch batch;
    int err;
    bool stop;
};

static void *commit_thread(void *arg)
{
    struct commit *c = arg;

    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (c->state != COMMIT_WORK && !c->stop)
            pthread_cond_wait(&c->wake, &c->lock);
        if (c->state != COMMIT_WORK)
            break;
        pthread_mutex_unlock(&c->lock);
        int err = disk_commit(c->disk, &c->batch);
        pthread_mutex_lock(&c->lock);
        c->err = err;
        c->state = COMMIT_DONE;
        ev_async_send(c->loop, &c->async);
        size_t note_len = c->batch.note.len;
        pthread_mutex_unlock(&c->lock);
        disk_prepare(c->disk, note_len);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    digest_done();
    return NULL;
}

static void commit_on_async(struct ev_loop *loop, ev_async *w, int revents)
{
    struct commit *c = w->data;
    bool done;
    int err;

    (void)loop;
    (void)revents;
    pthread_mutex_lock(&c->lock);
    done = c->state == COMMIT_DONE;
    err = c->err;
    if (done)
        c->state = COMMIT_IDLE;
    pthread_mutex_unlock(&c->lock);
    if (done)
        c->done(c->self, err);
}

/* Signals belong to the loop's thread. */
static int commit_spawn(struct commit *c)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    r = pthread_create(&c->thread, NULL, commit_thread, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int commit_new(struct ev_loop *loop, struct disk *disk, void (*done)(void *self, int err), void *self,
               struct commit **ret)
{
    struct commit *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->loop = loop;
    c->disk = disk;
    c->done = done;
    c->self = self;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    ev_async_init(&c->async, commit_on_async);
    c->async.data = c;
    r = commit_spawn(c);
    if (r < 0) {
        free(c);
        return r;
    }
    ev_async_start(loop, &c->async);
    *ret = c;
    return 0;
}

void commit_start(struct commit *c, const struct disk_batch *b)
{
    pthread_mutex_lock(&c->lock);
    assert(c->state == COMMIT_IDLE);
    c->batch = *b;
    c->state = COMMIT_WORK;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

struct commit *commit_free(struct commit *c)
{
    if (!c)
        return NULL;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    ev_async_stop(c->loop, &c->async);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}
