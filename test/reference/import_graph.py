"""Which module of a package imports which, read from the sources."""

import ast
from graphlib import CycleError, TopologicalSorter


def modules(package):
    """Module name -> file, of all modules of a package."""
    names = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(path, known):
    """The modules that a file imports, at its top, within functions or for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in inner)


def graph(package):
    known = modules(package)
    return {name: set(imports(path, known)) for name, path in known.items()}


def circle(package):
    try:
        tuple(TopologicalSorter(graph(package)).static_order())
    except CycleError as error:
        return error.args[1]
    return []
