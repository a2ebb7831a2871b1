"""What inputs from strangers and unlucky machines can do to a program, and the one place each is stopped.

`opening` opens files that are files, `memory` says what fits into this machine, `edge` ends a command with a
message and an exit code, whatever stopped it.
"""
