"""The operations, a module for each page of the specification.   Spec: conformance.

Importing the package enters all of them in `clip_ref.oracle.operation.OPERATIONS`, in the order of the pages.
"""

from typing import Final

from clip_ref.oracle.operation import OPERATIONS

# The order of the imports is the order of the table: from what everything rests on to whole rounds.
from clip_ref.oracle.operations import context as context  # isort: skip
from clip_ref.oracle.operations import parameters as parameters  # isort: skip
from clip_ref.oracle.operations import layout as layout  # isort: skip
from clip_ref.oracle.operations import randomness as randomness  # isort: skip
from clip_ref.oracle.operations import keys as keys  # isort: skip
from clip_ref.oracle.operations import shamir as shamir  # isort: skip
from clip_ref.oracle.operations import wire as wire  # isort: skip
from clip_ref.oracle.operations import messages as messages  # isort: skip
from clip_ref.oracle.operations import agreement as agreement  # isort: skip
from clip_ref.oracle.operations import broadcast as broadcast  # isort: skip
from clip_ref.oracle.operations import identification as identification  # isort: skip
from clip_ref.oracle.operations import graph as graph  # isort: skip
from clip_ref.oracle.operations import invariance as invariance  # isort: skip
from clip_ref.oracle.operations import selection as selection  # isort: skip
from clip_ref.oracle.operations import submodel as submodel  # isort: skip
from clip_ref.oracle.operations import codec as codec  # isort: skip
from clip_ref.oracle.operations import padding as padding  # isort: skip
from clip_ref.oracle.operations import masking as masking  # isort: skip
from clip_ref.oracle.operations import aggregation as aggregation  # isort: skip
from clip_ref.oracle.operations import round as round  # isort: skip

STEPS: Final[tuple[str, ...]] = tuple(dict.fromkeys(asked.step for asked in OPERATIONS.values()))
"""The pages with operations, from what everything rests on to whole rounds."""
