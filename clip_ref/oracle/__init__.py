"""The oracle: what each operation of the protocol must come to, for programs in any language.   Spec: conformance."""

import clip_ref.oracle.operations as operations
from clip_ref.oracle.operation import OPERATIONS, Answer, Operation, answer

__all__ = ["OPERATIONS", "Answer", "Operation", "answer", "operations"]
