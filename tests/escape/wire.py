# SPDX-License-Identifier: MIT
"""What the attacks are measured with: servers on the host's side that keep every byte, and a resolver that answers as told."""
import socket
import struct
import threading
import time


class Sink:
    """A TCP server. Keeps what each connection sent, answers with `answer` at the first byte, reads on until the end."""

    def __init__(self, hosts=("127.0.0.1",), port=0, answer=b""):
        self.answer, self.seen, self.lock = answer, [], threading.Lock()
        self.listeners, self.port = [], port
        for host in hosts:
            s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, self.port))
            s.listen(128)
            self.port = s.getsockname()[1]
            self.listeners.append(s)
            threading.Thread(target=self._accept, args=(s,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.seen.append(bytearray())
                got = self.seen[-1]
            threading.Thread(target=self._serve, args=(c, got), daemon=True).start()

    def _serve(self, c, got):
        c.settimeout(20)
        try:
            while data := c.recv(65536):
                if not got and self.answer:
                    c.sendall(self.answer)
                with self.lock:
                    got += data
        except OSError:
            pass
        c.close()

    def take(self):
        """What came since the last call, once nothing more comes."""
        last, end = None, time.monotonic() + 10
        while time.monotonic() < end:
            with self.lock:
                now = [bytes(b) for b in self.seen]
            if now == last:
                break
            last = now
            time.sleep(0.15)
        with self.lock:
            self.seen = self.seen[len(last):]
        return last

    def stop(self):
        for s in self.listeners:
            s.close()


# ---- DNS ----

A, CNAME, AAAA, HTTPS = 1, 5, 28, 65


def wire_name(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.split(".") if l) + b"\0"


def record(owner, rtype, data, ttl=60):
    rdata = wire_name(data) if rtype == CNAME else socket.inet_pton(socket.AF_INET if rtype == A else socket.AF_INET6, data) \
        if rtype in (A, AAAA) else data
    return wire_name(owner) + struct.pack(">HHIH", rtype, 1, ttl, len(rdata)) + rdata


def read_question(message):
    at, labels = 12, []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode("latin1"))
        at += 1 + message[at]
    return ".".join(labels).lower(), struct.unpack(">H", message[at + 1:at + 3])[0], message[12:at + 5]


class Resolver:
    """DNS over UDP. Names are lower case here: the proxy asks in a case of its own choice (0x20). answer(name, type, times it was asked) gives (answers, additionals) or raw bytes for the whole message
    behind the id; None: no reply."""

    def __init__(self, answer, host="127.0.0.1"):
        self.answer, self.asked = answer, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                message, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            name, rtype, question = read_question(message)
            times = sum(1 for n, t in self.asked if (n, t) == (name, rtype))
            self.asked.append((name, rtype))
            got = self.answer(name, rtype, times)
            if got is None:
                continue
            if isinstance(got, tuple):
                answers, more = got
                got = struct.pack(">HHHHH", 0x8180, 1, len(answers), 0, len(more)) + question + b"".join(answers + more)
            self.sock.sendto(message[:2] + got, peer)

    def stop(self):
        self.sock.close()
