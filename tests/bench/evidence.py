# SPDX-License-Identifier: MIT
"""Evidence: signed and durable events a second, acknowledgement, verification and size, beside this machine's own limits in the
same run: libsodium's signatures, SHA-256, one fdatasync, the bare JSON. Then what people use instead."""
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import evidence_peers
from measure import BIN, ENV, STATE, table

PROGRAM = BIN.parent / "bench" / "evidence"
ROUNDS = int(os.environ.get("EVIDENCE_ROUNDS", "3"))
# Fewer than LIMIT_UNSIGNED: once so many signatures wait, seal batch is as fast as they are made.
COUNT = int(os.environ.get("EVIDENCE_EVENTS", "100000"))
SEGMENT = 64 << 20
DSSE = re.compile(rb',"dssematerial":"[A-Za-z0-9+/=]*"')


def program(*args):
    r = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=600)
    if r.returncode != 0:
        raise SystemExit("bench/evidence %s: %s" % (" ".join(map(str, args)), r.stderr))
    return json.loads(r.stdout)


def line(seal, count=COUNT, rate=0, segment=SEGMENT):
    """One signerd on core 0, its claims from core 1."""
    d = Path(tempfile.mkdtemp(dir=STATE))
    os.sync()  # what the run before has still to write is not this one's
    return program("line", BIN / "cellos-signerd", d, seal, count, rate, segment), d


def median(values):
    return statistics.median(values)


def verify(d, events):
    t = time.perf_counter()
    r = subprocess.run([BIN / "cellctl", "verify", "--key", d / "keys/signing.vkey", d / "log"], env=ENV, capture_output=True, text=True)
    if r.returncode != 0:
        raise SystemExit("verify: " + r.stdout + r.stderr)
    return events / (time.perf_counter() - t)


def bare_bytes(log):
    """The JSON of the events without their signatures, of a log whatever its form."""
    total = 0
    for f in sorted(log.iterdir()):
        if f.name.endswith(".jsonl"):
            total += len(DSSE.sub(b"", f.read_bytes()))
        elif f.name.endswith(".zst"):
            data = subprocess.run(["zstd", "-dcq", f], capture_output=True, check=True).stdout
            total += len(DSSE.sub(b"", data))
    return total


def closed_ratio(seal):
    """Of segments that signerd has closed and compressed, with the signatures beside them."""
    _, d = line(seal, 60000, 0, 8 << 20)
    # What it did not get to before it ended is done by the next start, while a few more events come.
    program("line", BIN / "cellos-signerd", d, seal, 2000, 500, 8 << 20)
    zst = sorted(f for f in (d / "log").iterdir() if f.name.endswith(".zst"))
    if not zst:
        return None
    bare = sum(len(DSSE.sub(b"", subprocess.run(["zstd", "-dcq", f], capture_output=True, check=True).stdout)) for f in zst)
    kept = sum(f.stat().st_size for f in zst) + sum(s.stat().st_size for f in zst for s in (d / "log").glob(f.name[:20] + "-*.sig"))
    shutil.rmtree(d)
    return kept / bare


def measure():
    raws, runs, verified, latency = [], {"event": [], "batch": []}, {"event": [], "batch": []}, []
    for _ in range(ROUNDS):  # interleaved, so that all see the same machine
        os.sync()
        raws.append(program("raw", STATE))
        for seal in runs:
            r, d = line(seal)
            runs[seal].append(r)
            verified[seal].append(verify(d, r["events"]))
            size = sum(f.stat().st_size for f in (d / "log").iterdir() if f.is_file())
            r["ratio"] = size / bare_bytes(d / "log")
            shutil.rmtree(d)
        r, d = line("event", 5000, 1000)
        latency.append(r)
        shutil.rmtree(d)
    raw = {k: median([r[k] for r in raws]) for k in raws[0]}
    per_second = {s: median([r["per_second"] for r in runs[s]]) for s in runs}
    cores = os.cpu_count()
    closed = {s: closed_ratio(s) for s in runs}
    p50, p99 = median([r["p50"] for r in latency]), median([r["p99"] for r in latency])
    rows = [
        ("seal event, events/s (signatures/s %.0f)" % raw["signs"], "%.0f" % per_second["event"],
         "%.2f x signing" % (per_second["event"] / raw["signs"]), ">= 0.75"),
        ("  CPU of signerd an event, us", "%.1f" % median([r["cpu_micros"] for r in runs["event"]]),
         "%.2f x signing" % (1e6 / median([r["cpu_micros"] for r in runs["event"]]) / raw["signs"]), ""),
        ("seal batch, events/s (SHA-256/s %.0f)" % raw["hashes"], "%.0f" % per_second["batch"],
         "%.2f x signing" % (per_second["batch"] / raw["signs"]), ">= 100000, >= 3"),
        ("  CPU with all signatures made afterwards, us", "%.1f" % median([r["cpu_micros"] for r in runs["batch"]]), "", ""),
        ("acknowledgement at 1000/s, p50 us (fdatasync %.0f)" % raw["sync_p50"], "%.0f" % p50, "%.1f x" % (p50 / raw["sync_p50"]), ""),
        ("  p50 of one fdatasync a millisecond, us", "%.0f" % raw["paced_p50"], "%.1f x" % (p50 / raw["paced_p50"]), ""),
        ("acknowledgement at 1000/s, p99 us (fdatasync %.0f)" % raw["sync_p99"], "%.0f" % p99, "%.1f x" % (p99 / raw["sync_p99"]), "<= 4"),
        ("  p99 of one fdatasync a millisecond, us", "%.0f" % raw["paced_p99"], "%.1f x" % (p99 / raw["paced_p99"]), ""),
        ("verify event, events/s (verifications/s %.0f x %d)" % (raw["verifies"], cores), "%.0f" % median(verified["event"]),
         "%.2f x" % (median(verified["event"]) / raw["verifies"] / cores), ">= 0.9"),
        ("verify batch, with the signatures beside it", "%.0f" % median(verified["batch"]),
         "%.2f x" % (median(verified["batch"]) / raw["verifies"] / cores), ""),
    ]
    for s in runs:
        rows.append(("size open, seal %s (x bare JSON)" % s, "", "%.2f x" % median([r["ratio"] for r in runs[s]]), "<= 1.6"))
        rows.append(("size closed, seal %s" % s, "", "-" if closed[s] is None else "%.2f x" % closed[s], "<= 0.35"))
    table("evidence, %d events of about 600 bytes, median of %d" % (COUNT, ROUNDS), ("", "", "ratio", "target"), rows)
    evidence_peers.show(per_second)
