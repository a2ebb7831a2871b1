"""Puts what several tests share on the path: importlib mode puts no test folder there."""

import sys
from pathlib import Path

for folder in ("oracle", "reference"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
