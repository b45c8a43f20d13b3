/* SPDX-License-Identifier: MIT */
/* Random lives of signerd's log against the naive model: cells of several runs, three roles, full disks and
 * room again, failing disks, ends and starts, kill -9 and losses of power in between, both seal modes. Every
 * life has a seed, which is printed when something is wrong; CELLOS_MODEL_SEED=n tries that one alone,
 * CELLOS_MODEL_RUNS=n so many. */
#undef _FORTIFY_SOURCE
#include "tests/unit/fault_calls.h"

#include "tests/unit/signerd_history.h"

#define MODEL_RUNS  100
#define MODEL_STEPS 60
#define MODEL_CELLS 5

struct model_cell {
    char run_id[UUID_TEXT_LEN + 1]; /* empty: none */
    char name[16];
};

struct model {
    struct rig r;
    struct journal journal;
    struct rng g;
    uint64_t seed;
    int first_dir; /* the rig's own log directory, while the life goes on in another */
    unsigned steps;
    struct model_cell cell[MODEL_CELLS];
    uint64_t counts[8]; /* what was done: shown at the end */
};

enum { DID_CLAIM, DID_REFUSED, DID_RESTART, DID_CRASH, DID_FULL, DID_DEAD, DID_ADOPT };

static const struct fault_plan troubles[] = {
    {.calls = FAULT_WRITE, .from = 1, .err = ENOSPC},
    {.calls = FAULT_ALLOCATE, .from = 1, .err = ENOSPC},
    {.calls = FAULT_RENAME, .from = 1, .err = EDQUOT},
    {.calls = FAULT_OPEN, .from = 1, .err = ENOSPC, .creates_only = true},
    {.calls = FAULT_WRITE | FAULT_ALLOCATE | FAULT_OPEN, .from = 2, .err = ENOSPC, .creates_only = true},
    {.calls = FAULT_READ | FAULT_WRITE | FAULT_ALLOCATE, .storm = true, .halves = true},
};

/* ---- cells ---- */

static struct cell *model_find(struct model *m, const struct model_cell *c)
{
    return c->run_id[0] ? cells_find(m->r.cells, str_of(c->run_id)) : NULL;
}

static struct cell *model_add(struct model *m, const struct model_cell *c)
{
    struct cells_open o = {.run_id = str_of(c->run_id), .cell_id = str_of(c->name)};
    struct cell *cell;

    assert_int_equal(cells_add(m->r.cells, &o, &cell), 0);
    return cell;
}

static struct cell *model_cell(struct model *m)
{
    struct model_cell *c = &m->cell[rng_below(&m->g, MODEL_CELLS)];
    struct cell *cell = model_find(m, c);

    if (cell)
        return cell;
    uuid_v7(c->run_id);
    (void)snprintf(c->name, sizeof(c->name), "cell-%zu", (size_t)(c - m->cell));
    return model_add(m, c);
}

/* How many lines a run has, and whether its end is among them: counted the slow way. */
static uint64_t model_count(struct model *m, const struct model_cell *c, bool *ret_destroyed)
{
    struct lines_of l;
    uint64_t n = 0;

    lines_read(m->r.log_dir, &l);
    *ret_destroyed = false;
    for (size_t i = 0; i < l.n; i++) {
        struct envelope e = lines_event(&l, i);

        if (!e.runid.p || !str_is(e.runid, c->run_id))
            continue;
        n++;
        *ret_destroyed |= memmem(e.type.p, e.type.len, ".destroyed", 10) != NULL;
    }
    lines_done(&l);
    return n;
}

/* After a start the supervisor opens its cells again, and they go on where the log left them. */
static void model_adopt(struct model *m)
{
    for (size_t i = 0; i < MODEL_CELLS; i++) {
        struct model_cell *c = &m->cell[i];
        struct elog_run run;
        bool destroyed;

        if (!c->run_id[0])
            continue;
        uint64_t lines = model_count(m, c, &destroyed);
        int known = elog_find_run(m->r.log, str_of(c->run_id), 0, &run);
        assert_int_equal(known, lines > 0);
        if (known && (run.cellsequence != lines || run.destroyed != destroyed))
            fail_msg("%s: the run has %llu lines, found were %llu", history_where, (unsigned long long)lines,
                     (unsigned long long)run.cellsequence);
        if (destroyed || rng_below(&m->g, 4) == 0) { /* or the supervisor has died as well */
            c->run_id[0] = '\0';
            continue;
        }
        struct cell *cell = model_add(m, c);
        if (known)
            elog_adopt(m->r.log, cell, &run);
        m->counts[DID_ADOPT]++;
    }
}

/* ---- starts and ends ---- */

static void model_open(struct model *m)
{
    m->r.failed = 0;
    m->r.config.seal = rng_below(&m->g, 2) ? SEAL_BATCH : SEAL_EVENT;
    if (rig_open(&m->r) < 0) { /* in trouble it may not start; without it must */
        faults_plan((struct fault_plan){.calls = 0});
        m->r.log = NULL;
        assert_int_equal(rig_open(&m->r), 0);
    }
    rig_flush(&m->r);
    if (m->r.failed == 0)
        model_adopt(m);
}

static void model_restart(struct model *m)
{
    rig_close(&m->r);
    model_open(m);
    m->counts[DID_RESTART]++;
}

/* The process or the machine stops at some call since the last start; what is left of the directory is
 * recovered, held against the model, and the life goes on in it. */
static void model_crash(struct model *m)
{
    enum loss loss = (enum loss)rng_below(&m->g, _LOSS_MAX);
    struct image im;
    char name[16], path[96];

    rig_close(&m->r);
    faults_stop();
    size_t cut = m->journal.nops ? m->journal.nops - (size_t)rng_below(&m->g, m->journal.nops + 1) / 4 : 0;
    (void)snprintf(history_where, sizeof(history_where), "seed %llu, step %u, call %zu of %zu, loss %d",
                   (unsigned long long)m->seed, m->steps, cut, m->journal.nops, (int)loss);
    journal_image(&m->journal, cut, loss, &m->g, &im);
    if (m->r.log_dir != m->first_dir)
        close(m->r.log_dir);
    (void)snprintf(name, sizeof(name), "life-%u", m->steps);
    (void)snprintf(path, sizeof(path), "%s/%s", m->r.dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
    m->r.log_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(m->r.log_dir >= 0);
    image_store(&m->journal, &im, m->r.log_dir);
    image_done(&im);
    history_forget(&m->journal, cut);
    history_recover(&m->r, NULL, 0);
    journal_done(&m->journal);
    history_record(&m->journal, m->r.log_dir);
    model_open(m);
    m->counts[DID_CRASH]++;
}

/* ---- steps ---- */

static void model_claims(struct model *m)
{
    unsigned n = 1 + (unsigned)rng_below(&m->g, 6);

    while (n-- > 0) {
        static const enum history_what what[] = {CLAIM_STARTED, CLAIM_L7,        CLAIM_L7,
                                                 CLAIM_L7,      CLAIM_COMPLETED, CLAIM_DESTROYED};
        size_t before = history.n;

        history_attempt(&m->r, what[rng_below(&m->g, ARRAY_LEN(what))], model_cell(m));
        if (history.n > before)
            m->counts[history.e[before].submitted ? DID_CLAIM : DID_REFUSED]++;
    }
}

static void model_trouble(struct model *m)
{
    struct fault_plan p = {.calls = FAULT_ALL, .from = 1 + rng_below(&m->g, 20), .n = 1, .err = EIO};

    if (rng_below(&m->g, 4) > 0)
        p = troubles[rng_below(&m->g, ARRAY_LEN(troubles))];
    faults_plan(p);
    m->counts[DID_FULL]++;
}

static void model_step(struct model *m)
{
    switch (rng_below(&m->g, 16)) {
    case 0:
        model_restart(m);
        break;
    case 1:
        model_crash(m);
        break;
    case 2:
        model_trouble(m);
        break;
    case 3:
        faults_plan((struct fault_plan){.calls = 0});
        fault_clock.boot_s += 2; /* a full disk is tried again */
        break;
    case 4:
        fault_clock.day_s += (int64_t)rng_below(&m->g, 7) * 86400 - 3 * 86400;
        break;
    default:
        model_claims(m);
        if (rng_below(&m->g, 3) > 0)
            rig_flush(&m->r);
    }
    if (m->r.failed && m->r.failed != -ENOSPC) { /* the process ends, and is started again */
        m->counts[DID_DEAD]++;
        faults_plan((struct fault_plan){.calls = 0});
        if (rng_below(&m->g, 2))
            model_crash(m);
        else
            model_restart(m);
    }
}

static void model_life(uint64_t seed, uint64_t *counts)
{
    struct model m = {.g = {.s = seed}, .seed = seed};

    rig_init_fast(&m.r);
    m.first_dir = m.r.log_dir;
    history_begin();
    (void)snprintf(history_where, sizeof(history_where), "seed %llu", (unsigned long long)seed);
    history_record(&m.journal, m.r.log_dir);
    model_open(&m);
    for (; m.steps < MODEL_STEPS; m.steps++)
        model_step(&m);
    faults_plan((struct fault_plan){.calls = 0});
    rig_close(&m.r);
    faults_stop();
    (void)snprintf(history_where, sizeof(history_where), "seed %llu, at the end", (unsigned long long)seed);
    history_recover(&m.r, NULL, 0);
    journal_done(&m.journal);
    fault_clock.day_s = 0;
    for (size_t i = 0; i < ARRAY_LEN(m.counts); i++)
        counts[i] += m.counts[i];
    if (m.r.log_dir != m.first_dir)
        close(m.first_dir);
    history_end();
    rig_done(&m.r);
}

static void test_random_lives(void **state)
{
    const char *seed = getenv("CELLOS_MODEL_SEED"), *runs = getenv("CELLOS_MODEL_RUNS");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1, n = seed   ? 1
                                                              : runs ? strtoull(runs, NULL, 10)
                                                                     : MODEL_RUNS;
    uint64_t counts[8] = {0};

    (void)state;
    for (uint64_t i = 0; i < n; i++)
        model_life(first + i, counts);
    print_message(
        "seeds %llu to %llu: %llu claims, %llu refused, %llu restarts, %llu crashes, %llu troubles, "
        "%llu deaths, %llu cells went on\n",
        (unsigned long long)first, (unsigned long long)(first + n - 1), (unsigned long long)counts[DID_CLAIM],
        (unsigned long long)counts[DID_REFUSED], (unsigned long long)counts[DID_RESTART],
        (unsigned long long)counts[DID_CRASH], (unsigned long long)counts[DID_FULL],
        (unsigned long long)counts[DID_DEAD], (unsigned long long)counts[DID_ADOPT]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
