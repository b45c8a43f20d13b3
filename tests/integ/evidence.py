# SPDX-License-Identifier: MIT
"""What tests want of a log: its files and lines, and independent.py, which checks them with nothing of the suite's own code."""
import subprocess

from independent import CORE, PAYLOAD_TYPE, Vkey, b64, check_event, check_log, check_note, digest, leaf, root, sha256, unb64  # noqa: F401


def core_digest(attributes, data):
    return digest(attributes, CORE, data)


def ext_digest(attributes, names):
    return digest(attributes, names)


def pae(payload_type, body):
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(body), body)


def segment_bytes(path):
    """A segment's content: a closed one is compressed, with the tool everybody has."""
    if path.suffix != ".zst":
        return path.read_bytes()
    return subprocess.run(["zstd", "-q", "-d", "-c", str(path)], stdout=subprocess.PIPE, check=True).stdout


def segments_of(log):
    """The files of a log's segments, by the index of their first line; where there are two forms the plain one."""
    return {int(p.name[:20]): p for pattern in ("*.jsonl.zst", "*.jsonl") for p in sorted(log.glob(pattern))}


def lines_of(log, first=0):
    """The exact lines of a log, in order; first: what is left behind what was pruned."""
    lines = []
    for index, segment in sorted(segments_of(log).items()):
        assert index == first + len(lines) and segment.name[:20] == "%020d" % index
        data = segment_bytes(segment)
        assert data == b"" or data.endswith(b"\n")
        lines += data.split(b"\n")[:-1]
    return lines
