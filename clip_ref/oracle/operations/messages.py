"""Operations on messages as values.   Spec: messages."""

from clip_ref import messages
from clip_ref.errors import SERVER
from clip_ref.messages import Roster
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.wire import Bundle


@operation("messages.check_advertise", "MSG-1")
def check_advertise(bundle: Bundle) -> bool:
    """True if both keys are good; refused, with the sender named, if not."""
    bundle.message().check()
    return True


@operation("messages.check_ids", "MSG-2")
def check_ids(ids: list[int]) -> bool:
    """True if these ids, sent by the server, ascend strictly; refused, with the server named, if not."""
    messages.check_ascending(ids, culprit=SERVER, field="ids")
    return True


@operation("messages.roster_digest", "MSG-3")
def roster_digest(bundles: list[Bundle]) -> bytes:
    """The digest of a roster."""
    return Roster(tuple(b.message() for b in bundles)).digest()
