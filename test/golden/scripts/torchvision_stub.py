"""Stands in for torchvision where it is not installed: timm imports it for parts that are not used here."""

import importlib.util
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

import torch


class _Named(type):
    """A class whose unknown attributes are their own names, like the members of an enumeration."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        return name


class _Stub(types.ModuleType):
    """A module any class can be imported from."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Named(name, (torch.nn.Module,), {})


class _Torchvision(MetaPathFinder, Loader):
    """Stands in for torchvision where it is not installed."""

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

    def create_module(self, spec):
        return _Stub(spec.name)

    def exec_module(self, module):
        pass


def install() -> None:
    """Make `import torchvision` work, if it does not."""
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.append(_Torchvision())
