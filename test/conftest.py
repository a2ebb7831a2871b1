"""Puts the oracle encoder on the path: importlib mode puts no test folder there."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "oracle"))
