# SPDX-License-Identifier: MIT
"""Every event type, with the least and the most it can hold, as tools of others see it: the JSON schema of CloudEvents, the SDK
for JavaScript, and the independent verifier."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import pytest

import independent
from conftest import BIN, TREE
from test_evidence import JS, VECTORS, needs_vectors

TYPES = re.findall(r'^    E\(EVENT_\w+, \w+, *\\?\s*"([^"]+)"', (TREE / "proto/events.h").read_text(), re.M)


@pytest.fixture(scope="module")
def logs():
    """The two logs the unit test leaves behind: one for each seal mode."""
    program = BIN.parent / "unit/test_signerd_every_event"
    if not program.exists():
        subprocess.run(["make", "-s", "-C", TREE, "B=%s" % BIN.parent, program], check=True)
    base = Path(tempfile.mkdtemp(prefix="cellos-ev-"))
    made = subprocess.run([program], env={**os.environ, "CELLOS_EVENTS_DIR": str(base)}, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    yield [base / "event/log", base / "batch/log"]
    shutil.rmtree(base)


def suffixes(log):
    return [json.loads(line)["type"].removeprefix(independent.PREFIX) for line in independent.lines_of(log)]


def test_every_type_is_there(logs):
    assert len(TYPES) > 25
    for log in logs:
        assert set(TYPES) - set(suffixes(log)) <= {"log.v1.pruned", "log.v1.keyset_changed"}, "what the table has and the log does not"
        assert suffixes(log)[-1] == "log.v1.recovered"


@needs_vectors
def test_schema(logs):
    schema = json.loads((VECTORS / "cloudevents.schema.json").read_text())
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    for log in logs:
        for line in independent.lines_of(log):
            validator.validate(json.loads(line))


def test_independent_verifier(logs):
    for log in logs:
        r = subprocess.run([sys.executable, independent.__file__, log], capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stdout + r.stderr


def test_cellctl_verify(logs):
    for log in logs:
        r = subprocess.run([BIN / "cellctl", "verify", log, "--key", log / "vkey"], capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stdout + r.stderr


def test_javascript_sdk(logs):
    """The CloudEvents SDK from npm; without a registry this one test fails."""
    work = Path(tempfile.mkdtemp(prefix="cellos-js-"))
    try:
        for name in ("package.json", "parse.mjs"):
            shutil.copy(JS / name, work / name)
        env = {**os.environ, "npm_config_cache": str(work / "cache"), "npm_config_update_notifier": "false"}
        made = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], cwd=work, env=env,
                              capture_output=True, text=True, timeout=180)
        assert made.returncode == 0, "npm install: is a registry reachable? " + made.stderr[-2000:]
        files = [str(f) for log in logs for f in sorted(log.glob("*.jsonl"))]
        r = subprocess.run(["node", "parse.mjs", *files], cwd=work, capture_output=True, text=True, timeout=120)
        assert r.returncode == 0, r.stderr
        assert int(r.stdout) == sum(len(independent.lines_of(log)) for log in logs)
    finally:
        shutil.rmtree(work, ignore_errors=True)
