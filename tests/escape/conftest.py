# SPDX-License-Identifier: MIT
"""The harness is the one of tests/integ: users, servers, runs under way."""
import importlib.util
import sys
from pathlib import Path

INTEG = Path(__file__).resolve().parent.parent / "integ"
sys.path.insert(0, str(INTEG))
_spec = importlib.util.spec_from_file_location("cellos_integ_conftest", INTEG / "conftest.py")
_harness = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_harness)
globals().update({k: v for k, v in vars(_harness).items() if not k.startswith("__")})
