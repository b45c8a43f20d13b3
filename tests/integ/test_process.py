# SPDX-License-Identifier: MIT
"""Who did it: every decision names the process in the cell, or says unknown; never a guess."""
from conftest import of_type
from probe import inside

DIAL = """
def dial(port, address="198.51.100.1"):
    s = socket.create_connection((address, port))
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n")
    return s
"""


def decisions(user):
    return of_type(user.events(), "observability.v1.l7_egress_decision")


def test_an_allowed_connection_names_its_program(user, allow, web, pki):
    r = user.ctl("run", *allow, "--", "sh", "-c", "true; curl -sS --cacert %s https://example.test:%d/; true" % (pki.ca, web.tls))
    assert r.returncode == 0, r.stderr
    (d,) = decisions(user)
    assert d["process"]["exe"] == "/usr/bin/curl" and d["process"]["pid"] > 1


def test_denials_name_the_process_too(user, allow, web):
    """TCP by its first bytes, TCP by its port, UDP; IPv4 and IPv6: the pid is the one the process has in the cell."""
    out = inside(user, DIAL + """
out["pid"], out["exe"] = os.getpid(), os.readlink("/proc/self/exe")
held = [dial(%d), dial(%d, "2001:db8::1")]
for s in held: s.recv(100)
for family, address in ((socket.AF_INET, "198.51.100.2"), (socket.AF_INET6, "2001:db8::2")):
    u = socket.socket(family, socket.SOCK_DGRAM); u.settimeout(5); u.connect((address, 4000)); u.send(b"x")
    try: u.recv(1)
    except ConnectionRefusedError: pass
    held.append(u)
time.sleep(0.3)
""" % (web.tls, web.tls), *allow)
    found = decisions(user)
    assert len(found) == 4 and all(d["action"] == "deny" for d in found), found
    assert all(d["process"] == {"pid": out["pid"], "exe": out["exe"]} for d in found), (out, found)


def test_a_socket_of_two_processes_is_nobodys(user, allow, web):
    inside(user, DIAL + """
s = socket.socket()
child = os.fork()
if child == 0:
    time.sleep(30); os._exit(0)
s.connect(("198.51.100.1", %d)); s.sendall(b"GET / HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n"); s.recv(100)
os.kill(child, signal.SIGKILL)
""" % web.tls, *allow)
    (d,) = decisions(user)
    assert d["process"] == "unknown"


def test_a_process_that_hides_itself_is_named_or_unknown(user, allow, web):
    """Not dumpable: /proc/PID/fd is root's then. With ids of its own the cell has a root whose rights PID 1 holds; in an
    ordinary user's cell nobody has them, and nobody is named rather than somebody else."""
    out = inside(user, DIAL + """
PR_SET_DUMPABLE = 4
assert libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
out["pid"] = os.getpid()
dial(%d).recv(100)
""" % web.tls, *allow)
    (d,) = decisions(user)
    assert d["process"] == "unknown" if user.uid else d["process"]["pid"] == out["pid"], d
