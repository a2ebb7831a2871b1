"""What the verbs of the command line add their parsers to."""

import argparse
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # argparse's class takes no parameter when the program runs
    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Verbs = argparse._SubParsersAction
