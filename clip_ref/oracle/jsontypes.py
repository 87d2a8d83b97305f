"""How values are written as JSON in vectors and on the conformance runner's wire.   Spec: conformance, rules CNF-1.

The signature of an operation says what its inputs and its output are; what stands here turns each of these types into JSON
and back, and into a JSON schema.

| type | JSON |
|---|---|
| `bytes` | lowercase hexadecimal digits |
| `int` | a number, below 2⁵³ in absolute value |
| `Wide` | an integer of any size, as a string of decimal digits |
| `float` | a string, as C's `%a` and Python's `float.hex` have it |
| `F32s`, `F64s` | the bytes of the numbers, little-endian, in hexadecimal |
| `Bits` | a string of `0` and `1`, one for each coordinate or neuron |
| `list`, `tuple` | an array |
| `dict` | an object; ids as decimal digits |
| attrs values | an object with a member for every field |
| none | `null` |
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, NewType, Union, get_args, get_origin, get_type_hints

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.configuration import plain, rebuilt
from clip_ref.errors import PreconditionError
from clip_ref.layout import Layout
from clip_ref.messages import TimeRecord
from clip_ref.params import Encoding, Params, PruningPolicy

Json = Any
"""What `json` reads and writes."""

SAFE: Final = 2**53
"""Below this every reader of JSON has integers exactly."""


@attrs.frozen
class Form:
    """A type's own way into JSON."""

    name: str
    """What the documentation calls it."""

    pattern: str
    """The regular expression of the JSON string."""

    write: Callable[[Any], str]
    """Value to string."""

    read: Callable[[str], Any]
    """String to value."""


def _floats(dtype: str) -> Form:
    digits = 2 * np.dtype(dtype).itemsize
    return Form(
        name=f"float{4 * digits}[·]",
        pattern=f"^([0-9a-f]{{{digits}}})*$",
        write=lambda array: array.astype(dtype).tobytes().hex(),
        read=lambda text: np.frombuffer(bytes.fromhex(text), dtype=dtype),
    )


_WIDE: Final = Form("integer", "^(0|-?[1-9][0-9]*)$", lambda n: str(int(n)), int)
_BITS: Final = Form(
    "bits",
    "^[01]*$",
    lambda bits: "".join("1" if bit else "0" for bit in bits),
    lambda text: np.array([digit == "1" for digit in text], dtype=bool),
)
_BYTES: Final = Form("bytes", "^([0-9a-f]{2})*$", bytes.hex, bytes.fromhex)
_FLOAT: Final = Form("float64", "^-?0x[01](\\.[0-9a-f]+)?p[+-][0-9]+$|^-?inf$|^nan$", float.hex, float.fromhex)

Wide = Annotated[int, _WIDE]
"""An integer that may pass 2⁵³."""

F32s = Annotated[NDArray[np.float32], _floats("<f4")]
"""float32[·]."""

F64s = Annotated[NDArray[np.float64], _floats("<f8")]
"""float64[·]."""

Bits = Annotated[NDArray[np.bool_], _BITS]
"""bool[·]."""

_CONFIGURED: Final = (Params, PruningPolicy, Encoding, Layout)
"""What has a JSON form of its own by TRA-4."""

_HINTS: Final[Mapping[type, Mapping[str, Any]]] = {
    TimeRecord: {"down": Wide, "select": Wide, "mask": Wide, "up": Wide, "fit": tuple[Wide, ...]},
}
"""Fields that are wider than their annotation says."""


@cache
def hints_of(cls: type) -> Mapping[str, Any]:
    """The types of an attrs class's fields, in order."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: _HINTS.get(cls, {}).get(field.name, hints[field.name]) for field in attrs.fields(cls)}


def _form(hint: Any) -> Form | None:
    if get_origin(hint) is Annotated:
        return next((extra for extra in get_args(hint)[1:] if isinstance(extra, Form)), None)
    return {bytes: _BYTES, float: _FLOAT}.get(hint)


def _plain_type(hint: Any) -> Any:
    """The hint without names for it: a `NewType`'s own type."""
    while isinstance(hint, NewType):
        hint = hint.__supertype__
    return hint


def _optional(hint: Any) -> Any:
    """The type besides none, where none is allowed."""
    if get_origin(hint) in (UnionType, Union):
        return next(arg for arg in get_args(hint) if arg is not type(None))
    return None


def to_json(value: Any, hint: Any) -> Json:
    """`value`, which is of the type `hint`, as JSON."""
    hint = _plain_type(hint)
    if hint is Any:
        return value
    if form := _form(hint):
        return form.write(value)
    if inner := _optional(hint):
        return None if value is None else to_json(value, inner)
    origin, args = get_origin(hint), get_args(hint)
    if origin in (list, tuple):
        inners = [args[0]] * len(value) if origin is list or args[-1] is Ellipsis else args
        return [to_json(item, inner) for item, inner in zip(value, inners, strict=True)]
    if origin is dict:
        return {str(key): to_json(item, args[1]) for key, item in value.items()}
    if hint in _CONFIGURED:
        return plain(value)
    if attrs.has(hint):
        return {name: to_json(getattr(value, name), inner) for name, inner in hints_of(hint).items()}
    if isinstance(value, StrEnum):
        return value.value
    return value.item() if isinstance(value, np.generic) else value


def from_json(found: Json, hint: Any, *, name: str = "inputs") -> Any:
    """The value of the type `hint` in `found`; `PreconditionError` (CNF-1) that names the place if it is of another form.

    Parameters and layouts check themselves as they are made: theirs are the rules PAR and LAY.
    """
    hint = _plain_type(hint)
    if hint is Any:
        return found
    if form := _form(hint):
        if not isinstance(found, str):
            raise malformed(name, f"must be a string of {form.name}")
        try:
            return form.read(found)
        except (ValueError, OverflowError):
            raise malformed(name, f"is no {form.name}") from None
    if inner := _optional(hint):
        return None if found is None else from_json(found, inner, name=name)
    origin, args = get_origin(hint), get_args(hint)
    if origin in (list, tuple):
        if not isinstance(found, list):
            raise malformed(name, "must be an array")
        inners = [args[0]] * len(found) if origin is list or args[-1] is Ellipsis else args
        if len(inners) != len(found):
            raise malformed(name, f"must have {len(inners)} entries")
        items = [from_json(item, inner, name=f"{name}[{k}]") for k, (item, inner) in enumerate(zip(found, inners))]  # noqa: B905
        return items if origin is list else tuple(items)
    if origin is dict:
        if not isinstance(found, dict):
            raise malformed(name, "must be an object")
        key_of = int if _plain_type(args[0]) is int else str
        return {key_of(key): from_json(item, args[1], name=f"{name}.{key}") for key, item in found.items()}
    if hint in _CONFIGURED:
        return rebuilt(hint, found)
    if attrs.has(hint):
        hints = hints_of(hint)
        if not isinstance(found, dict) or set(found) != set(hints):
            raise malformed(name, f"must be an object of {', '.join(hints)}")
        return hint(**{key: from_json(found[key], inner, name=f"{name}.{key}") for key, inner in hints.items()})
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if found not in list(hint):
            raise malformed(name, f"must be one of {', '.join(hint)}")
        return hint(found)
    if type(found) is not hint or (hint is int and abs(found) >= SAFE):
        raise malformed(name, f"must be of type {getattr(hint, '__name__', hint)}")
    return found


def malformed(name: str, detail: str) -> PreconditionError:
    """The error for JSON that is not of the announced form."""
    return PreconditionError(rule="CNF-1", detail=f"{name} {detail}")


def schema(hint: Any) -> dict[str, Json]:
    """The JSON schema (2020-12) of the type."""
    hint = _plain_type(hint)
    if hint is Any:
        return {}
    if form := _form(hint):
        return {"type": "string", "pattern": form.pattern}
    if inner := _optional(hint):
        return {"anyOf": [{"type": "null"}, schema(inner)]}
    origin, args = get_origin(hint), get_args(hint)
    if origin is list or (origin is tuple and args[-1] is Ellipsis):
        return {"type": "array", "items": schema(args[0])}
    if origin is tuple:
        return {
            "type": "array",
            "prefixItems": [schema(arg) for arg in args],
            "minItems": len(args),
            "maxItems": len(args),
        }
    if origin is dict:
        keys = {"propertyNames": {"pattern": "^(0|[1-9][0-9]*)$"}} if _plain_type(args[0]) is int else {}
        return {"type": "object", **keys, "additionalProperties": schema(args[1])}
    if hint in _CONFIGURED:
        return {"type": "object"}
    if attrs.has(hint):
        hints = hints_of(hint)
        return {
            "type": "object",
            "properties": {name: schema(inner) for name, inner in hints.items()},
            "required": list(hints),
            "additionalProperties": False,
        }
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"enum": [choice.value for choice in hint]}
    return {"type": {int: "integer", bool: "boolean", str: "string"}[hint]}


def describe(hint: Any) -> str:
    """The type in a few words, for the page of operations."""
    hint = _plain_type(hint)
    if form := _form(hint):
        return form.name
    if inner := _optional(hint):
        return f"{describe(inner)} or null"
    origin, args = get_origin(hint), get_args(hint)
    if origin is list or (origin is tuple and args[-1] is Ellipsis):
        return f"list of {describe(args[0])}"
    if origin is tuple:
        return f"[{', '.join(map(describe, args))}]"
    if origin is dict:
        return f"object of {describe(args[1])} by {'id' if _plain_type(args[0]) is int else 'name'}"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return " or ".join(f"`{choice.value}`" for choice in hint)
    names = {int: "number", bool: "bool", str: "text", Any: "object"}
    return names.get(hint) or f"`{hint.__name__}`"
