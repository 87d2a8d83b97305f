"""Random inputs of the operations: a module for each page of the specification.   Spec: conformance.

The module `clip_ref.oracle.draws.STEP` has functions under `@draws("step.verb")`: each takes a `random.Random`, which is all
that its choice depends on, and returns the operation's inputs as values by name. A module is found by its name.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
