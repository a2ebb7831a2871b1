"""A share of the campaign of broken inputs; all of it runs with `make hostile`."""

import subprocess
import sys
from pathlib import Path

from campaign.case import DOCUMENTED, Case
from campaign.cases import all_cases

RUN = Path(__file__).parent / "run.py"


def test_a_share_of_the_campaign():
    done = subprocess.run(
        [sys.executable, str(RUN), "--part"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_there_are_hundreds_of_kinds():
    cases = all_cases()
    assert len({case.name.rsplit(":", 1)[0] for case in cases}) > 300
    assert all(case.codes <= DOCUMENTED[case.program] for case in cases if isinstance(case, Case))
