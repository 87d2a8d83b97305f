"""The adapter of the package itself: answers requests on standard input, one a line.   Spec: conformance, rules CNF-1, CNF-2.

`python -m clip_ref.oracle.adapter` is what the runner is tested with, and an example of what a program under test has to do.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from clip_ref.oracle.jsontypes import Json
from clip_ref.oracle.operation import OPERATIONS, Answers, answer
from clip_ref.wire import WIRE_VERSION


def reference(operation: str, inputs: Json) -> Mapping[str, Json]:
    """What the package says."""
    if operation == "hello":
        return {"output": {"name": "clip-ref", "wire_version": WIRE_VERSION}}
    if operation not in OPERATIONS:
        return {"unsupported": True}
    return answer(operation, inputs).said


def serve(answers: Answers, requests: Iterable[str] = sys.stdin, to: TextIO = sys.stdout) -> None:
    """CNF-2: answer every request in its turn, until there are no more."""
    for line in requests:
        request: dict[str, Any] = json.loads(line)
        said = answers(request["operation"], request["inputs"])
        print(json.dumps({"id": request["id"], **said}), file=to, flush=True)


if __name__ == "__main__":
    serve(reference)
