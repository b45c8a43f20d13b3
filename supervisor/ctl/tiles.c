/* SPDX-License-Identifier: MIT */
/* cellctl tiles: a log as static files for any web server (c2sp.org/tlog-tiles). */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/evidence/log_reader.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/logdir.h"
#include "supervisor/ctl/prover.h"
#include "supervisor/ctl/tile_tree.h"

#define VERB "tiles"
#define TILES_HELP                                                                                           \
    "usage: cellctl tiles LOG DIR\n\n"                                                                       \
    "Writes the log LOG into DIR as a C2SP tlog-tiles log: checkpoint, tile/<L>/<N> and tile/entries/<N>,\n" \
    "with partial tiles, to be served by any web server and read by any tlog-tiles client. A second time\n"  \
    "only what came since is written. The checkpoint comes last, once the tiles lead to the root it "        \
    "signs;\n"                                                                                               \
    "a DIR of another log, or of one that was cut or rewritten, is refused.\n\n"                             \
    "Exit status: 0 done, 2 something cannot be read or written, 4 LOG does not continue what is in DIR "    \
    "or\n"                                                                                                   \
    "does not hold what its checkpoint signs, 1 usage.\n"

static int tiles_open_dir(const char *path)
{
    _cleanup_close_ int fd = -EBADF;

    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return ctl_fail(-CTL_FAILED, VERB, "cannot make %s: %s", path, strerror(errno));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ctl_fail(-CTL_FAILED, VERB, "cannot open %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return ctl_fail(-CTL_FAILED, VERB, "another `cellctl tiles` is writing to %s", path);
    return TAKE_FD(fd);
}

/* A log, or a copy of one, is signerd's: a checkpoint put in the place of its own could be an older one. */
static int tiles_no_log(const char *path, int fd)
{
    _cleanup_free_ uint64_t *segments = NULL;
    int n = log_reader_segments(fd, &segments);

    if (n < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot read %s: %s", path, strerror(-n));
    return n == 0 ? CTL_OK
                  : ctl_fail(CTL_USAGE, VERB,
                             "%s is a log itself: the tiles go into a directory of their own", path);
}

/* What DIR holds already must be a beginning of the log. */
static int tiles_before(struct tile_tree *t, struct prover *p)
{
    _cleanup_(buf_done) struct buf note = {.data = NULL};
    struct checkpoint old;
    struct proof proof;
    int r;

    buf_init(&note, CHECKPOINT_NOTE_MAX);
    r = log_verify_read_file(t->dir, "checkpoint", &note);
    if (r == -ENOENT)
        return CTL_OK;
    if (r < 0)
        return ctl_fail(CTL_FAILED, VERB, "cannot read %s/checkpoint: %s", t->path, strerror(-r));
    if (!loghead_is_ours(t->head, buf_str(&note), &old))
        return ctl_fail(CTL_TAMPERED, VERB, "%s holds another log: its checkpoint is not of %s", t->path,
                        t->head->checkpoint.origin);
    r = prover_extends(p, &old, &t->head->checkpoint, &proof);
    if (r == CTL_OK)
        t->from = old.size;
    return r;
}

static int tiles_write(const char *log, const char *dir)
{
    _cleanup_(prover_freep) struct prover *p = NULL;
    _cleanup_close_ int out = -EBADF;
    struct tile_tree t = {.verb = VERB, .log_path = log, .path = dir};
    int r = prover_open(VERB, log, &p);

    if (r != CTL_OK)
        return r;
    out = tiles_open_dir(dir);
    if (out < 0)
        return -out;
    t.dir = out;
    t.head = prover_head(p);
    r = tiles_no_log(dir, out);
    if (r == CTL_OK)
        r = tiles_before(&t, p);
    if (r == CTL_OK)
        r = tile_tree_write(&t);
    if (r == CTL_OK)
        (void)printf("%s: %" PRIu64 " events, of which %" PRIu64 " written now, in %" PRIu64 " tiles\n", dir,
                     t.head->checkpoint.size, t.entries, t.tiles);
    return r;
}

static int tiles_run(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return ctl_fail(CTL_USAGE, VERB, "unknown flag %s: see `cellctl tiles --help`", argv[i]);
    if (argc != 3)
        return ctl_fail(CTL_USAGE, VERB, "a log and a directory to write to: see `cellctl tiles --help`");
    return tiles_write(argv[1], argv[2]);
}

const struct ctl_verb ctl_verb_tiles = {
    VERB,
    "write a log as C2SP tlog-tiles, for a web server",
    TILES_HELP,
    tiles_run,
};
