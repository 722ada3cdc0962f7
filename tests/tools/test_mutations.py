"""Mutants differ from their module in one small change of executable code."""

import pytest

from tools.mutations import draw, edits, mutate


def changes(text: str) -> list[str]:
    """The changed lines of every mutant of a module."""
    return [mutate("module.py", text, edit).after for edit in edits(text)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a < b", ["x = a <= b"]),
        ("x = a <= b", ["x = a < b"]),
        ("x = a > b", ["x = a >= b"]),
        ("x = a >= b", ["x = a > b"]),
        ("x = a == b", ["x = a != b"]),
        ("x = a != b", ["x = a == b"]),
        ("x = a is b", ["x = a is not b"]),
        ("x = a is not b", ["x = a is b"]),
        ("x = a in b", ["x = a not in b"]),
        ("x = a not in b", ["x = a in b"]),
        ("x = a < b < c", ["x = a <= b < c", "x = a < b <= c"]),
        ("x = a + b", ["x = a - b"]),
        ("x = a - b", ["x = a + b"]),
        ("x = (a) * (b)", ["x = (a) / (b)"]),
        ("x = a / b", ["x = a * b"]),
        ("x += a", ["x -= a"]),
        ("x *= a", ["x /= a"]),
        ("x = a and b", ["x = a or b"]),
        ("x = a or b or c", ["x = a and b or c", "x = a or b and c"]),
        ("x = not a", ["x = a"]),
        ("x = b and not (a or c)", ["x = b or not (a or c)", "x = b and (a or c)", "x = b and not (a and c)"]),
        ("x = 1", ["x = 2"]),
        ("x = 0.5", ["x = 1.5"]),
        ("x = a if b else c", ["x = a if not (b) else c"]),
        ("x = [a for a in b if a]", ["x = [a for a in b if not (a)]"]),
        ("f(a)", ["pass"]),
        ("async def g():\n    await f(a)", ["pass"]),
        ("def g():\n    return a", ["return None"]),
        ("if a: b = c", ["if not (a): b = c"]),
        ("if not a: b = c", ["if a: b = c"]),
        ("while a:\n    continue", ["while not (a):", "break"]),
        ("for a in b:\n    break", ["continue"]),
        ('x = "Δ", a + b', ['x = "Δ", a - b']),
    ],
)
def test_every_kind_of_edit_changes_one_place(before: str, after: list[str]) -> None:
    assert changes(before + "\n") == after


@pytest.mark.parametrize(
    "text",
    [
        '"""Returns 1 if a < b and not c."""',
        "x: Annotated[int, Field(ge=1)]",
        "def f(a: Literal[1] = None) -> Literal[2]: ...",
        "Size = Annotated[int, Field(ge=1)]",
        "if TYPE_CHECKING:\n    f(1)",
        'log.warning("a", count=1 + 2)',
        "assert a < 1",
        'x = f"{a + 1:.3f}"',
        'x = "a" + b',
        "def f():\n    return None",
        "x = True",
    ],
)
def test_text_and_annotations_and_checks_stay_the_same(text: str) -> None:
    assert changes(text + "\n") == []


def test_the_rest_of_the_module_stays_the_same() -> None:
    text = "x = [  # sizes\n    1,\n\n    'Δ',\n]\ny = x\n"
    (edit,) = edits(text)
    mutant = mutate("module.py", text, edit)
    assert mutant.source == text.replace("1", "2")
    assert (mutant.line, mutant.before, mutant.after) == (2, "1,", "2,")


SOURCES = {"a.py": "x = 1\ny = x + 2\n", "b.py": "def f(a):\n    return a < 3\n"}


def test_the_seed_decides_which_mutants_are_drawn() -> None:
    assert draw(SOURCES, 3, seed=1) == draw(SOURCES, 3, seed=1)
    assert len({tuple(mutant.source for mutant in draw(SOURCES, 3, seed)) for seed in range(9)}) > 1


def test_every_mutant_is_drawn_once() -> None:
    drawn = draw(SOURCES, 100, seed=1)
    assert sorted((mutant.path, mutant.after) for mutant in drawn) == [
        ("a.py", "x = 2"),
        ("a.py", "y = x + 3"),
        ("a.py", "y = x - 2"),
        ("b.py", "return None"),
        ("b.py", "return a < 4"),
        ("b.py", "return a <= 3"),
    ]


def test_a_mutant_that_does_not_compile_is_not_drawn() -> None:
    text = "match a:\n    case {1: b, 2: c}: pass\n"
    assert changes(text) == ["case {2: b, 2: c}: pass", "case {1: b, 3: c}: pass"]
    assert [mutant.after for mutant in draw({"a.py": text}, 9, seed=1)] == ["case {1: b, 3: c}: pass"]
