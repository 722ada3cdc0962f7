"""The order in which test files are likely to detect a change of a module."""

import ast
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path


def importers(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return for each path the paths that import it; a test file imports the conftest.py files that apply to it."""
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in sources}
    result: defaultdict[str, set[str]] = defaultdict(set)
    for path, text in sources.items():
        for name in _imported_names(ast.parse(text)):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                if imported := modules.get(".".join(parts[:length])):
                    result[imported].add(path)
        if path.startswith("tests/"):
            for folder in Path(path).parents:
                result[(folder / "conftest.py").as_posix()].add(path)
    return result


def _imported_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def by_relevance(
    test_files: Iterable[str], changed: Collection[str], graph: Mapping[str, Collection[str]]
) -> list[str]:
    """Sort test files: those named after a changed module, then by distance in the import graph.

    At the same distance, the tests of the package come first.
    """
    distances = dict.fromkeys(changed, 0)
    queue = list(changed)
    for imported in queue:
        for importer in graph.get(imported, ()):
            if importer not in distances:
                distances[importer] = distances[imported] + 1
                queue.append(importer)
    names = {f"test_{Path(path).name}" for path in changed}
    packages = tuple(f"tests/{path.split('/')[0]}/" for path in changed)
    return sorted(
        test_files,
        key=lambda file: (
            Path(file).name not in names,
            distances.get(file, math.inf),
            not file.startswith(packages),
            file,
        ),
    )
