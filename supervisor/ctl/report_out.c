/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/report_out.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "supervisor/ctl/outfile.h"

static int open_file(struct report_out *o, const char *path)
{
    if (outfile_place_ok(path) < 0)
        return -EEXIST;
    if (snprintf(o->path, sizeof(o->path), "%s", path) >= (int)sizeof(o->path))
        return -ENAMETOOLONG;
    (void)snprintf(o->temporary, sizeof(o->temporary), "%s.XXXXXX", o->path);
    int fd = mkostemp(o->temporary, O_CLOEXEC);
    if (fd < 0) {
        int e = -errno;
        o->temporary[0] = '\0';
        return e;
    }
    o->file = fdopen(fd, "w");
    if (!o->file) {
        close(fd);
        return -ENOMEM;
    }
    return 0;
}

int report_out_open(struct report_out *o, const char *path)
{
    *o = (struct report_out){.file = NULL};
    if (strcmp(path, "-") != 0)
        return open_file(o, path);
    o->file = stdout;
    return 0;
}

/* What evidence says is not for everybody unless its owner says so: mkostemp's mode 0600 stays. */
int report_out_close(struct report_out *o)
{
    bool bad = ferror(o->file) != 0 || fflush(o->file) != 0;
    int e = bad ? -EIO : 0;
    if (o->path[0]) {
        if (e == 0 && fsync(fileno(o->file)) < 0)
            e = -errno;
        if (fclose(o->file) != 0 && e == 0)
            e = -EIO;
        o->file = NULL;
        if (e == 0 && rename(o->temporary, o->path) < 0)
            e = -errno;
        if (e == 0)
            o->temporary[0] = '\0';
    }
    return e;
}

void report_out_done(struct report_out *o)
{
    if (o->path[0] && o->file)
        (void)fclose(o->file);
    if (o->temporary[0])
        (void)unlink(o->temporary);
    *o = (struct report_out){.file = NULL};
}

void report_put_text(FILE *f, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (strchr("<>&\"'", *p) || ((unsigned char)*p < 0x20 && *p != '\n' && *p != '\t'))
            (void)fprintf(f, "&#%d;", *p);
        else
            (void)putc(*p, f);
    }
}

/* Runs of plain bytes are written at once: a page may hold a hundred megabytes. */
void report_put_quoted(FILE *f, struct str text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != '<')
            continue;
        (void)fwrite(text.p + from, 1, i - from, f);
        from = i + 1;
        if (c == '"' || c == '\\')
            (void)fprintf(f, "\\%c", c);
        else
            (void)fprintf(f, "\\u%04x", c);
    }
    (void)fwrite(text.p + from, 1, text.len - from, f);
}

int report_put_json(FILE *f, const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (!text)
        return -ENOMEM;
    for (const char *p = text; *p; p++) /* outside of strings JSON has no "<" */
        if (*p == '<')
            (void)fputs("\\u003c", f);
        else
            (void)putc(*p, f);
    free(text);
    return 0;
}
