# SPDX-License-Identifier: MIT
"""cellctl key and what it does to logs: rotation, revocation, pinning, keys in credentials and tokens, hostile directories. The
keyset is checked by Python's own Ed25519, from docs/evidence.md alone."""
import base64
import hashlib
import json
import os
import signal
import subprocess
import time
from datetime import datetime, timezone

import pytest
from conftest import of_type, types, wait_for
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"


def run(user, *flags, **kw):
    r = user.ctl("run", *flags, "--", "true", **kw)
    assert r.returncode == 0, r.stderr
    return user.last_log()


def key(user, *args, status=0, **kw):
    r = user.ctl("key", *args, **kw)
    assert r.returncode == status, (args, r.stdout, r.stderr)
    return r


def keys(user, **kw):
    return json.loads(key(user, "list", "--json", **kw).stdout)


def active(user):
    return next(k for k in keys(user) if k["state"] == "active")


def put(user, name, data, mode=0o600):
    path = user.file(name, data)
    path.chmod(mode)
    return path


def check_keyset(text):
    """An independent reader of a keyset file: the chain, the signatures, who may sign. Answers the last version."""
    previous = None
    assert text.endswith("\n")
    for number, line in enumerate(text.splitlines(), 1):
        version = json.loads(line)
        assert list(version)[:2] == ["keyset", "version"] and version["keyset"] == "cellos.keyset/v1"
        assert version["version"] == number
        by_id = {k["keyid"]: k for k in version["keys"]}
        for keyid, k in by_id.items():
            raw = base64.b64decode(k["vkey"].split("+", 2)[2])
            assert raw[0] == 1 and keyid == "sha256:" + hashlib.sha256(raw[1:]).hexdigest()
        signed = b"CellOS trust keyset v1\n" + line[:line.rindex(',"signatures":[')].encode()
        signers = []
        for s in version["signatures"]:
            raw = base64.b64decode(by_id[s["keyid"]]["vkey"].split("+", 2)[2])[1:]
            Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(s["sig"]), signed)
            signers.append(s["keyid"])
        own = [k["keyid"] for k in version["keys"] if k["state"] == "active"]
        assert len(own) == 1 and own[0] in signers
        if previous:
            assert version["previous"] == "sha256:" + hashlib.sha256(previous[0].encode()).hexdigest()
            may = [k["keyid"] for k in previous[1]["keys"] if k["state"] in ("active", "standby")]
            assert any(s in may for s in signers)
        previous = (line, version)
    return previous[1]


def test_the_first_run_makes_key_and_keyset(user):
    r = key(user, "list", status=2)
    assert "the first run" in r.stderr
    log = run(user)
    assert [k["state"] for k in keys(user)] == ["active"]
    keyset = (user.state / "keys/keyset").read_text()
    assert (log / "keyset").read_text() == keyset
    assert check_keyset(keyset)["keys"][0]["notBefore"] == "1970-01-01T00:00:00Z"
    assert sorted(p.name for p in (user.state / "keys").iterdir()) == ["keyset", "signing.key", "signing.vkey"]
    for p in (user.state / "keys").iterdir():
        assert p.stat().st_mode & 0o777 == 0o600 and p.stat().st_uid == user.uid


def test_rotate_between_runs_and_verify_old_and_new(user):
    old = run(user)
    first = key(user, "export").stdout
    before = active(user)
    r = key(user, "rotate", "--valid-for", "90d", "--grace", "1h")
    assert "old key to their end" in r.stderr
    now = keys(user)
    assert [k["state"] for k in now] == ["retired", "active"] and now[0]["keyid"] == before["keyid"]
    assert "notAfter" in now[0] and "notAfter" in now[1]
    new = run(user)
    assert user.verify(old).returncode == 0 and user.verify(new).returncode == 0
    check_keyset((new / "keyset").read_text())
    assert (new / "keyset").read_text().startswith((old / "keyset").read_text())
    pin = user.file("pin", first)
    for log in (old, new):
        r = user.ctl("verify", "--keyset", pin, log, env={"XDG_STATE_HOME": str(user.home / "elsewhere")})
        assert r.returncode == 0 and "self-declared" not in r.stdout, r.stdout
    # The key alone: the keyset it signed says the rest.
    vkey = user.file("vkey", (old / "vkey").read_text())
    assert user.ctl("verify", "--key", vkey, new).returncode == 0
    assert key(user, "export", "--vkey").stdout.strip() == (new / "vkey").read_text().strip()


def test_a_rotation_does_not_touch_a_run_that_goes_on(user):
    p = user.popen("run", "--", "sh", "-c", "read x", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(lambda: (user.state / "log").exists() and user.logs() and "lifecycle.v1.started" in types(user.events()))
    key(user, "rotate")
    p.communicate(b"go\n", timeout=30)
    assert p.returncode == 0
    assert types(user.events())[-1] == "lifecycle.v1.destroyed"
    assert user.verify().returncode == 0


def test_revoke(user):
    log = run(user)
    stolen = active(user)
    time.sleep(1.1)
    at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    late = run(user)
    r = key(user, "revoke", stolen["keyid"][7:15], "--at", at, "--reason", "laptop stolen")
    assert "cellctl key export" in r.stderr
    now = keys(user)
    assert [k["state"] for k in now] == ["revoked", "active"]
    assert now[0]["revokedAt"] == at and now[0]["revokedReason"] == "laptop stolen"
    assert user.verify(log).returncode == 0
    r = user.verify(late)
    assert r.returncode == 4 and "revoked" in r.stdout, r.stdout
    assert user.verify(run(user)).returncode == 0
    assert "revoked already" in key(user, "revoke", stolen["keyid"][7:15], status=2).stderr
    # Without the new keyset a verifier cannot know: the log's own is the old one.
    assert user.ctl("verify", late, env={"XDG_STATE_HOME": str(user.home / "elsewhere")}).returncode == 0
    check_keyset(key(user, "export").stdout)


def test_a_lost_key_and_its_standby(user):
    run(user)
    key(user, "new", "--standby")
    lost = active(user)
    (user.state / "keys/signing.key").unlink()
    r = user.ctl("run", "--", "true")
    assert r.returncode == 125 and "cellctl key rotate" in r.stderr, r.stderr
    key(user, "revoke", lost["name"])
    assert user.verify(run(user)).returncode == 0
    assert check_keyset(key(user, "export").stdout)["version"] == 3


def test_an_expired_key_is_told_with_its_remedy(user):
    key(user, "new", "--valid-for", "1s")
    time.sleep(2.2)
    r = user.ctl("run", "--", "true")
    assert r.returncode == 125 and "ended at" in r.stderr and "cellctl key rotate" in r.stderr, r.stderr
    assert "expired" in key(user, "list").stdout
    key(user, "rotate")
    assert user.verify(run(user)).returncode == 0


def test_forks_and_tampering(user):
    """Two stories from the same version on; a keyset that was cut, exchanged or edited."""
    log = run(user)
    keyset = user.state / "keys/keyset"
    one = keyset.read_bytes()
    seed = (user.state / "keys/signing.key").read_bytes()
    key(user, "rotate")
    two = keyset.read_bytes()
    log = run(user)
    keyset.write_bytes(one)
    (user.state / "keys/signing.key").write_bytes(seed)
    key(user, "rotate")
    r = user.verify(log)  # this user's keyset has another second version now
    assert r.returncode == 4 and "another line for a version" in r.stdout, r.stdout
    pin = user.file("pin", two.decode())
    assert user.ctl("verify", "--keyset", pin, log).returncode == 0
    for bad in (one, two[:-1], two.replace(b"active", b"retired", 1), two + two.splitlines(True)[1], b"", b"{}\n"):
        (log / "keyset").write_bytes(bad)
        r = user.ctl("verify", log, env={"XDG_STATE_HOME": str(user.home / "elsewhere")})
        assert r.returncode == (0 if bad == two else 4), (bad[:60], r.stdout)
        if bad not in (b"", b"{}\n"):
            continue
        r = user.ctl("verify", "--keyset", user.file("empty", bad.decode()), log)
        assert r.returncode == (4 if bad else 2), r.stderr  # not a keyset; nothing to trust


def test_races(user):
    """Many first runs at once: one key. And changes meanwhile: a whole chain."""
    several = [user.popen("run", "--name", "c%d" % i, "--", "true", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) for i in range(4)]
    for p in several:
        assert p.wait(60) == 0, p.stderr.read()
    assert len(keys(user)) == 1
    several = [user.popen("key", "rotate", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
               for i in range(4)]
    for p in several:
        assert p.wait(60) == 0, p.stderr.read()
    assert check_keyset(key(user, "export").stdout)["version"] == 5
    assert user.ctl("verify").returncode == 0


@pytest.mark.parametrize("how", ["directory writable", "key readable", "key a link", "keyset a link", "key another's",
                                 "directory another's"])
def test_hostile_directory(ordinary, how):
    user = ordinary
    run(user)
    d = user.state / "keys"
    if how == "directory writable":
        d.chmod(0o777)
    elif how == "key readable":
        (d / "signing.key").chmod(0o644)
    elif how in ("key a link", "keyset a link"):
        name = "signing.key" if how == "key a link" else "keyset"
        (d / name).rename(user.home / "moved")
        (d / name).symlink_to(user.home / "moved")
    elif how == "key another's":
        os.chown(d / "signing.key", 0, 0)
        (d / "signing.key").chmod(0o604)
    else:
        os.chown(d, 0, 0)
        d.chmod(0o755)
    before = {p.name: p.lstat().st_mtime_ns for p in d.iterdir()}
    for args in (["run", "--", "true"], ["key", "rotate"]):
        r = user.ctl(*args)
        assert r.returncode in (2, 125), (args, r.stdout, r.stderr)
        assert "keys" in r.stderr, r.stderr
    assert {p.name: p.lstat().st_mtime_ns for p in d.iterdir()} == before


def test_a_credential(user):
    """LoadCredentialEncrypted= decrypts before the process starts; what it sees is a directory with the key in it."""
    seed = base64.b64encode(os.urandom(32)).decode() + "\n"
    directory = user.home / "credentials"
    directory.mkdir(mode=0o700)
    os.chown(directory, user.uid, user.uid)
    put(user, "credentials/cellos.signing.key", seed, 0o400)
    env = {"CREDENTIALS_DIRECTORY": str(directory)}
    log = run(user, env=env)
    assert sorted(p.name for p in (user.state / "keys").iterdir()) == ["keyset", "signing.vkey"]
    assert keys(user)[0]["where"] == "elsewhere"
    assert user.verify(log).returncode == 0
    r = user.ctl("run", "--", "true")  # without it: nothing is made up
    assert r.returncode == 125 and "keys/signing.key is missing" in r.stderr, r.stderr
    (directory / "cellos.signing.key").chmod(0o444)
    r = user.ctl("run", "--", "true", env=env)
    assert r.returncode == 125 and "may be read by others" in r.stderr, r.stderr
    # From one credential to the next.
    (directory / "cellos.signing.key").chmod(0o400)
    put(user, "credentials/next", base64.b64encode(os.urandom(32)).decode() + "\n", 0o400)
    key(user, "rotate", "--new-key", "credential:next", env=env)
    os.rename(directory / "next", directory / "cellos.signing.key")
    assert user.verify(run(user, env=env)).returncode == 0
    assert [k["state"] for k in keys(user)] == ["retired", "active"]


@pytest.fixture
def token(user):
    """A real SoftHSM token with an Ed25519 key made in it."""
    directory = user.home / "tokens"
    directory.mkdir(mode=0o700)
    os.chown(directory, user.uid, user.uid)
    conf = user.file("softhsm2.conf", "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n" % directory)
    pin = put(user, "pin", "98765432\n")
    env = {**user.env, "SOFTHSM2_CONF": str(conf)}
    as_user = [] if user.uid == 0 else ["setpriv", "--reuid", str(user.uid), "--regid", str(user.uid), "--clear-groups"]
    tool = ["pkcs11-tool", "--module", SOFTHSM, "--token-label", "cellos", "--login", "--pin", "98765432", "--keypairgen",
            "--key-type", "EC:edwards25519", "--label"]
    for command in (["softhsm2-util", "--init-token", "--free", "--label", "cellos", "--so-pin", "12345678", "--pin", "98765432"],
                    [*tool, "one", "--id", "01"], [*tool, "two", "--id", "02"]):
        r = subprocess.run(as_user + command, env=env, capture_output=True, text=True, timeout=60, cwd="/")
        assert r.returncode == 0, r.stdout + r.stderr
    uri = "pkcs11:token=cellos;object=%s?module-path=" + SOFTHSM + "&pin-source=file:%s&x-token-dir=%s" % (pin, directory)
    return {"SOFTHSM2_CONF": str(conf)}, uri, pin


def test_a_token_signs_whole_logs(user, token):
    env, uri, _ = token
    key(user, "new", "--new-key", uri % "one", env=env)
    assert keys(user)[0]["where"] == "token"
    assert sorted(p.name for p in (user.state / "keys").iterdir()) == ["keyset", "signing.uri", "signing.vkey"]
    log = run(user, env=env)
    assert user.verify(log).returncode == 0 and len(user.events(log)) > 10
    # To another key of the token, and out of it; each signs the next.
    key(user, "rotate", "--new-key", uri % "two", env=env)
    assert user.verify(run(user, env=env)).returncode == 0
    key(user, "rotate", env=env)
    assert active(user)["where"] == "file"
    assert user.verify(run(user)).returncode == 0
    assert check_keyset(key(user, "export").stdout)["version"] == 3
    assert user.ctl("verify").returncode == 0


def test_the_module_is_in_a_process_of_its_own(user, token):
    """The one with the log never maps it; the one with the module is confined and holds neither log nor keys."""
    env, uri, _ = token
    key(user, "new", "--new-key", uri % "one", env=env)
    p = user.popen("run", "--", "sh", "-c", "read x", env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)
    try:
        wait_for(lambda: (user.state / "log").exists() and user.logs() and "lifecycle.v1.started" in types(user.events()))
        signers = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                exe = os.readlink("/proc/%s/exe" % pid)
                if exe == str(user.world / "bin/cellos-signerd"):
                    status = dict(l.split(":\t", 1) for l in open("/proc/%s/status" % pid).read().splitlines() if ":\t" in l)
                    fds = [os.readlink("/proc/%s/fd/%s" % (pid, f)) for f in os.listdir("/proc/%s/fd" % pid)]
                    signers.append((softhsm_mapped(pid), status, fds, pid))
            except OSError:
                continue
        signers = [s for s in signers if s]
        assert sorted(s[0] for s in signers) == [False, True], signers
        for mapped, status, fds, pid in signers:
            assert status["Seccomp"].strip() == "2" and int(status["CapEff"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
            if mapped:
                assert not [f for f in fds if "/log/" in f or f.endswith("/keys")], fds
                # What a terminal or a service manager sends to all at once: the log has still to be signed to its end.
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                    os.kill(int(pid), number)
    finally:
        p.communicate(b"go\n", timeout=30)
    assert p.returncode == 0


def softhsm_mapped(pid):
    return "softhsm" in open("/proc/%s/maps" % pid).read()


def test_a_token_that_cannot_be_used(user, token):
    env, uri, pin = token
    good = uri % "one"
    for bad, text in ((uri % "none", "no Ed25519 private key"), (good.replace("token=cellos", "token=other"), "no such token"),
                      (good.replace(SOFTHSM, "/nowhere.so"), "module"), (good.replace("?module", "?modul"), "not a pkcs11: URI"),
                      (good.split("&pin-source")[0], "where the PIN is")):
        r = key(user, "new", "--new-key", bad, env=env, status=2)
        assert text in r.stderr, (bad, r.stderr)
    pin.chmod(0o644)
    assert "mode 0600" in key(user, "new", "--new-key", good, env=env, status=2).stderr
    pin.chmod(0o600)
    pin.write_text("00000000\n")
    assert "C_Login" in key(user, "new", "--new-key", good, env=env, status=2).stderr
    assert not (user.state / "keys/keyset").exists()


def test_another_users_directory_and_its_owner(root_user, world):
    """root changes the keys of a service: what is made belongs to the service."""
    d = root_user.home / "service/keys"
    d.mkdir(parents=True)
    root_user.home.chmod(0o755)
    os.chown(d, 61000, 61000)
    d.chmod(0o700)
    key(root_user, "new", "--state", d.parent)
    key(root_user, "rotate", "--state", d.parent)
    assert {p.stat().st_uid for p in d.iterdir()} == {61000}


@pytest.mark.parametrize("args, status, text", [
    ([], 1, "an action is missing"), (["frobnicate"], 1, "unknown action"), (["list", "--standby"], 1, "not for"),
    (["revoke"], 1, "which key"), (["rotate", "--valid-for", "soon"], 1, "a number and"), (["rotate", "--valid-for", "101y"], 1, "100y"),
    (["revoke", "abcd", "--at", "yesterday"], 1, "a time like"), (["export", "--vkey", "--keyset"], 1, "not both"),
    (["list", "x"], 1, "too many"), (["rotate"], 2, "cellctl key new"), (["export"], 2, "makes it")])
def test_usage(ordinary, args, status, text):
    assert text in key(ordinary, *args, status=status).stderr
    assert "usage: cellctl key new" in ordinary.ctl("key", "--help").stdout


def test_export_to_a_file(user):
    run(user)
    path = user.home / "trusted.keyset"
    key(user, "export", "-o", path)
    assert path.read_text() == (user.state / "keys/keyset").read_text()
    assert user.ctl("verify", "--keyset", path, user.last_log()).returncode == 0
