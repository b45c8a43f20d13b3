# SPDX-License-Identifier: MIT
"""A real nats-server, a plain client of it, and hosts that share its queue: each in network, mount and process namespaces of
its own, so that one can die as a machine does."""
import base64
import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

from conftest import ORDINARY_UID, User, free_port, wait_for
from running import children

CLONE_NEWNET = 0x40000000


def connect(address, netns=None):
    """A TCP connection, made inside the named network namespace."""
    found = []

    def inside():
        try:
            if netns:
                with open("/run/netns/" + netns) as f:
                    if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
            found.append(socket.create_connection(address, 5))
        except OSError as e:
            found.append(e)

    if netns:
        t = threading.Thread(target=inside)
        t.start()
        t.join()
    else:
        inside()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


class Client:
    """As much of the protocol as the tests need, one request at a time."""

    def __init__(self, address, netns=None):
        self.s = connect(address, netns)
        self.f = self.s.makefile("rb")
        self.info = json.loads(self.f.readline().split(b" ", 1)[1])
        self.inbox = "_INBOX." + uuid.uuid4().hex
        self.s.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB %s.* 1\r\nPING\r\n' % self.inbox.encode())
        self.n = 0
        self.read_until(lambda op, *_: op == b"PONG")

    def read_until(self, good):
        while True:
            line = self.f.readline()
            if not line:
                raise ConnectionError("the server closed")
            words = line.split()
            if words[0] == b"PING":
                self.s.sendall(b"PONG\r\n")
            header, body = b"", b""
            if words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                body = self.f.read(size + 2)[:size]
                if words[0] == b"HMSG":
                    header, body = body[:int(words[-2])], body[int(words[-2]):]
            if words[0] == b"-ERR":
                raise ConnectionError(line)
            if good(words[0], words, header, body):
                return words, header, body

    def publish(self, subject, body, headers=None, reply=""):
        data = body if isinstance(body, bytes) else body.encode()
        if headers:
            head = b"NATS/1.0\r\n" + b"".join(b"%s: %s\r\n" % (k.encode(), v.encode()) for k, v in headers.items()) + b"\r\n"
            self.s.sendall(b"HPUB %s %s %d %d\r\n" % (subject.encode(), reply.encode(), len(head), len(head) + len(data)) + head + data + b"\r\n")
        else:
            self.s.sendall(b"PUB %s %s %d\r\n" % (subject.encode(), reply.encode(), len(data)) + data + b"\r\n")

    def ask(self, subject, body="", headers=None):
        """(subject of the answer's own reply, header, body)"""
        self.n += 1
        reply = "%s.%d" % (self.inbox, self.n)
        self.publish(subject, body, headers, reply)
        words, header, body = self.read_until(lambda op, w, *_: op in (b"MSG", b"HMSG") and (w[1] == reply.encode() or b"$JS.ACK" in b" ".join(w)))
        back = [w for w in words[3:-1] if w.startswith(b"$JS.ACK")]
        return (back[0].decode() if back else None), header, body

    def request(self, subject, body="", headers=None):
        answer = json.loads(self.ask(subject, body, headers)[2] or b"null")
        assert answer and "error" not in answer, answer
        return answer

    def stored(self, subject, body, msg_id=None):
        return self.request(subject, body, {"Nats-Msg-Id": msg_id} if msg_id else None)

    def pull(self, stream, consumer="cellos-work"):
        """(ack subject, body) of the next job, taken as a host would."""
        reply, _, body = self.ask("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, consumer), json.dumps({"batch": 1, "expires": 5 * 10 ** 9}))
        assert reply, body
        return reply, body

    def messages(self, stream):
        """[(subject, headers, body)] of everything a stream holds."""
        state = self.request("$JS.API.STREAM.INFO." + stream)["state"]
        found = []
        for seq in range(state["first_seq"], state["last_seq"] + 1):
            answer = json.loads(self.ask("$JS.API.STREAM.MSG.GET." + stream, json.dumps({"seq": seq}))[2])
            if "error" in answer:
                continue
            m = answer["message"]
            found.append((m["subject"], base64.b64decode(m.get("hdrs", "")).decode(), base64.b64decode(m.get("data", ""))))
        return found

    def results(self, stream, final=True):
        want = ".final" if final else ".attempt"
        return [json.loads(b) for s, _, b in self.messages(stream + "_RESULTS") if s.endswith(want)]

    def waiting(self, stream):
        """Jobs that the stream still holds."""
        return self.request("$JS.API.STREAM.INFO." + stream)["state"]["messages"]

    def close(self):
        self.f.close()
        self.s.close()


class Nats:
    def __init__(self, netns=None, host="127.0.0.1"):
        self.netns, self.host = netns, host
        self.dir = Path(tempfile.mkdtemp(prefix="nats-"))
        self.port = 4222 if netns else free_port()
        self.p = None
        self.clients = []
        self.start()

    @property
    def url(self):
        return "nats://%s:%d" % (self.host, self.port)

    def start(self):
        prefix = ["ip", "netns", "exec", self.netns] if self.netns else []
        self.p = subprocess.Popen([*prefix, "nats-server", "-js", "-sd", str(self.dir), "-a", "0.0.0.0" if self.netns else self.host,
                                   "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers)

    def answers(self):
        try:
            c = Client((self.host, self.port), self.netns)
            c.request("$JS.API.INFO")
            c.close()
            return True
        except (OSError, AssertionError, ValueError, IndexError):
            return False

    def client(self):
        self.clients.append(Client((self.host, self.port), self.netns))
        return self.clients[-1]

    def kill(self):
        self.p.kill()
        self.p.wait(10)

    def stop(self):
        for c in self.clients:
            c.close()
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGCONT)
            self.kill()
        subprocess.run(["rm", "-rf", str(self.dir)], check=True)


class Host(User):
    """A machine with a worker: a state directory of its own, and, with a netns, a network and processes of its own."""

    def __init__(self, name, uid, world, netns=None):
        super().__init__(name, uid, world)
        self.netns = netns
        self.env["XDG_STATE_HOME"] = str(self.home / "state")
        self.p = self.err = None

    @property
    def state(self):
        return self.home / "state/cellos"

    def command(self, *args):
        if not self.netns:
            return super().command(*args)
        inside = ["ip", "netns", "exec", self.netns]
        if args and args[0] == "work":
            inside += ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return inside + super().command(*args)

    def work(self, nats, *flags, url=None, stream="Q", **kw):
        self.err = tempfile.TemporaryFile()
        self.p = self.popen("work", "--nats", url or nats.url, "--stream", stream, *flags, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=self.err, **kw)
        wait_for(lambda: "cells at a time" in self.said())
        return self

    def submit(self, nats, *args, stream="Q", **kw):
        return self.ctl("submit", "--nats", nats.url, "--stream", stream, *args, **kw)

    def said(self):
        return os.pread(self.err.fileno(), 1 << 20, 0).decode()

    def pid(self):
        """The pid of cellctl itself: the first process of its machine."""
        return children().get(self.p.pid, [self.p.pid])[0] if self.netns else self.p.pid

    def die(self):
        """Everything at once, as when the power goes."""
        if self.netns:
            os.kill(self.pid(), signal.SIGKILL)
        else:
            for pid in [self.p.pid, *children().get(self.p.pid, [])]:
                os.kill(pid, signal.SIGKILL)
        self.p.wait(20)

    def stop(self, timeout=40):
        os.kill(self.pid(), signal.SIGTERM)
        return self.p.wait(timeout)

    def end(self):
        if self.p and self.p.poll() is None:
            self.die()

    def all_events(self):
        return [e for log in self.logs() for e in self.events(log)] if (self.state / "log").exists() else []

    def ends(self):
        """{run id: the data of its lifecycle.destroyed or rejected}"""
        return {e["data"]["runId"]: e["data"] for e in self.all_events() if e["type"].endswith(("lifecycle.v1.destroyed", "lifecycle.v1.rejected"))}


class Fleet:
    """A network of its own: a hub with the server, and hosts that reach only it."""

    def __init__(self, world, uid, n=2):
        tag = uuid.uuid4().hex[:6]
        self.hub, self.netns, self.hosts = "cw%s-hub" % tag, [], []
        sh = lambda *a: subprocess.run(a, check=True, capture_output=True)
        sh("ip", "netns", "add", self.hub)
        sh("ip", "-n", self.hub, "link", "set", "lo", "up")
        for i in range(1, n + 1):
            ns = "cw%s-%d" % (tag, i)
            sh("ip", "netns", "add", ns)
            self.netns.append(ns)
            sh("ip", "-n", self.hub, "link", "add", "to%d" % i, "type", "veth", "peer", "name", "up0", "netns", ns)
            sh("ip", "-n", self.hub, "addr", "add", "10.77.%d.1/24" % i, "dev", "to%d" % i)
            sh("ip", "-n", self.hub, "addr", "add", "10.77.0.1/32", "dev", "to%d" % i)
            sh("ip", "-n", self.hub, "link", "set", "to%d" % i, "up")
            sh("ip", "-n", ns, "addr", "add", "10.77.%d.2/24" % i, "dev", "up0")
            sh("ip", "-n", ns, "link", "set", "up0", "up")
            sh("ip", "-n", ns, "link", "set", "lo", "up")
            sh("ip", "-n", ns, "route", "add", "10.77.0.1", "via", "10.77.%d.1" % i)
            self.hosts.append(Host("host%d" % i, uid, world, ns))
        self.nats = Nats(self.hub, "10.77.0.1")

    def cable(self, n, there):
        subprocess.run(["ip", "-n", self.hub, "link", "set", "to%d" % n, "up" if there else "down"], check=True)
        if there:  # the kernel took the address's route along
            subprocess.run(["ip", "-n", self.netns[n - 1], "route", "replace", "10.77.0.1", "via", "10.77.%d.1" % n], check=True)

    def close(self):
        for h in self.hosts:
            h.end()
            subprocess.run(["rm", "-rf", str(h.home)], check=True)
        self.nats.stop()
        for ns in (*self.netns, self.hub):
            subprocess.run(["ip", "netns", "del", ns], check=True)


class Tap:
    """Between a worker and the server: sees every answer of the worker before the server does."""

    def __init__(self, nats, seen):
        self.nats, self.seen = nats, seen
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "nats://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.socks = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = connect((self.nats.host, self.nats.port))
            except OSError:
                return
            self.socks += [near, far]
            threading.Thread(target=self.copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.copy, args=(far, near, False), daemon=True).start()

    def copy(self, a, b, look):
        rest = b""
        try:
            while data := a.recv(65536):
                if look:
                    rest = rest[-16:] + data
                    for _ in range(rest.count(b"\r\n+ACK\r\n")):
                        self.seen()
                    if rest.endswith(b"\r\n+ACK\r\n"):
                        rest = b""
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        for s in (self.listener, *self.socks):
            s.close()


def spec(name, *argv, ttl=60, **more):
    return json.dumps({"apiVersion": "cellos.io/v1", "kind": "ExecutionCell",
                       "spec": {"id": name, "authority": {"secretRefs": [], "egressRules": []}, "lifetime": {"ttlSeconds": ttl},
                                "run": {"argv": list(argv)}, **more}})


def shell(name, text, **more):
    return spec(name, "/bin/sh", "-c", text, **more)
