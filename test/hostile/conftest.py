"""Puts the campaign on the path: importlib mode puts no test folder there."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

# The same examples every time; more of them in the full campaign (make hostile).
settings.register_profile(
    "campaign",
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "40")),
    derandomize=True,
    database=None,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("campaign")
