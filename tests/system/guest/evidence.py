# SPDX-License-Identifier: MIT
"""Evidence under systemd: a signing key that only systemd can decrypt, and the two units that carry events and jobs."""
import base64
import http.server
import json
import os
import pathlib
import socket
import subprocess
import threading

from guest import ROOT, PATIENCE_S, case, equal, wait_for, want

CREDENTIAL = "cellos.signing.key"
STATE = pathlib.Path("/var/lib/cellos")  # of the system's user and of root with XDG_STATE_HOME=/var/lib
NATS, QUEUE = "nats://127.0.0.1:4299", "CELLS"


def system(*args, **kw):
    return subprocess.run(list(map(str, args)), capture_output=True, text=True, timeout=PATIENCE_S, **kw)


def done(*args, **kw):
    r = system(*args, **kw)
    equal(r.returncode, 0, "the status of %s (%s)" % (args[0], (r.stdout + r.stderr).strip()))
    return r


def listening():
    try:
        socket.create_connection(("127.0.0.1", int(NATS.rsplit(":", 1)[1])), 1).close()
        return True
    except OSError:
        return False


def started(unit):
    """Start, and say what its journal says when it does not run."""
    done("systemctl", "start", unit)
    state = system("systemctl", "is-active", unit).stdout.strip()
    equal(state, "active", "%s (%s)" % (unit, system("journalctl", "-b", "-u", unit, "--no-pager").stdout[-600:]))


@case
def a_key_that_only_systemd_decrypts():
    home = pathlib.Path("/root/credential-home")
    home.mkdir(mode=0o700)
    seed, file = os.urandom(32), pathlib.Path("/etc/%s.cred" % CREDENTIAL)
    done("systemd-creds", "encrypt", "--with-key=host", "--name=" + CREDENTIAL, "-", file, input=base64.b64encode(seed).decode() + "\n")
    want(base64.b64encode(seed) not in file.read_bytes(), "the credential is not encrypted")
    done("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "-p", "LoadCredentialEncrypted=%s:%s" % (CREDENTIAL, file),
         "-E", "HOME=%s" % home, "-E", "PATH=/usr/local/bin:/usr/bin:/bin", "cellctl", "run", "--", "true")
    keys = home / ".local/state/cellos/keys"
    want(not (keys / "signing.key").exists(), "a second key was made on the disk")
    wanted = base64.b64encode(seed)
    for f in keys.rglob("*"):
        want(not f.is_file() or wanted not in f.read_bytes(), "the seed is in", f)
    # Without systemd there is no key, and no other one takes its place.
    r = system("cellctl", "run", "--", "true", env={**ROOT.env, "HOME": str(home)})
    equal(r.returncode, 125, "the status without the credential (%s)" % r.stderr)
    r = done("cellctl", "verify", home / ".local/state/cellos/log", env={**ROOT.env, "HOME": str(home)})
    want("ok" in r.stdout, r.stdout)


class Receiver(http.server.BaseHTTPRequestHandler):
    events = []

    def do_POST(self):
        self.events.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


@case
def the_shipping_unit():
    """cellos-ship.service: a user of its own reads the log of the system and sends the exact lines."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done("cellctl", "run", "--", "true", env={**ROOT.env, "XDG_STATE_HOME": "/var/lib"})
    etc = pathlib.Path("/etc/cellos")
    etc.mkdir(exist_ok=True)
    (etc / "ship.env").write_text("SHIP_LOGS=%s/log\nSHIP_TO=http://127.0.0.1:%d/events\nSHIP_FLAGS=--no-checkpoints\n" %
                                  (STATE, server.server_address[1]))
    log = sorted((STATE / "log").iterdir())[-1]
    lines = (log / "00000000000000000000.jsonl").read_bytes().splitlines()
    try:
        started("cellos-ship.service")
        wait_for(lambda: len(Receiver.events) >= len(lines), "every event of the run", 60)
        pid = int(system("systemctl", "show", "-P", "MainPID", "cellos-ship.service").stdout)
        status = dict(l.split(":\t", 1) for l in pathlib.Path("/proc/%d/status" % pid).read_text().splitlines() if ":\t" in l)
        want(status["Uid"].split()[0] != "0" and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", "it runs as", status)
    finally:
        system("systemctl", "stop", "cellos-ship.service")
        server.shutdown()
    equal(Receiver.events, lines, "what arrived")


@case
def the_working_unit():
    """cellos-work.service takes a job from a queue; its log verifies."""
    store = pathlib.Path("/var/tmp/nats")
    server = subprocess.Popen(["nats-server", "-js", "-sd", store, "-a", "127.0.0.1", "-p", NATS.rsplit(":", 1)[1]],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    spec = {"apiVersion": "cellos.io/v1", "kind": "ExecutionCell",
            "spec": {"id": "from-the-queue", "authority": {"secretRefs": []}, "lifetime": {"ttlSeconds": 30}, "run": {"argv": ["/bin/true"]}}}
    try:
        done("useradd", "--system", "--home-dir", "/var/lib/cellos-worker", "cellos")
        pathlib.Path("/etc/cellos").mkdir(exist_ok=True)
        pathlib.Path("/etc/cellos/work.env").write_text("CELLOS_WORK=--nats %s --stream %s --create\n" % (NATS, QUEUE))
        wait_for(listening, "the NATS server")
        system("rm", "-rf", STATE)  # root's, of the case before
        started("cellos-work.service")
        r = system("cellctl", "submit", "-", "--nats", NATS, "--stream", QUEUE, "--create", "--wait", input=json.dumps(spec), env=ROOT.env)
        equal(r.returncode, 0, "the status of submit (%s; %s)" % (
            r.stderr, system("journalctl", "-b", "-u", "cellos-work", "--no-pager").stdout[-600:]))
    finally:
        system("systemctl", "stop", "cellos-work.service")
        server.kill()
        server.wait()
    done("cellctl", "verify", STATE / "log", "--key", STATE / "keys/signing.vkey")
    having = [l for l in (STATE / "log").iterdir() if "from-the-queue" in (l / "00000000000000000000.jsonl").read_text()]
    equal(len(having), 1, "the number of logs with the job")
