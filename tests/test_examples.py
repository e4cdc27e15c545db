"""Who opens the reference of a room that programs import finds an example that runs at everything that it offers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CIMLAB = Path(__file__).resolve().parents[1] / "cimlab"
FILES = [
    CIMLAB / "lab.py",
    *(p for room in ("crossbar", "pruning", "hardware") for p in (CIMLAB / room).rglob("*.py")),
]


def public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return (node for node in body if isinstance(node, kinds) and not node.name.startswith("_"))


def without_example(source: str) -> Iterator[str]:
    """Public functions and methods whose docstring runs nothing; a class may show its methods in its own."""
    for node in public(ast.parse(source).body):
        if ">>>" not in (ast.get_docstring(node) or ""):
            methods = [node] if isinstance(node, ast.FunctionDef) else public(node.body)
            yield from (
                f"{node.name}: {m.name}" for m in methods if ">>>" not in (ast.get_docstring(m) or "")
            )


def test_everything_public_has_an_example() -> None:
    missing = [
        f"{path.relative_to(CIMLAB)}: {name}"
        for path in FILES
        for name in without_example(path.read_text(encoding="utf-8"))
    ]
    assert not missing, "\n".join(["no example in the docstring of", *missing])


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("def read(): 'One.'", ["read: read"]),
        ("def read(): '>>> read()'", []),
        ("def _read(): 'One.'", []),
        ("class Cell:\n  'One.'\n  def level(self): 'Two.'\n  def _own(self): 'Three.'", ["Cell: level"]),
        ("class Cell:\n  '>>> Cell().level()'\n  def level(self): 'Two.'", []),
        ("class Cell:\n  'A value.'\n  bits: int", []),
    ],
)  # fmt: skip
def test_a_missing_example_is_found(source: str, missing: list[str]) -> None:
    assert list(without_example(source)) == missing
