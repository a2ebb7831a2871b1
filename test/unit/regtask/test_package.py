import subprocess
import sys

import regtask


def test_import_is_light_and_silent():
    code = (
        "import logging, sys, warnings; warnings.simplefilter('error'); import regtask;"
        "heavy = {'torch', 'SimpleITK', 'pydantic', 'matplotlib', 'dinoreg', 'regeval'} & set(sys.modules);"
        "assert not heavy, heavy; assert not logging.getLogger().handlers"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_public_names_exist_and_are_sorted():
    assert sorted(regtask.__all__) == regtask.__all__
    assert all(hasattr(regtask, name) for name in regtask.__all__)
