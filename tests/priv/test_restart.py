# SPDX-License-Identifier: MIT
"""signerd, confined as it always is, started again on what an earlier one left."""
import os
import signal
import socket
import subprocess

import pytest

from test_peers import BIN, PEER, directory  # noqa: F401

NAMES = ("supervisor", "netd", "proxyd", "keys", "log")
SIGNATURE = 64


def start_again(base, *options):
    """Starts signerd on the keys and the log below base and lets it end: all its lines are closed at once."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)]
    dirs = [os.open(base / name, os.O_RDONLY | os.O_DIRECTORY) for name in NAMES[3:]]
    given = [pair[1].fileno() for pair in pairs] + dirs

    def place():
        high = [os.dup2(fd, 200 + i, inheritable=False) for i, fd in enumerate(given)]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i)

    # LISTEN_PID is known only in the child: a shell says it.
    p = subprocess.Popen(
        ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"', str(BIN / "cellos-signerd"), "--mode", "embedded", *options],
        env={"LISTEN_FDS": "5", "LISTEN_FDNAMES": ":".join(NAMES)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=place, close_fds=False, text=True)
    for ours, theirs in pairs:
        ours.close()
        theirs.close()
    for fd in dirs:
        os.close(fd)
    out, _ = p.communicate(timeout=60)
    return p.returncode, out


@pytest.mark.parametrize("kept", [0, 255, 256, 300, 600])
def test_lines_left_unsigned_are_signed(directory, kept):  # noqa: F811
    """seal: batch: a signerd that was killed leaves lines without their own signature. The next one proves their hashes from
    the tiles before it signs them, inside the same filter."""
    subprocess.run([PEER, "many", "700", BIN, directory, "--seal", "batch"], check=True, timeout=120)
    base = directory / "signerd-0"
    signatures, = (base / "log").glob("*.sig")
    whole = signatures.read_bytes()
    assert len(whole) == 703 * SIGNATURE
    os.truncate(signatures, kept * SIGNATURE)
    status, out = start_again(base, "--seal", "batch")
    assert status == 0, (status, -status == signal.SIGSYS, out)
    assert signatures.read_bytes()[:len(whole)] == whole  # behind them is what the second one says itself
