"""Every small change of a module that the tests should detect, and a seeded choice among them.

Changes are made at the positions of syntax nodes, so that the rest of the text stays the same.
"""

import ast
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

LOGGERS = frozenset({"log", "logger", "logging"})
SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}

Edit = tuple[int, int, str]
"""Start and end in the UTF-8 bytes of a module, and the text to put there."""


@dataclass(frozen=True)
class Mutant:
    """A module with one change; `before` and `after` are the changed lines, without indentation and line breaks."""

    path: str
    line: int
    before: str
    after: str
    source: str = field(repr=False)


class _Source:
    """The bytes of a module, with the positions of its syntax nodes."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self._line_starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._line_starts[node.lineno - 1] + node.col_offset
        return start, self._line_starts[node.end_lineno - 1] + node.end_col_offset

    def replace(self, node: ast.expr | ast.stmt, text: str) -> Edit:
        return *self.span(node), text

    def negate(self, condition: ast.expr) -> Edit:
        start, end = self.span(condition)
        return start, end, f"not ({self.data[start:end].decode()})"

    def swap(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> Iterator[Edit]:
        """Replace an operator. Syntax trees have no positions of operators, so it is searched between the operands."""
        concatenates = isinstance(operator, ast.operator) and (_is_text(left) or _is_text(right))
        if type(operator) in SWAPS and not concatenates:
            before, after = SWAPS[type(operator)]
            start = self.data.index(before.encode(), self.span(left)[1], self.span(right)[0])
            yield start, start + len(before), after


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def edits(text: str) -> list[Edit]:
    """Return every possible change of a module, in the order of the syntax tree."""
    source = _Source(text)
    return [edit for node in _code(ast.parse(text)) for edit in _edits(node, source)]


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a syntax tree without annotations, assertions, f-strings and logging calls."""
    if _is_skipped(node):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name not in {"annotation", "returns"}:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _code(child)


def _is_skipped(node: ast.AST) -> bool:
    match node:
        case ast.Assert() | ast.JoinedStr() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Subscript(value=ast.Name(id="Annotated" | "Literal")):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in LOGGERS
        case _:
            return False


def _edits(node: ast.AST, source: _Source) -> Iterator[Edit]:
    for left, operator, right in _operations(node):
        yield from source.swap(left, operator, right)
    for condition in _conditions(node):
        # Removing a `not` is an edit of its own.
        if not (isinstance(condition, ast.UnaryOp) and isinstance(condition.op, ast.Not)):
            yield source.negate(condition)
    match node:
        case ast.UnaryOp(op=ast.Not()):
            start, _ = source.span(node)
            yield start, start + len("not "), ""
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            yield source.replace(node, repr(value + 1))
        case ast.Return(value=ast.Constant(value=None)):
            pass
        case ast.Return(value=ast.expr() as value):
            yield source.replace(value, "None")
        case ast.Continue() | ast.Break():
            yield source.replace(node, "break" if isinstance(node, ast.Continue) else "continue")
        case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
            yield source.replace(node, "pass")


def _operations(node: ast.AST) -> Iterator[tuple[ast.expr, ast.AST, ast.expr]]:
    """Yield the binary operations of a node: left operand, operator, right operand."""
    match node:
        case ast.Compare(left=first, ops=operators, comparators=others):
            for (left, right), operator in zip(pairwise([first, *others]), operators, strict=True):
                yield left, operator, right
        case ast.BoolOp(op=connective, values=values):
            for left, right in pairwise(values):
                yield left, connective, right
        case ast.BinOp(left=left, op=arithmetic, right=right):
            yield left, arithmetic, right
        case ast.AugAssign(target=target, op=arithmetic, value=value):
            yield target, arithmetic, value


def _conditions(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.If(test=condition) | ast.While(test=condition) | ast.IfExp(test=condition):
            return [condition]
        case ast.comprehension(ifs=conditions):
            return conditions
        case _:
            return []


def mutate(path: str, text: str, edit: Edit) -> Mutant:
    """Return the module with one change."""
    start, end, replacement = edit
    data = text.encode()
    head, tail = data[:start], data[end:]
    line_start, line_end = head.rpartition(b"\n")[2], tail.partition(b"\n")[0]
    return Mutant(
        path,
        line=head.count(b"\n") + 1,
        before=_one_line(line_start + data[start:end] + line_end),
        after=_one_line(line_start + replacement.encode() + line_end),
        source=(head + replacement.encode() + tail).decode(),
    )


def _one_line(data: bytes) -> str:
    return " ".join(data.decode().split())


def draw(sources: Mapping[str, str], count: int, seed: int) -> list[Mutant]:
    """Draw mutants that compile to something else, uniformly over every possible change of the sources."""
    places = [(path, edit) for path in sorted(sources) for edit in edits(sources[path])]
    random.Random(seed).shuffle(places)  # noqa: S311
    mutants: list[Mutant] = []
    for path, edit in places:
        if len(mutants) == count:
            break
        mutant = mutate(path, sources[path], edit)
        if _differs(mutant, sources[path]):
            mutants.append(mutant)
    return mutants


def _differs(mutant: Mutant, source: str) -> bool:
    """Return whether a mutant compiles, and has another syntax tree: an operator may be found in a comment."""
    try:
        compile(mutant.source, mutant.path, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return ast.dump(ast.parse(mutant.source)) != ast.dump(ast.parse(source))
