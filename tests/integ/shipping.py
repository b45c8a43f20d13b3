# SPDX-License-Identifier: MIT
"""What the tests of `cellctl ship` need: logs made to measure, a NATS server of their own, a consumer that speaks the NATS protocol
over a socket, an HTTP receiver that misbehaves on request, and a proxy that is slow."""
import base64
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import evidence
import independent
from conftest import free_port, listening, wait_for

PREFIX = "dev.cellos.events.cell."


def uuid7():
    raw = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


class Log:
    """Writes a log as docs/evidence.md describes it: signed events, a tree, a checkpoint that is renamed into its place."""

    def __init__(self, parent, key=None):
        self.key = key or Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.run = uuid7()
        self.cell = "cell-" + self.run[-12:]
        self.name = "cellos.local/" + evidence.sha256(self.public).hex()[:16]
        self.origin = self.name + "/" + self.run
        raw = b"\1" + self.public
        self.number = evidence.sha256(self.name.encode() + b"\n" + raw)[:4]
        self.dir = Path(parent) / self.run
        self.dir.mkdir(parents=True)
        self.lines, self.hashes, self.segment = [], [], 0
        (self.dir / "vkey").write_text("%s+%s+%s\n" % (self.name, self.number.hex(), evidence.b64(raw)))
        self.vkey = evidence.Vkey((self.dir / "vkey").read_text())
        (self.dir / "origin").write_text(self.origin + "\n")
        self.checkpoint()

    def event(self, suffix, data):
        n = len(self.lines)
        attributes = {"specversion": "1.0", "id": uuid7(), "source": "/cellos/proxyd/host", "type": PREFIX + suffix,
                      "subject": "urn:cellos:cell:" + self.cell, "time": "2026-11-29T12:00:00Z",
                      "datacontenttype": "application/json", "sequence": "%020d" % n, "cellsequence": "%020d" % (n + 1),
                      "runid": self.run}
        raw = json.dumps(data, separators=(",", ":")).encode()
        names = ["sequence", "cellsequence", "runid"]
        body = json.dumps({"core": evidence.b64(independent.digest(attributes, independent.CORE, raw)),
                           "ext": evidence.b64(independent.digest(attributes, names)), "signedextattrs": names},
                          separators=(",", ":")).encode()
        envelope = json.dumps({"payload": evidence.b64(body), "payloadType": independent.PAYLOAD_TYPE, "signatures": [
            {"keyid": "sha256:" + evidence.sha256(self.public).hex(),
             "sig": evidence.b64(self.key.sign(b"DSSEv1 %d %s %d %s" % (
                 len(independent.PAYLOAD_TYPE), independent.PAYLOAD_TYPE.encode(), len(body), body)))}]}, separators=(",", ":")).encode()
        head = json.dumps(attributes, separators=(",", ":")).encode()[:-1]
        return head + b',"data":' + raw + b',"dssematerial":"' + base64.b64encode(envelope) + b'"}'

    def add(self, count=1, size=100, suffix="observability.v1.dns_query", checkpoint=True):
        new = [self.event(suffix, {"cellId": self.cell, "specId": self.cell, "runId": self.run, "queryName": "x" * size})
               for _ in range(count)] if count == 1 else []
        for _ in range(count if count > 1 else 0):
            self._append([self.event(suffix, {"cellId": self.cell, "specId": self.cell, "runId": self.run,
                                              "queryName": "x" * size})])
        self._append(new)
        if checkpoint:
            self.checkpoint()

    def _append(self, lines):
        with open(self.dir / ("%020d.jsonl" % self.segment), "ab") as f:
            for line in lines:
                f.write(line + b"\n")
                self.lines.append(line)
                self.hashes.append(evidence.leaf(line))

    def next_segment(self):
        self.segment = len(self.lines)
        (self.dir / ("%020d.jsonl" % self.segment)).touch()

    def checkpoint(self):
        text = "%s\n%d\n%s\n" % (self.origin, len(self.lines), evidence.b64(evidence.root(self.hashes)))
        sig = evidence.b64(self.number + self.key.sign(text.encode()))
        (self.dir / ".new").write_text("%s\n\u2014 %s %s\n" % (text, self.name, sig))
        (self.dir / ".new").rename(self.dir / "checkpoint")

    @property
    def note(self):
        return (self.dir / "checkpoint").read_text()


class Nats:
    """nats-server with JetStream on a free loopback port, data below dir; the service of Debian's package is not used."""

    def __init__(self, dir, port=None, conf=""):
        self.dir, self.port, self.conf = Path(dir), port or free_port(), conf
        self.dir.mkdir(exist_ok=True)
        self.process = None
        self.start()

    @property
    def url(self):
        return "nats://127.0.0.1:%d" % self.port

    def start(self, conf=None):
        self.conf = self.conf if conf is None else conf
        (self.dir / "conf").write_text('host: 127.0.0.1\nport: %d\njetstream { store_dir: "%s/js" }\n%s\n'
                                       % (self.port, self.dir, self.conf))
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(["nats-server", "-c", str(self.dir / "conf")], stdout=log, stderr=log)
        wait_for(lambda: listening(self.port))

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(10)

    def restart(self, how=signal.SIGKILL):
        self.stop(how)
        self.start()


class Client:
    """The NATS client protocol, as much of it as a test needs."""

    def __init__(self, port, user=None):
        self.s = socket.create_connection(("127.0.0.1", port), 10)
        self.s.settimeout(20)
        self.f = self.s.makefile("rb")
        assert self.f.readline().startswith(b"INFO ")
        hello = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "test", "version": "1"}
        if user:
            hello.update(user=user[0], **{"pass": user[1]})
        self.s.sendall(b"CONNECT " + json.dumps(hello).encode() + b"\r\nPING\r\n")
        self.inbox = "_INBOX." + uuid.uuid4().hex
        self.early = []
        self.s.sendall(b"SUB %s.* 1\r\n" % self.inbox.encode())
        line = self.f.readline()
        assert line == b"PONG\r\n", line

    def message(self):
        """(subject, reply, headers, data)"""
        while True:
            line = self.f.readline()
            if line == b"PING\r\n":
                self.s.sendall(b"PONG\r\n")
                continue
            assert line.startswith((b"MSG ", b"HMSG ")), line
            words = line.decode().split()
            total = int(words[-1])
            body = self.f.read(total + 2)[:-2]
            head = int(words[-2]) if words[0] == "HMSG" else 0
            rest = words[1:-2] if words[0] == "HMSG" else words[1:-1]
            headers = dict(l.split(": ", 1) for l in body[:head].decode().split("\r\n")[1:] if ": " in l)
            return rest[0], rest[2] if len(rest) > 2 else None, headers, body[head:]

    def request(self, subject, value=None, raw=None):
        data = raw if raw is not None else (json.dumps(value).encode() if value is not None else b"")
        reply = "%s.%d" % (self.inbox, int(time.monotonic() * 1e9))
        self.s.sendall(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(data), data))
        while True:
            got = self.message()
            if got[0] == reply:
                return json.loads(got[3]) if got[3] else None
            self.early.append(got)

    def api(self, subject, value=None):
        answer = self.request("$JS.API." + subject, value)
        assert answer and "error" not in answer, (subject, answer)
        return answer

    def publish(self, subject, data=b"x"):
        answer = self.request(subject, raw=data)
        assert answer and "error" not in answer, answer

    def publish_as(self, subject, headers, data=b"x"):
        """With headers of one's choice."""
        head = b"NATS/1.0\r\n" + b"".join(b"%s: %s\r\n" % (k.encode(), str(v).encode()) for k, v in headers.items()) + b"\r\n"
        reply = "%s.%d" % (self.inbox, int(time.monotonic() * 1e9))
        self.s.sendall(b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject.encode(), reply.encode(), len(head), len(head) + len(data), head, data))
        got = self.message()
        assert got[0] == reply and "error" not in json.loads(got[3]), got

    def make_stream(self, name="CELLOS", **config):
        return self.api("STREAM.CREATE." + name, {"name": name, "subjects": ["cellos.events.>", "cellos.checkpoints.>"],
                        "retention": "limits", "storage": "file", "discard": "new", "max_consumers": -1, "max_msgs": -1,
                        "max_bytes": -1, "num_replicas": 1, **config})

    def state(self, name="CELLOS"):
        return self.api("STREAM.INFO." + name)["state"]

    def all(self, name="CELLOS"):
        """Every message of the stream in its order: (subject, headers, data)."""
        last = self.state(name)
        if last["messages"] == 0:
            return []
        deliver, self.early = "test." + uuid.uuid4().hex, []
        self.s.sendall(b"SUB %s 2\r\n" % deliver.encode())
        self.api("CONSUMER.CREATE." + name, {"stream_name": name, "config": {"deliver_subject": deliver, "ack_policy": "none",
                 "deliver_policy": "all", "replay_policy": "instant", "inactive_threshold": 10 ** 10}})
        got = []
        while len(got) < last["messages"]:
            subject, _, headers, data = self.early.pop(0) if self.early else self.message()
            got.append((subject, headers, data))
        self.s.sendall(b"UNSUB 2\r\n")
        return got

    def close(self):
        self.s.close()


def events_of(messages):
    return [m for m in messages if m[0].startswith("cellos.events.")]


def check(messages, logs, tenant="default"):
    """Exactly the logs' lines, each once, each log's in its order, and the newest checkpoint of each; a receiver with nothing but
    the stream and the keys finds every signature and the tree right."""
    events, notes = events_of(messages), [m for m in messages if m[0] == "cellos.checkpoints." + tenant]
    assert len(events) + len(notes) == len(messages)
    ids = [m[1]["Nats-Msg-Id"] for m in messages]
    assert len(set(ids)) == len(ids), "doubled"
    for log in logs:
        lines = [data for _, headers, data in events if headers["Cellos-Origin"] == log.origin]
        assert [json.loads(l)["sequence"] for l in lines] == ["%020d" % i for i in range(len(log.lines))], "order or loss"
        assert lines == log.lines
        for line in lines:
            assert b',"dssematerial":"' in line
            evidence.check_event(line, log.vkey)
        mine = [data.decode() for _, headers, data in notes if headers["Cellos-Origin"] == log.origin]
        for note in mine:
            origin, size, top = evidence.check_note(note, log.vkey)
            assert origin == log.origin and evidence.root(log.hashes[:size]) == top
        if lines:
            assert mine and evidence.check_note(mine[-1], log.vkey)[1] == len(lines)
    assert len(events) == sum(len(log.lines) for log in logs)
    for subject, headers, data in events:
        event = json.loads(data)
        assert subject == "cellos.events.%s.%s" % (tenant, event["type"].removeprefix(PREFIX))
        assert headers["Nats-Msg-Id"] == event["id"] and headers["Content-Type"] == "application/cloudevents+json"


class Proxy:
    """A TCP relay that can be slow, stand still, or cut."""

    def __init__(self, to):
        self.to, self.port = to, free_port()
        self.rate = None   # bytes a second towards the server
        self.hold = threading.Event()
        self.hold.set()
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                a, _ = self.listener.accept()
                b = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                if self.listener.fileno() < 0:
                    return
                a.close()
                continue
            self.pairs.append((a, b))
            threading.Thread(target=self.relay, args=(a, b, True), daemon=True).start()
            threading.Thread(target=self.relay, args=(b, a, False), daemon=True).start()

    def relay(self, a, b, slow):
        try:
            while data := a.recv(4096 if slow else 65536):
                self.hold.wait()
                if slow and self.rate:
                    time.sleep(len(data) / self.rate)
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for a, b in self.pairs:
            for s in (a, b):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []

    def close(self):
        self.listener.close()
        self.hold.set()
        self.cut()


class Receiver:
    """An HTTP endpoint for CloudEvents that keeps each id once. `script` is a list of what to do with the next requests: a status,
    (status, headers), "cut" before or "lose" after taking the events; then 204."""

    def __init__(self, script=(), tls=None, token=None, largest=None, poison=None):
        self.script, self.token, self.largest, self.poison = list(script), token, largest, poison
        self.events, self.seen, self.requests, self.bodies = [], set(), [], []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *a):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((time.monotonic(), dict(self.headers), len(body)))
                self.answer(*receiver.judge(self.headers, body))

            def answer(self, status, headers):
                if status is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                text = b"" if status == 204 else b"no: %d\n" % status
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                if status != 204:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        if tls:
            import ssl
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def judge(self, headers, body):
        step = self.script.pop(0) if self.script else 204
        if step == "cut":
            return None, {}
        if isinstance(step, tuple):
            return step
        if step not in (204, "lose"):
            return step, {}
        if self.token and headers["Authorization"] != "Bearer " + self.token:
            return 401, {}
        if self.largest and len(body) > self.largest:
            return 413, {}
        batch = headers["Content-Type"].startswith("application/cloudevents-batch+json")
        assert batch or headers["Content-Type"].startswith("application/cloudevents+json")
        events = json.loads(body) if batch else [json.loads(body)]
        if self.poison and any(self.poison(e) for e in events):
            return 400, {}
        self.bodies.append(body)
        for e in events:
            if e["id"] not in self.seen:
                self.seen.add(e["id"])
                self.events.append(e)
        return (None if step == "lose" else 204), {}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
