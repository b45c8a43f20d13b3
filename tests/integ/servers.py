# SPDX-License-Identifier: MIT
"""Small servers on the host that count what reaches them."""
import socket
import threading
import time


class Tcp:
    """A TCP server on both loopbacks. talk(connection) runs in a thread per connection; what came is in .peers."""

    def __init__(self, talk=None, hosts=("127.0.0.1", "::1"), port=0):
        self.talk = talk or (lambda c: None)
        self.peers, self.sockets, self.open = [], [], set()
        self.lock = threading.Lock()
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            s = socket.socket(family)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, port))
            port = s.getsockname()[1]
            s.listen(1024)
            self.sockets.append(s)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()
        self.port = port

    def _serve(self, s):
        try:
            while True:
                c, peer = s.accept()
                with self.lock:
                    self.peers.append((time.monotonic(), peer))
                    self.open.add(c)
                threading.Thread(target=self._one, args=(c,), daemon=True).start()
        except OSError:
            pass

    def _one(self, c):
        try:
            self.talk(c)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(c)
            c.close()

    def close(self):
        for s in self.sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        with self.lock:
            for c in self.open:
                try:
                    c.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Udp:
    """A UDP socket on the host; .got is what came."""

    def __init__(self, host="127.0.0.1", port=0):
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind((host, port))
        self.port = self.s.getsockname()[1]
        self.got = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            while True:
                data, peer = self.s.recvfrom(4096)
                if not data and peer[1] == 0:
                    return
                self.got.append((data, peer))
        except OSError:
            pass

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def drip(c):
    """Answers any HTTP request with a body that does not end, ten bytes at a time."""
    c.recv(65536)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        c.sendall(b"drip drip\n")
        time.sleep(0.02)


def hello(c):
    """Reads until the client has said everything it wants to say, then answers."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = c.recv(65536)
        if not more:
            return
        data += more
    while c.recv(65536):
        pass
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")


def sink(c):
    """Swallows everything."""
    while c.recv(1 << 20):
        pass
