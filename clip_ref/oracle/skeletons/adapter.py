"""An adapter: it lets clip-ref ask your implementation, one request a line, and answers each by one line.

clip-ref conformance -- python3 adapter.py
"""

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

WIRE_VERSION = 1


class Refused(Exception):
    """An input that must be refused. Its argument says whose fault that is."""


ARGUMENT = {"kind": "argument"}  # the caller's own


def party(culprit: int | str) -> dict[str, Any]:
    """The fault of a client, by its id, or of the "server"."""
    return {"kind": "party", "culprit": culprit}


def hello(inputs: Any) -> Any:
    """Who you are."""
    return {"name": "my implementation", "wire_version": WIRE_VERSION}


def check_ids(inputs: Any) -> Any:
    """A worked example. Call your own code here: bytes come as hexadecimal digits, `bytes.fromhex` reads them."""
    ids = inputs["ids"]
    if any(not 0 <= u < 2**32 - 1 for u in ids) or any(u >= v for u, v in pairwise(ids)):
        raise Refused(party("server"))
    return True


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "hello": hello,
    "messages.check_ids": check_ids,
}


def answer(operation: str, inputs: Any) -> dict[str, Any]:
    """An output, an error, or that there is no such operation here."""
    if operation not in OPERATIONS:
        return {"unsupported": True}
    try:
        return {"output": OPERATIONS[operation](inputs)}
    except Refused as refused:
        return {"error": refused.args[0]}


def main() -> None:
    """Answer until there are no more requests. Anything else that you print must go to sys.stderr."""
    for line in sys.stdin:
        request = json.loads(line)
        answered = {"id": request["id"], **answer(request["operation"], request["inputs"])}
        print(json.dumps(answered), flush=True)


if __name__ == "__main__":
    main()
