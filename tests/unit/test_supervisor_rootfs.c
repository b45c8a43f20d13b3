/* SPDX-License-Identifier: MIT */
/* What a cell sees of the host's files. As root everything runs a second time as an ordinary user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "supervisor/launch/etc_copy.h"
#include "tests/unit/supervisor_rig.h"

static struct suite suite;
static struct cell_run cell;

/* ---- /etc ---- */

static void names_of_secrets(void **state)
{
    static const char *const secret[] = {"shadow",  "shadow-",     "gshadow",    "ssh_host_ed25519_key",
                                         "private", "server.key",  "SERVER.KEY", "privkey.pem",
                                         "x.p12",   "krb5.keytab", "id_rsa",     "opasswd"};
    static const char *const open_[] = {
        "passwd", "ssh_host_ed25519_key.pub", "hosts", "keyboard", "ssl", "cert.pem", "known_hosts"};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(secret); i++)
        assert_true(etc_is_hidden(secret[i], S_IFREG | 0644));
    for (size_t i = 0; i < ARRAY_LEN(open_); i++)
        assert_false(etc_is_hidden(open_[i], S_IFREG | 0644));
    assert_true(etc_is_hidden("sudoers", S_IFREG | 0440));
    assert_true(etc_is_hidden("dir", S_IFDIR | 0750));
    assert_false(etc_is_hidden("dir", S_IFDIR | 0755));
    assert_true(etc_is_hidden("s", S_IFSOCK | 0666));
    assert_true(etc_is_hidden("f", S_IFIFO | 0666));
}

static void rows(void **state)
{
    _cleanup_(buf_done) struct buf b = {0};
    (void)state;

    buf_init(&b, 4096);
    assert_int_equal(
        etc_with_row(STR_LIT("root:x:0:0::/:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n"), 1000, ":x:1000", &b), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(etc_with_row(STR_LIT("root:x:0:0::/:/bin/sh"), 1000, ":x:1000:", &b), 1);
    assert_string_equal(buf_cstr(&b), "root:x:0:0::/:/bin/sh\ncell:x:1000:\n");
    buf_clear(&b);
    assert_int_equal(etc_with_row(STR_LIT("cell:x:7:\nshort\n:::\n"), 70, ":x:70:", &b), 1);
    assert_string_equal(buf_cstr(&b), "cell:x:7:\nshort\n:::\ncell-70:x:70:\n");
    buf_clear(&b);
    assert_int_equal(etc_with_row(STR_LIT(""), 0, ":x:0:", &b), 1);
    assert_string_equal(buf_cstr(&b), "cell:x:0:\n");
}

static void put(int dir, const char *name, unsigned mode)
{
    int fd = openat(dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static bool is_whiteout(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
           st.st_rdev == makedev(0, 0);
}

static void layer(void **state)
{
    const struct userns_workload ids = {0, 0, 4321, 4321};
    char path[128];
    struct fault f = {};
    struct stat st;
    int etc, out;
    (void)state;

    snprintf(path, sizeof(path), "%s/etc", suite.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    etc = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof(path), "%s/layer", suite.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    out = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    put(etc, "shadow", 0644);
    put(etc, "plain", 0644);
    put(etc, "closed", 0640);
    put(etc, "hosts", 0600); /* ours wins */
    assert_int_equal(mkfifoat(etc, "fifo", 0666), 0);
    assert_int_equal(symlinkat("/run/x", etc, "resolv.conf"), 0);
    assert_int_equal(mkdirat(etc, "a", 0755) | mkdirat(etc, "a/b", 0755) | mkdirat(etc, "empty", 0755) |
                         mkdirat(etc, "shut", 0700),
                     0);
    put(etc, "a/b/c.key", 0644);
    put(etc, "a/fine", 0644);
    assert_int_equal(etc_build_layer(etc, out, &ids, &f), 0);
    assert_true(is_whiteout(out, "shadow"));
    assert_true(is_whiteout(out, "closed"));
    assert_true(is_whiteout(out, "fifo"));
    assert_true(is_whiteout(out, "shut"));
    assert_true(is_whiteout(out, "a/b/c.key"));
    assert_int_equal(fstatat(out, "plain", &st, 0), -1);
    assert_int_equal(fstatat(out, "a/fine", &st, 0), -1);
    assert_int_equal(fstatat(out, "empty", &st, 0), -1); /* nothing hidden below: no twin */
    assert_int_equal(fstatat(out, "a/b", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(fstatat(out, "hosts", &st, 0), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(fstatat(out, "resolv.conf", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(fstatat(out, "passwd", &st, 0), 0); /* 4321 had no row */
    /* Where no overlay can be had, the same layer is completed by copying. */
    assert_int_equal(etc_complete_layer(etc, out, &f), 0);
    assert_int_equal(fstatat(out, "shadow", &st, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(fstatat(out, "fifo", &st, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(fstatat(out, "shut", &st, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(fstatat(out, "a/b/c.key", &st, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(fstatat(out, "plain", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(fstatat(out, "a/fine", &st, 0), 0);
    assert_int_equal(fstatat(out, "empty", &st, 0), 0);
    assert_int_equal(fstatat(out, "resolv.conf", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode)); /* still ours */
    close(etc);
    close(out);
    snprintf(path, sizeof(path), "%s/etc", suite.dir);
    rig_remove(path);
    snprintf(path, sizeof(path), "%s/layer", suite.dir);
    rig_remove(path);
}

/* ---- live cells ---- */

static struct str ro[4], rw[4], argv_[3];

/* Runs `sh -c script`; the output is in cell.text. */
static int sh(const char *script)
{
    argv_[0] = STR_LIT("sh");
    argv_[1] = STR_LIT("-c");
    argv_[2] = str_of(script);
    cell.launch.argv = (struct strs){argv_, 3};
    return cell_run_all(&suite, &cell);
}

static int setup(void **state)
{
    (void)state;
    cell_run_init(&cell, NULL, 0);
    memset(ro, 0, sizeof(ro));
    memset(rw, 0, sizeof(rw));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cell_run_done(&cell);
    return 0;
}

static void expect_text(int r, const char *want)
{
    if (r < 0)
        fail_msg("%d: %s: %s", r, cell.stage, cell.why);
    assert_string_equal(cell.text, want);
}

static void host_files(void **state)
{
    (void)state;
    expect_text(
        sh("cat /etc/resolv.conf /etc/hostname; grep -c cell-one /etc/hosts; grep hosts: /etc/nsswitch.conf;"
           "for f in /etc/shadow /etc/gshadow /etc/ssl/private /etc/sudoers /opt /srv /mnt /boot /var/lib "
           "/root/.bashrc; do"
           " test -e $f && echo $f; done; id -un >/dev/null && echo named; ls /home /root /run /tmp;"
           "for f in /x /usr/x /etc/x /dev/x /var/x /sys/x; do touch $f 2>/dev/null && echo wrote $f; done;"
           "for f in /tmp/x /run/x /dev/shm/x; do touch $f || echo not $f; done; hostname; pwd;"
           "cat /etc/ssl/certs/ca-certificates.crt 2>/dev/null | head -c 0"),
        "nameserver 127.0.0.1\noptions attempts:1 edns0\ncell-one\n2\nhosts: files "
        "dns\nnamed\n/home:\n\n/root:\n\n/run:\n\n/tmp:\ncell-one\n/\n");
}

static void mounts(void **state)
{
    (void)state;
    /* Everything nosuid; the cell's own settings are not for the workload; PID 1 is invisible. */
    expect_text(
        sh("grep -vc nosuid /proc/self/mountinfo; echo 0 2>/dev/null >/proc/sys/net/ipv4/ip_forward || echo "
           "ro;"
           "ls -d /proc/1 2>/dev/null; cat /proc/1/environ 2>/dev/null; grep -c cgroup2 /proc/self/mountinfo;"
           "ls /dev | tr '\\n' ' '; test -w /dev/null && echo; ls /dev/pts"),
        "0\nro\n0\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero \nptmx\n");
}

static void tmpfs_is_bounded(void **state)
{
    (void)state;
    cell.launch.tmpfs_max_bytes = 1u << 20;
    expect_text(sh("for d in /tmp /run /dev/shm; do head -c 2000000 /dev/zero >$d/x 2>/dev/null && echo all; "
                   "wc -c <$d/x; done"),
                "1048576\n1048576\n1048576\n");
}

static void working_directory(void **state)
{
    (void)state;
    cell.launch.working_directory = STR_LIT("/work/dir");
    cell.launch.working_directory_tmpfs = true;
    expect_text(sh("pwd; touch x && ls; touch ../y 2>/dev/null || echo no"), "/work/dir\nx\nno\n");
}

static void working_directory_over_system(void **state)
{
    (void)state;
    cell.launch.working_directory = STR_LIT("/usr/share");
    cell.launch.working_directory_tmpfs = true;
    expect_text(sh("pwd; ls; touch x && ls"), "/usr/share\nx\n");
}

/* ---- binds ---- */

static char data[96], data_file[128], data_link[128];

static void make_data(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char path[160];
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dir;

    snprintf(data, sizeof(data), "%s/data", suite.dir);
    snprintf(data_file, sizeof(data_file), "%s/file", data);
    snprintf(data_link, sizeof(data_link), "%s/link", suite.dir);
    assert_int_equal(mkdir(data, 0755), 0);
    assert_int_equal(chmod(suite.dir, 0755), 0);
    dir = open(data, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    put(dir, "file", 0644);
    assert_int_equal(mkdirat(dir, "deep", 0755) | mkdirat(dir, "open", 0777), 0);
    assert_int_equal(fchmodat(dir, "open", 0777, 0), 0);
    assert_int_equal(mkfifoat(dir, "deep/fifo", 0666), 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/deep/sock", data);
    assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
    close(s);
    snprintf(path, sizeof(path), "data");
    assert_int_equal(symlink(path, data_link), 0);
    close(dir);
}

static void bind_read_only(void **state)
{
    char script[1024];
    (void)state;

    ro[0] = str_of(data);
    cell.launch.read_only = (struct strs){ro, 1};
    snprintf(script, sizeof(script),
             "cd %s; ls; touch file new open/x 2>/dev/null && echo wrote; cd deep; stat -c '%%F %%s %%a' "
             "fifo sock; test -S sock && echo S; ls ..",
             data);
    expect_text(sh(script),
                "deep\nfile\nopen\nregular empty file 0 0\nregular empty file 0 0\ndeep\nfile\nopen\n");
}

static void bind_read_write(void **state)
{
    char script[512], open_dir[128], host[160];
    struct stat st;
    (void)state;

    snprintf(open_dir, sizeof(open_dir), "%s/open", data);
    rw[0] = str_of(open_dir);
    ro[0] = str_of(data);
    cell.launch.read_only = (struct strs){ro, 1};
    cell.launch.read_write = (struct strs){rw, 1};
    snprintf(script, sizeof(script), "echo hi > %s/made && cat %s/made; touch %s/no 2>/dev/null || echo ro",
             open_dir, open_dir, data);
    expect_text(sh(script), "hi\nro\n");
    snprintf(host, sizeof(host), "%s/made", open_dir);
    assert_int_equal(stat(host, &st), 0);
    assert_int_not_equal(st.st_uid, 0); /* never host root */
    assert_int_equal(unlink(host), 0);
}

static void bind_file_and_link(void **state)
{
    char script[512], through[160];
    (void)state;

    snprintf(through, sizeof(through), "%s/file", data_link);
    ro[0] = str_of(data_file);
    ro[1] = str_of(through); /* resolved once, and at the path that was asked for */
    cell.launch.read_only = (struct strs){ro, 2};
    snprintf(script, sizeof(script), "ls %s %s; test -f %s && echo file", data, data_link, through);
    char want[512];
    snprintf(want, sizeof(want), "%s:\nfile\n\n%s:\nfile\nfile\n", data, data_link);
    expect_text(sh(script), want);
}

static void bind_below_tmp_hides_siblings(void **state)
{
    char script[256];
    (void)state;

    ro[0] = str_of(data_file);
    cell.launch.read_only = (struct strs){ro, 1};
    snprintf(script, sizeof(script), "ls %s; touch /tmp/ok && echo ok", suite.dir);
    expect_text(sh(script), "data\nok\n");
}

static void refused(const char *path, bool write)
{
    cell_run_done(&cell);
    setup(NULL);
    ro[0] = str_of(path);
    if (write)
        cell.launch.read_write = (struct strs){ro, 1};
    else
        cell.launch.read_only = (struct strs){ro, 1};
    assert_int_equal(sh("echo ran"), -EREMOTEIO);
    assert_true(cell.failed);
    assert_string_equal(cell.stage, "files");
    assert_non_null(strstr(cell.why, path));
    assert_int_equal(cell.len, 0);
}

static void suite_directories_are_refused(void **state)
{
    char key[128], link[128];
    int dir = open(suite.state, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    (void)state;

    put(dir, "signing.key", 0600);
    close(dir);
    snprintf(key, sizeof(key), "%s/signing.key", suite.state);
    snprintf(link, sizeof(link), "%s/data/innocent", suite.dir);
    assert_int_equal(symlink(suite.state, link), 0);
    for (int write = 0; write < 2; write++) {
        refused(key, write);
        refused(suite.state, write);
        refused(suite.dir, write); /* contains it */
        refused("/tmp", write);
        refused(link, write);
    }
    assert_int_equal(unlink(link), 0);
}

static void odd_paths_are_refused(void **state)
{
    char sock[160];
    (void)state;

    snprintf(sock, sizeof(sock), "%s/deep/sock", data);
    refused(sock, true);
    snprintf(sock, sizeof(sock), "%s/deep/fifo", data);
    refused(sock, false);
    snprintf(sock, sizeof(sock), "%s/../data", data);
    refused(sock, false);
    refused("/", false);
    refused("/proc", false);
    refused("/proc/self/root/usr", false);
    refused("/sys", true);
    refused("/sys/layer", true); /* the stage */
    refused("/nonexistent/x", false);
    refused("/dev/null", true);
}

/* A file the caller opened for reading only cannot be opened for writing through /proc/self/fd, though it is
 * the caller's own. */
static void standard_files_keep_their_mode(void **state)
{
    (void)state;
    cell.in = open(data_file, O_RDONLY | O_CLOEXEC);
    int r = sh("cat /dev/stdin; echo x 2>/dev/null >> /proc/self/fd/0 && echo wrote; echo y >/dev/stdout; "
               "echo z >/dev/stderr");
    close(cell.in);
    if (cell.landlock > 0)
        expect_text(r, "y\nz\n");
}

/* A directory as stdin would lead out: openat(0, ..). */
static void no_directory_as_standard_file(void **state)
{
    (void)state;
    for (int path_only = 0; path_only < 2; path_only++) {
        cell_run_done(&cell);
        setup(NULL);
        cell.in = open("/", path_only ? O_PATH | O_CLOEXEC : O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(sh("echo ran"), -EREMOTEIO);
        assert_non_null(strstr(cell.why, "standard fd 0"));
        close(cell.in);
    }
}

static int group_setup(void **state)
{
    int r;
    (void)state;

    r = suite_start(&suite);
    if (r < 0) {
        print_error("the zygote does not start: %s\n", suite.fault.text);
        return -1;
    }
    make_data();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    suite_stop(&suite);
    return 0;
}

#define LIVE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_secrets),
        cmocka_unit_test(rows),
        cmocka_unit_test(layer),
        LIVE(host_files),
        LIVE(mounts),
        LIVE(tmpfs_is_bounded),
        LIVE(working_directory),
        LIVE(working_directory_over_system),
        LIVE(bind_read_only),
        LIVE(bind_read_write),
        LIVE(bind_file_and_link),
        LIVE(bind_below_tmp_hides_siblings),
        LIVE(suite_directories_are_refused),
        LIVE(odd_paths_are_refused),
        LIVE(standard_files_keep_their_mode),
        LIVE(no_directory_as_standard_file),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], ZYGOTE_ARG) == 0)
        return zygote_main(argc, argv);
    return rig_as_both(run_all);
}
