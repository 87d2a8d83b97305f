"""The table of operations: JSON in, JSON out."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from clip_ref.errors import SERVER, PreconditionError
from clip_ref.layout import dense_chain
from clip_ref.messages import TimeRecord
from clip_ref.oracle import OPERATIONS, answer
from clip_ref.oracle.case import Book, Wrong, derived
from clip_ref.oracle.documentation import operations_page
from clip_ref.oracle.jsontypes import Json, from_json, to_json
from clip_ref.oracle.operations.round import Step, Told
from clip_ref.params import Params

KEY = bytes(31) + b"\x07"


@pytest.mark.rule("CNF-1")
def test_inputs_are_exactly_those_of_the_table() -> None:
    good = {"secret": KEY.hex(), "peer": 3, "peer_key": KEY.hex()}
    assert set(answer("keys.agree", good).said) == {"output"}
    bads: tuple[Any, ...] = (
        {**good, "extra": 1},
        {k: v for k, v in good.items() if k != "peer"},
        {**good, "peer": "3"},
        {**good, "peer": True},
        {**good, "peer": 2**53},
        {**good, "secret": "0"},
        {**good, "secret": "zz"},
        [],
    )
    for bad in bads:
        with pytest.raises(PreconditionError, match="CNF-1"):
            answer("keys.agree", bad)
    with pytest.raises(PreconditionError, match="CNF-1"):
        answer("keys.none", good)


@pytest.mark.rule("CNF-3")
def test_refusals_say_whose_fault_it_was() -> None:
    low = {"secret": KEY.hex(), "peer": 3, "peer_key": bytes(32).hex()}
    assert answer("keys.agree", low).said == {"error": {"kind": "party", "culprit": 3}}
    assert answer("keys.agree", low).rule == "KEY-3"
    assert answer("messages.check_ids", {"ids": [1, 1]}).said == {"error": {"kind": "party", "culprit": "server"}}
    short = {"secret": "00", "threshold": 1, "holders": 2, "randomness": ""}
    assert answer("shamir.split", short).said == {"error": {"kind": "argument"}}


def _server_of_three() -> dict[str, Json]:
    """What `round.server` takes, with no script yet."""
    params, layout = Params(clients=3), dense_chain(1, 2, 1)
    return OPERATIONS["round.server"].json(
        {
            "params": params,
            "layout": layout,
            "session": bytes(16),
            "round": 1,
            "model": from_json("00000000" * layout.size, OPERATIONS["round.server"].inputs["model"]),
            "history": None,
            "target": 0,
            "directory": {},
            "script": [],
        }
    )


@pytest.mark.rule("CNF-3")
def test_an_aborted_round_says_at_which_stage() -> None:
    inputs = _server_of_three()
    inputs["script"] = [{"event": event, "sender": None, "data": ""} for event in ("open", "close")]
    opened, closed = answer("round.server", inputs).said["output"]
    assert list(opened["output"]) == [str(SERVER)]
    assert closed == {"error": {"kind": "aborted", "stage": "U1"}}


@pytest.mark.rule("ROU-9")
def test_a_close_that_is_refused_ends_no_leg() -> None:
    """Closed before it is opened, the round begins all the same: an `Advertise` is taken."""
    inputs = _server_of_three()
    inputs["script"] = [{"event": event, "sender": None, "data": ""} for event in ("close", "open")]
    refused, opened = answer("round.server", inputs).said["output"]
    assert refused == {"error": {"kind": "argument"}}
    params = Params(clients=3)
    told = {
        "me": 1,
        "params": params,
        "layout": dense_chain(1, 2, 1),
        "record": TimeRecord(False, False, False, 0, 0, 0, 0, (0,) * len(params.policy.grid), 1, bytes(32)),
        "history": None,
        "entropy": bytes(32),
        "identity": None,
        "directory": {},
        "session": None,
        "script": [Told(Step.OPEN, bytes.fromhex(opened["output"][str(SERVER)]))],
    }
    said = answer("round.client", OPERATIONS["round.client"].json(told)).said["output"][0]["output"]
    inputs["script"].append({"event": "accept", "sender": 1, "data": said})
    assert answer("round.server", inputs).said["output"][2] == {"output": None}


def test_every_operation_has_a_page_a_summary_and_a_schema() -> None:
    for asked in OPERATIONS.values():
        assert asked.summary.endswith(".")
        assert asked.rules
        json.dumps(asked.schema())
    headings = re.findall(r"^#### `([a-z]+\.\w+)`$", operations_page(), re.M)
    assert headings == list(OPERATIONS)


def test_parameters_and_layouts_survive_json() -> None:
    for value, hint in ((Params(clients=10), Params), (dense_chain(2, 3, 1), type(dense_chain(2, 3, 1)))):
        assert from_json(json.loads(json.dumps(to_json(value, hint))), hint) == value


@pytest.mark.rule("CNF-2")
def test_the_adapter_answers_in_order_and_ends_with_its_input() -> None:
    asked = [
        ("hello", {"wire_version": 1}),
        ("graph.seed", {"ctx": "00"}),
        ("keys.none", {}),
        ("messages.check_ids", {"ids": [2, 1]}),
    ]
    lines = [json.dumps({"id": k, "operation": name, "inputs": inputs}) for k, (name, inputs) in enumerate(asked)]
    command = [sys.executable, "-m", "clip_ref.oracle.adapter"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a.pop("id") for a in answers] == [0, 1, 2, 3]
    assert [list(a) for a in answers] == [["output"], ["output"], ["unsupported"], ["error"]]


@pytest.mark.rule("CNF-4")
def test_a_book_takes_nothing_that_the_reference_sees_otherwise() -> None:
    book = Book("keys")
    known: dict[str, Any] = {"secret": KEY, "peer": 3}
    book.valid("keys.agree", "KEY-2", comment="good", peer_key=KEY, **known)
    book.invalid("keys.agree", "KEY-3", comment="low order", peer_key=bytes(32), **known)
    assert [case.id for case in book.cases] == ["keys-001", "keys-002"]
    assert [case.result for case in book.cases] == ["valid", "invalid"]
    with pytest.raises(Wrong, match="keys-003"):
        book.valid("keys.agree", "KEY-2", comment="not good", peer_key=bytes(32), **known)
    with pytest.raises(Wrong, match="keys-003"):
        book.invalid("keys.agree", "KEY-2", comment="by another rule", peer_key=bytes(32), **known)
    with pytest.raises(Wrong, match="keys-003"):
        book.valid("shamir.lagrange", "SHM-3", comment="of another step", points=[1, 2])


@pytest.mark.rule("CNF-5")
def test_cases_keep_their_order_and_their_fields_differ() -> None:
    book = Book("keys")
    for comment in ("first", "second"):
        book.valid("keys.public_key", "KEY-1", comment=comment, secret=book.bytes("secret"))
    assert [case.comment for case in book.cases] == ["first", "second"]
    assert len({case.inputs["secret"] for case in book.cases}) == 2
    assert derived("a", "b", length=40) != derived("ab", "", length=40)
