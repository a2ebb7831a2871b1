"""How hypothesis makes its examples."""

import os

from hypothesis import HealthCheck, settings

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
