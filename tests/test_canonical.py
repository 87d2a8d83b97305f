"""Canonical bytes and digests: one encoding for each value, and no two values with the same one."""

from itertools import pairwise

import attrs
import numpy as np
import plain
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clip_ref.canonical import (
    LABEL,
    Reader,
    RoundContext,
    Writer,
    array_digest,
    digest,
    mask_context,
    model_digest,
    prefixed,
    unsigned,
)
from clip_ref.errors import SERVER, PreconditionError, WireError
from clip_ref.oracle.strategies import contexts, digests, floats, rosters
from clip_ref.values import ClientId, Digest, Floats, RoundNumber

WIDTHS = (8, 16, 32, 64)


# Integers


@pytest.mark.rule("CTX-1")
@given(bits=st.sampled_from(WIDTHS), data=st.data())
def test_an_integer_has_its_width_little_endian(bits: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, 2**bits - 1))
    coded = unsigned(value, bits=bits)
    assert len(coded) == bits // 8
    assert sum(byte << 8 * k for k, byte in enumerate(coded)) == value


@pytest.mark.rule("CTX-1")
def test_integers_in_bytes() -> None:
    assert unsigned(0x0102, bits=16) == b"\x02\x01"
    assert unsigned(1, bits=64) == b"\x01" + bytes(7)
    assert prefixed(b"abc") == b"\x03\x00\x00\x00abc"


@pytest.mark.rule("CTX-1")
@pytest.mark.parametrize("bits", WIDTHS)
def test_what_does_not_fit_is_refused(bits: int) -> None:
    assert unsigned(2**bits - 1, bits=bits) == b"\xff" * (bits // 8)
    for value in (-1, 2**bits):
        with pytest.raises(PreconditionError, match=f"{value} does not fit in {bits}") as caught:
            unsigned(value, bits=bits)
        assert caught.value.rule == "CTX-1"


# Digests


@pytest.mark.rule("CTX-2")
def test_a_digest_is_pinned() -> None:
    assert LABEL == "clip-ref/v1/"
    assert digest("x", ()) == plain.digest(b"x")
    assert digest("x", (b"ab", b"", b"c")) == plain.digest(b"x", b"ab", b"", b"c")
    assert digest("test", (b"one", b"two")).hex() == "bed353e3ad51c4dee7830227aefdd4f49a7ac7dad9a09befd9632340c2a63df6"


@pytest.mark.rule("CTX-2")
@given(label=st.text("abc", max_size=4), parts=st.lists(st.binary(max_size=5), max_size=5))
def test_a_digest_takes_lengths_and_bytes_in_order(label: str, parts: list[bytes]) -> None:
    assert digest(label, parts) == plain.digest(label.encode(), *parts)


@pytest.mark.rule("CTX-2")
@given(data=st.binary(max_size=12), cuts=st.lists(st.integers(0, 12), max_size=3), other=st.lists(st.integers(0, 12)))
def test_the_same_bytes_split_elsewhere_have_another_digest(data: bytes, cuts: list[int], other: list[int]) -> None:
    def split(at: list[int]) -> list[bytes]:
        edges = [0, *sorted(min(k, len(data)) for k in at), len(data)]
        return [data[a:b] for a, b in pairwise(edges)]

    one, two = split(cuts), split(other)
    assert b"".join(one) == b"".join(two)
    assert (digest("x", one) == digest("x", two)) == (one == two)


@pytest.mark.rule("CTX-2")
def test_bytes_do_not_pass_between_label_and_parts() -> None:
    split = [
        digest("ab", (b"c",)),
        digest("a", (b"bc",)),
        digest("abc", ()),
        digest("", (b"abc",)),
        digest("", (b"ab", b"c")),
    ]
    assert len(set(split)) == len(split)


@pytest.mark.rule("CTX-2")
@given(model=floats(5))
def test_a_model_digest_knows_type_order_and_every_byte(model: Floats) -> None:
    little = model.astype("<f4")
    assert model_digest(little) == plain.digest(b"model", b"<f4", little.tobytes())
    assert model_digest(model.astype(">f4")) == model_digest(little)
    assert model_digest(np.ascontiguousarray(little[::-1])[::-1]) == model_digest(little)
    assert array_digest("model", little.view("<u4")) != model_digest(little)
    for at in range(4 * len(model)):
        flipped = bytearray(little.tobytes())
        flipped[at] ^= 1
        assert model_digest(np.frombuffer(bytes(flipped), dtype="<f4")) != model_digest(little)


# The round's context


@pytest.mark.rule("CTX-3", "CTX-4")
@given(context=contexts(), roster=digests())
def test_the_context_digests_every_field_in_order(context: RoundContext, roster: Digest) -> None:
    parts = (
        context.session,
        plain.le(context.round, 8),
        context.config,
        context.directory,
        context.model,
        context.history,
        *([plain.le(context.target, 8)] if context.target else []),
    )
    assert context.ctx0() == plain.digest(b"context0", *parts)
    assert context.ctx(roster) == plain.digest(b"context", *parts, roster)
    assert context.ctx(roster) != context.ctx0()


@pytest.mark.rule("CTX-3", "CTX-4")
@given(context=contexts(), other=contexts(), roster=digests(), other_roster=digests())
def test_another_value_of_any_field_is_another_context(
    context: RoundContext, other: RoundContext, roster: Digest, other_roster: Digest
) -> None:
    for field in attrs.fields(RoundContext):
        value = getattr(other, field.name)
        assume(value != getattr(context, field.name))
        changed = attrs.evolve(context, **{field.name: value})
        assert changed.ctx0() != context.ctx0()
        assert changed.ctx(roster) != context.ctx(roster)
    assume(roster != other_roster)
    assert context.ctx(other_roster) != context.ctx(roster)


@pytest.mark.rule("CTX-3")
@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_session_is_16_bytes(length: int) -> None:
    zero = Digest(bytes(32))
    with pytest.raises(PreconditionError, match=f"16 bytes, got {length}") as caught:
        RoundContext(bytes(length), RoundNumber(1), zero, zero, zero, zero)
    assert caught.value.rule == "CTX-3"


@pytest.mark.rule("CTX-5")
@given(ctx=digests(), u2=rosters(min_size=0), other=rosters(min_size=0), data=st.data())
def test_the_context_of_masks_digests_u2(
    ctx: Digest, u2: tuple[ClientId, ...], other: tuple[ClientId, ...], data: st.DataObject
) -> None:
    digest = mask_context(ctx=ctx, u2=u2)
    assert digest == plain.digest(b"context of masks", ctx, *(plain.le(u, 4) for u in u2))
    assert mask_context(ctx=ctx, u2=data.draw(st.permutations(u2))) == digest
    assert (mask_context(ctx=ctx, u2=other) == digest) == (other == u2)
    assert mask_context(ctx=digest, u2=u2) != digest


# Reader and writer


@pytest.mark.rule("CTX-1")
@given(
    integers=st.lists(st.sampled_from(WIDTHS).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, 2**b - 1)))),
    blob=st.binary(max_size=9),
    array=floats(3),
)
def test_what_is_written_is_read_back(integers: list[tuple[int, int]], blob: bytes, array: Floats) -> None:
    writer = Writer()
    for bits, value in integers:
        writer.unsigned(value, bits)
    data = writer.fixed(blob, len(blob)).array(array).done()
    reader = Reader(data, rule="WIR-3")
    assert [reader.unsigned(bits, "integer") for bits, _ in integers] == [value for _, value in integers]
    assert reader.fixed(len(blob), "blob") == blob
    read = reader.array(np.dtype("<f4"), 3, "array")
    reader.done()
    assert read.tobytes() == array.tobytes()
    assert not read.flags.writeable


@pytest.mark.rule("CTX-1")
def test_the_writer_refuses_another_length() -> None:
    for data in (bytes(3), bytes(5)):
        with pytest.raises(PreconditionError, match=f"expected 4 bytes, got {len(data)}") as caught:
            Writer().fixed(data, 4)
        assert caught.value.rule == "CTX-1"
    with pytest.raises(PreconditionError):
        Writer().unsigned(256, 8)


def test_the_writer_writes_little_endian_arrays() -> None:
    assert Writer().array(np.array([1, 2], dtype=">u4")).done() == b"\x01\0\0\0\x02\0\0\0"


@pytest.mark.parametrize(
    ("data", "take", "field"),
    [
        (b"abc", lambda r: r.fixed(4, "blob"), "blob"),
        (b"abc", lambda r: r.unsigned(32, "number"), "number"),
        (b"abcdefg", lambda r: r.array(np.dtype("<u4"), 2, "vector"), "vector"),
        (b"\x04\0\0\0", lambda r: r.count(3, "entries"), "entries"),
        (b"\xff\xff\xff\xff", lambda r: r.client("peer"), "peer"),
        (b"x", lambda r: r.done(), "end"),
    ],
)
def test_the_reader_names_the_culprit_and_the_field(data: bytes, take: object, field: str) -> None:
    assert callable(take)
    with pytest.raises(WireError) as caught:
        take(Reader(data, rule="WIR-3", culprit=9))
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("WIR-3", 9, field)


def test_the_reader_takes_what_is_just_allowed() -> None:
    reader = Reader(b"\x03\0\0\0" + b"\xfe\xff\xff\xff", rule="WIR-3")
    assert reader.culprit == SERVER
    assert reader.count(3, "entries") == 3
    assert reader.client("peer") == SERVER - 1
    reader.done()


@pytest.mark.rule("CTX-2")
def test_a_label_is_ascii() -> None:
    with pytest.raises(PreconditionError, match="CTX-2: a label is ASCII"):
        digest("größe", ())
