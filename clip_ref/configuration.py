"""Configuration: parameters and layout as text that can be read back.   Spec: transcript, rule TRA-4."""

import json
from enum import StrEnum
from functools import lru_cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.layout import Layout
from clip_ref.params import Params

_C = TypeVar("_C", bound=attrs.AttrsInstance)


def _refuse(detail: str) -> PreconditionError:
    return PreconditionError(rule="TRA-4", detail=f"the configuration {detail}")


def encode_configuration(*, params: Params, layout: Layout) -> bytes:
    """TRA-4: every field of both by name, as JSON in ASCII without spaces; floats in hexadecimal, so that none is rounded."""

    text = {"params": plain(params), "layout": plain(layout)}
    return json.dumps(text, separators=(",", ":")).encode("ascii")


def plain(value: attrs.AttrsInstance) -> dict[str, Any]:
    """TRA-4: one of the values of a configuration as what JSON can hold."""

    def serialised(_: object, __: object, item: Any) -> Any:
        if isinstance(item, StrEnum):
            return item.value
        if isinstance(item, float):
            return item.hex()
        return list(item) if isinstance(item, tuple) else item

    return attrs.asdict(value, value_serializer=serialised)


def decode_configuration(data: bytes) -> tuple[Params, Layout]:
    """TRA-4: what `encode_configuration` encoded; `PreconditionError` for anything but the one encoding of a valid one."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise _refuse("is not JSON") from None
    if not isinstance(found, dict) or set(found) != {"params", "layout"}:
        raise _refuse("must have params and layout")
    params, layout = rebuilt(Params, found["params"]), rebuilt(Layout, found["layout"])
    params.digest(), layout.digest()  # what has none cannot have been agreed on
    if encode_configuration(params=params, layout=layout) != data:
        raise _refuse("is not in its canonical form")
    return params, layout


_hints = lru_cache(get_type_hints)


def rebuilt(cls: type[_C], found: Any) -> _C:
    """TRA-4: the value that `plain` gave, from its fields, all of them and no others; `PreconditionError` for anything else."""
    hints = _hints(cls)
    names = [field.name for field in attrs.fields(cls)]
    if not isinstance(found, dict) or set(found) != set(names):
        raise _refuse(f"must give {cls.__name__} the fields {', '.join(names)}")
    return cls(**{name: _value(hints[name], found[name], f"{cls.__name__}.{name}") for name in names})


def _value(hint: Any, found: Any, name: str) -> Any:
    if get_origin(hint) is UnionType:
        return None if found is None else _value(get_args(hint)[0], found, name)
    if get_origin(hint) is tuple:
        if not isinstance(found, list):
            raise _refuse(f"has {name} = {found!r}")
        return tuple(_value(get_args(hint)[0], item, name) for item in found)
    if attrs.has(hint):
        return rebuilt(hint, found)
    try:
        if hint is float and isinstance(found, str):
            return float.fromhex(found)
        if isinstance(found, str):
            found.encode("utf-8")
            if issubclass(hint, StrEnum):
                return hint(found)
    except (ValueError, OverflowError):
        raise _refuse(f"has {name} = {found!r}") from None
    if type(found) is not hint:
        raise _refuse(f"has {name} = {found!r}")
    return found
