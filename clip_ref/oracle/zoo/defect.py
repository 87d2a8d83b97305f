"""What a wrong implementation is: the package with one thing done wrong.   Spec: conformance, rule CNF-12."""

import sys
from collections.abc import Callable
from typing import Any, Final

import attrs

import clip_ref.oracle.operations  # noqa: F401
from clip_ref.oracle.flags import FLAGS

Spoil = Callable[..., Any]
"""Takes what the package does and returns what the wrong implementation does in its place."""


@attrs.frozen
class Defect:
    """One wrong implementation."""

    name: str
    """In camel case; of a flag, if a vector is said to catch just this."""

    rule: str
    """The rule that it breaks."""

    description: str
    """What it does."""

    source: str
    """Where it was seen; empty if nowhere in public."""

    spoiled: tuple[tuple[str, Spoil], ...]
    """What is replaced, as `module.name` or `module.Class.name` below `clip_ref`, and by what."""

    def install(self) -> None:
        """CNF-12: do it wrong from here on, in this process: wherever the package has the function, under any name."""
        for target, spoil in self.spoiled:
            _replace(target, spoil)


def _replace(target: str, spoil: Spoil) -> None:
    module_name, _, name = target.rpartition(".")
    holder: Any = sys.modules.get(f"clip_ref.{module_name}")
    if holder is None:  # a method: module.Class.name
        module_name, _, cls = module_name.rpartition(".")
        holder = getattr(sys.modules[f"clip_ref.{module_name}"], cls)
    original = vars(holder)[name]
    wrong = spoil(original)
    if isinstance(holder, type):
        type.__setattr__(holder, name, wrong)
        return
    for found, module in list(sys.modules.items()):
        if found.startswith("clip_ref."):
            for alias, value in list(vars(module).items()):
                if value is original:
                    setattr(module, alias, wrong)


DEFECTS: Final[dict[str, Defect]] = {}
"""Every wrong implementation by name, in the order of the specification's pages."""


def defect(rule: str, *targets: str, name: str, description: str = "", source: str = "") -> Callable[[Spoil], Spoil]:
    """Enter a function in the zoo: called with the original of each target, it returns what stands in its place.

    With several targets it is also given the target's name. The description is the flag's, where there is a flag of this name.
    """

    def enter(spoil: Spoil) -> Spoil:
        words = description or FLAGS[name].description

        def one(target: str) -> Spoil:
            return spoil if len(targets) == 1 else lambda original: spoil(original, target)

        DEFECTS[name] = Defect(name, rule, words, source, tuple((target, one(target)) for target in targets))
        return spoil

    return enter
