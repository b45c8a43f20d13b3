/* SPDX-License-Identifier: MIT */
/* Everything cellctl verify reads of a foreign log: segments, lines, envelopes, their DSSE material, data
 * objects, checkpoints, keys. Input: a byte that chooses, then the bytes of one file. */
#include <stdlib.h>

#include "common/base/io.h"
#include "common/evidence/json_check.h"
#include "common/evidence/log_check.h"
#include "common/evidence/log_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct keyring ring;
static struct vkey key;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    uint8_t seed[ED25519_SEED_LEN] = {1}, secret[ED25519_SECRET_LEN], public[ED25519_PUBLIC_LEN];

    (void)argc;
    (void)argv;
    if (ed25519_init() < 0 || digest_init() < 0)
        return 1;
    ed25519_from_seed(seed, public, secret);
    vkey_from_public(public, &key);
    keyring_one(&ring, &key);
    return 0;
}

/* What the parser takes, the writer gives back byte for byte. */
static void fuzz_line(struct str line)
{
    struct log_check_line judged;
    struct str member;

    log_check_alone(line, &ring, NULL, &judged);
    if (judged.error == ENVELOPE_E_FORM || judged.error == ENVELOPE_E_DATA)
        return;
    if (!json_check_object(judged.parsed.e.data) || envelope_check(&judged.parsed.e) != 0)
        abort();
    (void)!json_check_member(judged.parsed.e.data, "runId", &member);
}

static void fuzz_reader(const uint8_t *data, size_t size)
{
    struct log_check *check = log_check_new(NULL);
    struct log_reader *reader;
    char why[LOG_CHECK_WHY_MAX];
    struct log_line l;
    uint64_t bytes = 0, lines = 0;
    int fd = io_memfd_sealed("log", data, size);

    if (fd < 0 || !check || log_reader_open_fd(fd, 0, &reader) < 0)
        abort();
    while (log_reader_next(reader, &l) == LOG_READ_LINE) {
        struct log_check_line judged;

        if (l.index != lines++ || l.offset != bytes || l.text.len > LOG_READER_LINE_MAX)
            abort();
        bytes += l.text.len + 1;
        fuzz_line(l.text);
        log_check_alone(l.text, &ring, NULL, &judged);
        if (log_check_next(check, &judged, why) == 0 && judged.error != ENVELOPE_OK)
            abort();
    }
    if (bytes > size)
        abort();
    log_reader_free(reader);
    log_check_free(check);
}

static void fuzz_vkey(struct str s)
{
    struct buf again;
    struct vkey k;

    if (vkey_parse(s, &k) < 0)
        return;
    buf_init(&again, CHECKPOINT_VKEY_MAX);
    vkey_render(&k, &again);
    if (!str_eq(buf_str(&again), s))
        abort();
    buf_done(&again);
}

static void fuzz_material(struct str s)
{
    struct dsse_material m;
    struct buf again;

    if (dsse_material_parse(s, &m) < 0)
        return;
    buf_init(&again, DSSE_MATERIAL_MAX);
    if (dsse_material_render(&m, &again) < 0 || !str_eq(buf_str(&again), s))
        abort();
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct keyring_key *signer;
    struct checkpoint c;
    struct str s;

    if (size < 1)
        return 0;
    s = (struct str){(const char *)data + 1, size - 1};
    switch (data[0] % 6) {
    case 0:
        fuzz_reader(data + 1, size - 1);
        break;
    case 1:
        fuzz_line(s);
        break;
    case 2:
        (void)!checkpoint_open(s, &key, &c);
        (void)!checkpoint_open_ring(s, &ring, &c, &signer);
        break;
    case 3:
        fuzz_vkey(s);
        break;
    case 4:
        fuzz_material(s);
        break;
    default:
        (void)json_check_object(s);
    }
    return 0;
}
