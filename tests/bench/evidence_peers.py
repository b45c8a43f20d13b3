#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What people keep evidence with instead: systemd-journald with Forward Secure Sealing, through its own writer of journal files
(systemd-journal-remote; no PID 1 is needed). It seals an interval of time with a MAC, not an event, and does not wait for the disk
with any of them. auditd has no signatures at all and needs the kernel's audit socket; immudb is not a Debian package."""
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNT = int(os.environ.get("EVIDENCE_EVENTS", "50000"))
BYTES = 600
WRITER = "/lib/systemd/systemd-journal-remote"
NETLINK_AUDIT = 9
# Keys of the sealing lie below /var/log/journal: in a mount namespace of its own, with a machine id of its own.
SCRIPT = """
set -e
printf '%032d\\n' 7 > id; mount --bind id /etc/machine-id
mkdir -p /var/log/journal; mount -t tmpfs tmpfs /var/log/journal; mkdir /var/log/journal/$(cat /etc/machine-id)
journalctl --setup-keys --interval=10s > key 2>/dev/null
python3 "$0" export "$1" > export
/usr/bin/time -f '%e %U %S' -o took {writer} --seal=yes --split-mode=none --compress=no -o log.journal - < export
journalctl --verify --verify-key="$(cat key)" --file=log.journal
""".replace("{writer}", WRITER)


def message(n, rng):
    text = '{"type":"dev.cellos.events.cell.observability.v1.l7_egress_decision","sequence":"%020d","data":{"host":"' % n
    return text + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=BYTES - len(text) - 3)) + '"}}'


def export(count):
    """The journal export format, with the times of now."""
    rng, now = random.Random(1), int(time.time() * 1e6)
    for n in range(count):
        sys.stdout.write("__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032d\nPRIORITY=6\nMESSAGE=%s\n\n"
                         % (now + n, n + 1, 5, message(n, rng)))


def measure_journald(count=COUNT):
    """(events/s, bytes an event) of sealed journal files, or why not."""
    if not os.path.exists(WRITER):
        return "systemd-journal-remote is not installed"
    d = Path(tempfile.mkdtemp(prefix="journald-"))
    try:
        r = subprocess.run(["unshare", "-m", "--propagation", "private", "bash", "-c", SCRIPT, os.path.abspath(__file__), str(count)], cwd=d,
                           capture_output=True, text=True, timeout=300)
        if r.returncode != 0 or not re.search("PASS", r.stdout + r.stderr):
            return "cannot run here: " + (r.stderr or r.stdout).strip().splitlines()[-1]
        seconds = float((d / "took").read_text().split()[0])
        return count / seconds, (d / "log.journal").stat().st_size / count
    finally:
        shutil.rmtree(d, ignore_errors=True)


def auditd_reason():
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT).close()
    except OSError as e:
        return "this kernel has no audit socket (%s)" % e.strerror
    return "it would take the audit of the whole machine; it signs nothing"


def measure_peers():
    """Rows: what, events/s, bytes an event, remark."""
    journald = measure_journald()
    rows = [("journald, Forward Secure Sealing", "-", "-", journald)]
    if not isinstance(journald, str):
        rows = [("journald, Forward Secure Sealing", "%.0f" % journald[0], "%.0f" % journald[1],
                 "a MAC every 10 s, no event is waited for on disk, no third party can check it without the secret")]
    return rows + [("auditd", "-", "-", auditd_reason()), ("immudb", "-", "-", "not a Debian package")]


def show(ours):
    from measure import table
    rows = [("CellOS, seal %s" % k, "%.0f" % v, "", "every event durable and signed before it is answered") for k, v in ours.items()]
    table("evidence, beside what people use, events of %d bytes" % BYTES, ("", "events/s", "bytes/event", ""), rows + measure_peers())


if __name__ == "__main__":
    if sys.argv[1:2] == ["export"]:
        export(int(sys.argv[2]))
    else:
        for row in measure_peers():
            print("  ".join(row))
