"""Errors of the registration, beside those of `regtask` (data, space, output)."""

from __future__ import annotations

from regtask.errors import TaskError


class ConfigError(TaskError):
    """A preset, configuration file or override cannot be used; all its faults are listed."""

    exit_code = 2


class WeightsError(TaskError):
    """Weights of an encoder are absent, are not the ones that were meant, or do not fit the encoder."""

    exit_code = 2


class DeviceError(TaskError):
    """The device that was asked for is not there."""

    exit_code = 5


class NumericalError(TaskError):
    """A result is not finite or not regular enough to be written."""

    exit_code = 6


class VerdictError(TaskError):
    """The result was written, but cannot be believed, and it was asked for that this be an error."""

    exit_code = 8


class PairsFailedError(TaskError):
    """Some pairs failed; the others, and a safe field for each failed one, were written."""

    exit_code = 7


class OutOfRoomError(TaskError):
    """Memory does not suffice, however coarsely it is computed."""

    exit_code = 3  # as wherever memory does not suffice
