"""The oracle: what each operation of the protocol must come to, for programs in any language.   Spec: conformance.

`OPERATIONS` is the table of what can be asked, `answer` says what is right:

>>> sorted(OPERATIONS["keys.agree"].inputs)
['peer', 'peer_key', 'secret']
>>> low = {"secret": "07" * 32, "peer": 3, "peer_key": "00" * 32}
>>> found = answer("keys.agree", low)
>>> found.said, found.rule
({'error': {'kind': 'party', 'culprit': 3}}, 'KEY-3')

`load_cases` reads the vectors, `conformance` asks a program all of them, and `examine` a function:

>>> def mine(operation, inputs):  # an implementation that knows one operation, and that wrongly
...     if operation != "messages.check_ids":
...         return {"unsupported": True}
...     return {"output": True}
>>> report = examine(mine, steps=["messages"])
>>> report.holds, report.broken()[0].rule
(False, 'MSG-2')

`clip_ref.oracle.adapter.serve` makes an adapter of such a function: a program that the runner can ask. Strategies for
Hypothesis are in `clip_ref.oracle.strategies`, the pytest plugin is `clip_ref.oracle.plugin`.
"""

import clip_ref.oracle.operations as operations
from clip_ref.oracle.case import Case
from clip_ref.oracle.operation import OPERATIONS, Answer, Answers, Operation, answer
from clip_ref.oracle.report import Outcome, Report, judged
from clip_ref.oracle.runner import conformance, examine
from clip_ref.oracle.vectors import load_cases, load_rules

__all__ = [
    "OPERATIONS",
    "Answer",
    "Answers",
    "Case",
    "Operation",
    "Outcome",
    "Report",
    "answer",
    "conformance",
    "examine",
    "judged",
    "load_cases",
    "load_rules",
    "operations",
]
