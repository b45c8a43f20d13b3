# SPDX-License-Identifier: MIT
"""The kernel's own account of a cell's packets: each drop and each new flow as an event while the cell still runs, each flow's
end with its bytes, and numbers that add up whatever the cell does."""
import json
import subprocess

import pytest

from conftest import PATIENCE, of_type, wait_for
from probe import PRELUDE
from running import Running

FLOW, GAP = "observability.v1.network_flow_decision", "observability.v1.gap"
PER_SECOND = 100  # events of one cell
AT_END = 96       # flows that were still open

# What a workload can send that no rule lets through. (what it does, rule, protocol, destination)
DROPPED = [
    ('u4.sendto(b"m", ("224.0.0.251", 5353))', "multicast", "udp", "224.0.0.251:5353"),
    ('u4.sendto(b"m", ("239.1.2.3", 9))', "multicast", "udp", "239.1.2.3:9"),
    ('u6.sendto(b"m", ("ff05::2", 9))', "multicast", "udp", "[ff05::2]:9"),
    ('u4.sendto(b"b", ("255.255.255.255", 67))', "broadcast", "udp", "255.255.255.255:67"),
    ('u4.sendto(b"b", ("127.255.255.255", 9))', "broadcast", "udp", "127.255.255.255:9"),
    ('socket.create_connection(("203.0.113.9", 1), 5)', "proxy_port", "tcp", "203.0.113.9:1"),
    ('socket.create_connection(("2001:db8::9", 1), 5)', "proxy_port", "tcp", "[2001:db8::9]:1"),
    ('u4.sendto(b"p", ("203.0.113.9", 1))', "proxy_port", "udp", "203.0.113.9:1"),
    ('u6.sendto(b"p", ("2001:db8::9", 1))', "proxy_port", "udp", "[2001:db8::9]:1"),
]

SOCKETS = PRELUDE + '''
u4, u6 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u4.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
'''
HOLD = 'print("up", flush=True); sys.stdin.readline()\n'


def live(events):
    """Events of single packets and flows."""
    return [e for e in of_type(events, FLOW) if "protocol" in e]


def totals(events):
    """{rule: its counter at the end}."""
    return {e["rule"]: e for e in of_type(events, FLOW) if "protocol" not in e}


def gaps(events, cause):
    return [e for e in of_type(events, GAP) if e["cause"] == cause]


def begun(events):
    return [e for e in live(events) if e["action"] == "allow" and not e.get("ended")]


def ended(events):
    return [e for e in live(events) if e.get("ended")]


def denied(events):
    return [e for e in live(events) if e["action"] == "deny"]


def add_up(events):
    """Every dropped packet is in an event or a gap, and every flow that was let go on has its beginning and its end, or is in a
    gap."""
    drops = sum(e["packets"] for e in totals(events).values() if e["action"] == "deny")
    told = sum(e["packets"] for e in denied(events))
    lost = sum(g["lost"] for g in gaps(events, "flow_rate_limit"))
    flows = sum(e["packets"] for e in begun(events))
    lost_ends = sum(g["lost"] for g in gaps(events, "flow_end_rate_limit"))
    assert told <= drops
    assert drops - told <= lost
    assert flows + (lost - (drops - told)) == len(ended(events)) + lost_ends, (drops, told, lost, flows, lost_ends)
    return lost, lost_ends


class Held(Running):
    """A cell that does something, says "up" and waits for a line."""

    def __init__(self, user, text, *flags, **kw):
        super().__init__(user, *flags, "--", "python3", "-c", SOCKETS + text + HOLD, stdin=subprocess.PIPE, **kw)

    def finish(self):
        self.p.stdin.write(b"go\n")
        self.p.stdin.close()
        assert self.p.wait(PATIENCE) == 0, self.stderr()


def test_every_drop_is_told_while_the_cell_runs(user):
    """With its addresses and ports, one event each."""
    with Held(user, "".join("attempt(lambda: %s)\n" % how for how, *_ in DROPPED)) as r:
        wait_for(lambda: len([e for e in denied(user.events()) if e["protocol"] != "icmp"]) >= len(DROPPED), PATIENCE)
        seen = denied(user.events())
        assert "lifecycle.v1.destroyed" not in [e["type"].split("cell.")[1] for e in user.events()]
        r.finish()
    want = sorted((rule, protocol, to) for _, rule, protocol, to in DROPPED)
    told = [e for e in seen if e["protocol"] != "icmp"]  # a refusal by ICMP is the kernel's own packet, and dropped
    assert sorted((e["rule"], e["protocol"], e["destination"]) for e in told) == want
    for e in told:
        assert (e["action"], e["reasonCode"], e["chain"]) == ("deny", "flow_default_drop", "output")
        assert e["packets"] >= 1 and e["bytes"] >= 29
        assert e["source"].rpartition(":")[2].isdigit() and "ended" not in e
    add_up(user.events())
    assert user.verify().returncode == 0


def test_raw_and_ping_sockets_do_not_exist(user):
    """The kinds of drop a workload cannot even cause: the filter and the kernel refuse the socket."""
    r = user.ctl("run", "--", "python3", "-c", PRELUDE + '''
for family, kind, protocol in ((2, 3, 1), (10, 3, 58), (2, 3, 255), (2, 2, 1), (10, 2, 58), (17, 3, 0)):
    out["%d/%d/%d" % (family, kind, protocol)] = attempt(socket.socket, family, kind, protocol)
print(json.dumps(out))''')
    assert r.returncode == 0, r.stderr
    assert "ok" not in json.loads(r.stdout).values(), r.stdout
    assert totals(user.events())["other_protocol"]["packets"] == 0


def test_an_accepted_flow_begins_and_ends(user, allow, web, pki):
    r = user.ctl("run", *allow, "--", "curl", "-sS", "-4", "--cacert", pki.ca, "https://example.test:%d/" % web.tls)
    assert r.returncode == 0, r.stderr
    events = user.events()
    (first,) = [e for e in begun(events) if e["rule"] == "intercept"]
    assert (first["protocol"], first["reasonCode"], first["chain"]) == ("tcp", "flow_proxy_accept", "prerouting")
    assert first["destination"] == "127.0.0.1:%d" % web.tls and first["packets"] == 1
    (last,) = [e for e in ended(events) if e["rule"] == "intercept"]
    assert (last["source"], last["destination"]) == (first["source"], first["destination"])
    (l7,) = of_type(events, "observability.v1.l7_egress_decision")
    assert l7["originalDestination"] == last["destination"]
    # both directions: what the rules counted of it, which is a little less where the proxy had the last word
    assert last["packets"] >= totals(events)["intercept"]["packets"] > 3
    assert last["bytes"] > totals(events)["intercept"]["bytes"] > 500
    dns = [e for e in begun(events) if e["rule"] == "dns"]
    assert dns and all(e["destination"].endswith(":53") and e["protocol"] == "udp" for e in dns)
    assert add_up(events) == (0, 0)


def test_bytes_are_those_of_the_flow(user):
    """A server of the workload's own: what went through is known to the byte, headers aside."""
    size = 1 << 20
    r = user.ctl("run", "--", "python3", "-c", """
import socket, threading
s = socket.create_server(("127.0.0.1", 8080))
def serve():
    a, _ = s.accept()
    a.sendall(bytes(%d)); a.close()
t = threading.Thread(target=serve); t.start()
c = socket.create_connection(("127.0.0.1", 8080)); n = 0
while (b := c.recv(65536)): n += len(b)
c.close(); t.join(); print(n)""" % size)
    assert r.stdout == "%d\n" % size, r.stderr
    (e,) = ended(user.events())
    assert (e["rule"], e["reasonCode"], e["destination"]) == ("own_server", "flow_loopback_accept", "127.0.0.1:8080")
    assert size < e["bytes"] <= size + 120 * e["packets"]
    assert add_up(user.events()) == (0, 0)


def test_repeats_are_one_event_with_their_number(user):
    r = user.ctl("run", "--", "python3", "-c", SOCKETS + '''
for i in range(500): attempt(u4.sendto, b"again", ("224.0.0.251", 5353))''')
    assert r.returncode == 0, r.stderr
    told = denied(user.events())
    lost, lost_ends = add_up(user.events())  # what came faster than netd's next turn
    assert sum(e["packets"] for e in told) + lost == totals(user.events())["multicast"]["packets"] == 500
    assert all(e["bytes"] == 33 * e["packets"] for e in told)
    assert len({(e["source"], e["destination"]) for e in told}) == 1
    assert 2 <= len(told) < 250  # two a second, at most
    assert lost_ends == 0


def test_a_flood_is_a_gap_with_its_exact_number(user):
    count = 20000
    r = user.ctl("run", "--", "python3", "-c", SOCKETS + '''
for i in range(%d): attempt(u4.sendto, b"x", ("224.0.%%d.%%d" %% (i >> 8 & 255, i & 255), 9))''' % count)
    assert r.returncode == 0, r.stderr
    events = user.events()
    assert totals(events)["multicast"]["packets"] == count
    lost, lost_ends = add_up(events)
    assert lost_ends == 0 and lost == count - sum(e["packets"] for e in denied(events))
    assert 0 < len(denied(events)) < count
    assert user.verify().returncode == 0


def test_a_flood_of_connections(user):
    """To a server in the cell: nothing of it is denied, all of it is counted."""
    count = 3000
    r = user.ctl("run", "--", "python3", "-c", """
import socket
s = socket.create_server(("127.0.0.1", 8080), backlog=64)
for i in range(%d):
    c = socket.create_connection(("127.0.0.1", 8080), 10); a, _ = s.accept(); c.close(); a.close()
print("done")""" % count)
    assert r.stdout == "done\n", r.stderr
    events = user.events()
    lost, lost_ends = add_up(events)
    assert len(begun(events)) + lost == count
    assert len(ended(events)) + lost_ends == count
    assert lost > 0 and len(ended(events)) >= AT_END
    assert not denied(events)


def test_one_cells_flood_does_not_hide_anothers_packet(ordinary):
    """Each cell has a log, a limit and a suite of its own; the flood is still on when the other speaks."""
    with Running(ordinary, "--ttl", 60, "--", "python3", "-c", SOCKETS + '''
print("up", flush=True)
while True: attempt(u4.sendto, b"x", ("224.0.%d.%d" % (time.time_ns() >> 8 & 255, time.time_ns() & 255), 9))'''):
        r = ordinary.ctl("run", "--", "python3", "-c", SOCKETS + 'attempt(u4.sendto, b"m", ("239.1.2.3", 9))')
        assert r.returncode == 0, r.stderr
        (e,) = denied(ordinary.events(ordinary.logs()[-1]))
        assert (e["destination"], e["packets"]) == ("239.1.2.3:9", 1)


def test_connections_agree_with_the_proxys_own_count(user, allow, web, pki):
    """The kernel's flows, the proxy's decisions and the summary are three accounts of the same connections."""
    count = 5
    r = user.ctl("run", *allow, "--", "sh", "-c", "for i in %s; do curl -sS -4 --cacert %s https://example.test:%d/; done"
                 % (" ".join(map(str, range(count))), pki.ca, web.tls))
    assert r.stdout == "hello from nginx\n" * count, r.stderr
    events = user.events()
    (home,) = of_type(events, "observability.v1.homeostasis")
    allowed = [e for e in of_type(events, "observability.v1.l7_egress_decision") if e["action"] == "allow"]
    flows = [e for e in begun(events) if e["rule"] == "intercept"]
    assert home["exercisedEgressConnections"] == len(allowed) == len(flows) == count
    assert {e["originalDestination"] for e in allowed} == {e["destination"] for e in flows}


def test_workload_cannot_read_or_turn_off_the_log(user):
    """Neither by netlink (the filter knows NETLINK_ROUTE only), nor by /proc/sys, which is read-only for it."""
    r = user.ctl("run", "--", "python3", "-c", SOCKETS + '''
out["netfilter"] = attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 12)
def write(): open("/proc/sys/net/netfilter/nf_conntrack_acct", "w").write("0")
out["acct"] = attempt(write)
attempt(u4.sendto, b"m", ("224.0.0.251", 5353))
print(json.dumps(out))''')
    out = json.loads(r.stdout)
    assert "ok" not in out.values(), out
    assert len(denied(user.events())) == 1


@pytest.mark.parametrize("how, rule, to", [
    ('u4.sendto(b"x", ("203.0.113.9", 53))', "udp", "203.0.113.9:53"),
    ('u6.sendto(b"x", ("::1", 9))', "udp", "[::1]:9"),
    ('u4.sendto(b"x", ("224.0.0.1", 9))', "multicast", "224.0.0.1:9"),
])
def test_mode_none_lets_nothing_through_and_says_so(user, how, rule, to):
    r = user.ctl("run", "--network", "none", "--", "python3", "-c", SOCKETS + '''
out["sent"] = attempt(lambda: %s)
t = socket.socket(); t.settimeout(0.3)
out["tcp"] = attempt(t.connect, ("203.0.113.9", 443))
print(json.dumps(out))''' % how)
    assert r.returncode == 0, r.stderr
    assert "ok" not in json.loads(r.stdout).values(), r.stdout
    events = user.events()
    (enforced,) = of_type(events, "observability.v1.network_enforcement")
    assert (enforced["mode"], enforced["applied"]) == ("none", True)
    assert ("udp", rule, to) in [(e["protocol"], e["rule"], e["destination"]) for e in denied(events)]
    assert ("tcp", "203.0.113.9:443") in [(e["protocol"], e["destination"]) for e in denied(events)]
    assert not begun(events) and not ended(events)
    assert set(totals(events)) == {"unmatched", "multicast", "broadcast", "tcp", "udp", "other_protocol"}
    assert not of_type(events, "observability.v1.dns_query")
    add_up(events)


def test_cost_of_a_connection(ordinary):
    """Not a pass or fail: what a connection to the cell's own server costs, with the flow log watching."""
    r = ordinary.ctl("run", "--", "python3", "-c", """
import socket, time
s = socket.create_server(("127.0.0.1", 8080)); n = 2000; t = time.monotonic()
for i in range(n):
    c = socket.create_connection(("127.0.0.1", 8080)); a, _ = s.accept(); c.close(); a.close()
print("%.1f us a connection" % ((time.monotonic() - t) / n * 1e6))""")
    print(r.stdout)
    assert r.returncode == 0, r.stderr
