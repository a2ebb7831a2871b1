"""`python -m regeval`, the same as the command `regeval`."""

import sys

from regeval.cli import main

if __name__ == "__main__":
    sys.exit(main())
