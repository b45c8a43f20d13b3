# SPDX-License-Identifier: MIT
"""`--network none`, looked at from outside: nobody holds a socket inside the cell, and proxyd knows nothing of it."""
import os
from pathlib import Path

import pytest

from conftest import ORDINARY_UID, User, kept
from running import DAEMONS, Running
from test_roles import held, inodes


@pytest.fixture(scope="module", params=["root", "ordinary"])
def running(request, world):
    for u in kept(User(request.param, 0 if request.param == "root" else ORDINARY_UID, world)):
        with Running(u, "--network", "none", "--", "sh", "-c", "echo up; sleep 300") as r:
            yield r


@pytest.mark.parametrize("name", [*DAEMONS, "zygote"])
def test_no_daemon_holds_a_socket_of_the_cell(running, name):
    kinds = held(running, name)
    allowed = {"cell netlink"} if name == "netd" else set()
    assert {k for k in kinds if k.startswith("cell ")} <= allowed, kinds
    if name == "proxyd":  # supervisor, signerd, netd; no who line
        assert kinds["line"] == 3, kinds


def test_no_socket_is_in_the_cell_at_all(running):
    found = inodes("/proc/%d/net" % running.workload[0])
    assert set(found.values()) <= {"netlink"}, found


def test_the_cell_has_a_network_namespace_of_its_own(running):
    assert os.readlink("/proc/%d/ns/net" % running.workload[0]) != os.readlink("/proc/self/ns/net")
    devices = Path("/proc/%d/net/dev" % running.workload[0]).read_text().splitlines()[2:]
    assert [d.split(":")[0].strip() for d in devices] in (["lo"], [])


def test_signerd_heard_of_no_listener(running):
    kinds = {e["type"].rsplit(".", 1)[1] for e in running.user.events()}
    assert "network_enforcement" in kinds and "l7_egress_decision" not in kinds and "dns_query" not in kinds
