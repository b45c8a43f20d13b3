# SPDX-License-Identifier: MIT
"""A witness, written from c2sp.org/tlog-witness, tlog-cosignature and RFC 9162 section 2.1.4.2 with python3-cryptography: HTTP
over a Unix socket, remembers what it saw of each log, signs only what continues that."""
import http.server
import os
import socketserver
import struct
import threading
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from evidence import Vkey, b64, check_note, sha256, unb64


def node(left, right):
    return sha256(b"\1" + left + right)


def consistent(first, first_root, second, second_root, proof):
    """RFC 9162 2.1.4.2; the cases it leaves out as tlog-witness has them."""
    if first == 0:
        return not proof
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


class Refused(Exception):
    def __init__(self, status, body=b"", kind="text/plain"):
        self.status, self.body, self.kind = status, body, kind


class Witness:
    def __init__(self, name="witness.example/w1"):
        self.name, self.key = name, Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = sha256(name.encode() + b"\n\4" + self.public)[:4]
        self.vkey = "%s+%s+%s" % (name, self.id.hex(), b64(b"\4" + self.public))
        self.logs, self.seen = {}, {}
        self.requests, self.when = [], None

    def trust(self, log):
        vkey = Vkey((log / "vkey").read_text())
        self.logs[(log / "origin").read_text().strip()] = vkey

    def cosign(self, note):
        """A signature line over the note's text."""
        text = note.partition("\n\n")[0] + "\n"
        when = int(time.time()) if self.when is None else self.when
        sig = self.key.sign(b"cosignature/v1\ntime %d\n" % when + text.encode())
        return "\u2014 %s %s\n" % (self.name, b64(self.id + struct.pack(">Q", when) + sig))

    def add_checkpoint(self, body):
        head, _, note = body.decode().partition("\n\n")
        old, *proof = head.split("\n")
        if not old.startswith("old ") or len(proof) > 63 or str(int(old[4:])) != old[4:]:
            raise Refused(400)
        old, proof = int(old[4:]), [unb64(p) for p in proof]
        vkey = self.logs.get(note.split("\n")[0])
        if not vkey:
            raise Refused(404)
        try:
            origin, size, root = check_note(note, vkey)
        except Exception:
            raise Refused(403)
        if old > size:
            raise Refused(400)
        last, last_root = self.seen.get(origin, (0, sha256(b"")))
        if old != last:
            raise Refused(409, b"%d\n" % last, "text/x.tlog.size")
        if (size == 0 and root != sha256(b"")) or not consistent(old, last_root, size, root, proof):
            raise Refused(422)
        self.seen[origin] = size, root
        return self.cosign(note)


class Server:
    """The witness behind a Unix socket (path) until stop()."""

    def __init__(self, witness, path, answer=None):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                witness.requests.append((self.path, body))
                kind, status = "text/plain", 200
                try:
                    if answer:
                        reply = answer(body)
                    elif self.path == "/add-checkpoint":
                        reply = witness.add_checkpoint(body).encode()
                    else:
                        raise Refused(404)
                except Refused as e:
                    status, reply, kind = e.status, e.body, e.kind
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def address_string(self):
                return "unix"

            def log_message(self, *args):
                pass

        class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.path = path
        self.server = Unix(str(path), Handler)
        os.chmod(path, 0o666)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        outer.to = "unix:%s" % path

    def stop(self):
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()
        os.unlink(self.path)
