"""The command line, and the entry of the container."""

from regeval.cli.command_line import main

__all__ = ["main"]
