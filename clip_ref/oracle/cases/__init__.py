"""What the vectors ask: a module for each page of the specification.   Spec: conformance, rules CNF-4, CNF-5.

The module `clip_ref.oracle.cases.STEP` defines `make(book: Book) -> None`, which puts the cases of that step into the book. A
module is found by its name: there is no list to enter it in.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Final

from clip_ref.oracle.case import Book
from clip_ref.oracle.operations import STEPS

MAKERS: Final[dict[str, Callable[[Book], None]]] = {step: import_module(f"{__name__}.{step}").make for step in STEPS}
"""What makes the cases of a step, in the order of `STEPS`."""


def book_of(step: str) -> Book:
    """The cases of one step, made anew; each is checked against the reference as it is entered."""
    book = Book(step)
    MAKERS[step](book)
    return book
