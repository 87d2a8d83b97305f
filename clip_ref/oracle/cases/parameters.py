"""Cases of parameters.   Spec: parameters."""

from typing import Any

import attrs

from clip_ref.configuration import plain
from clip_ref.layout import Axis, Layer, Layout, Tensor, dense_chain
from clip_ref.oracle.case import Book
from clip_ref.oracle.jsontypes import Json
from clip_ref.params import (
    NO_PRUNING,
    PAPER_POLICY,
    Encoding,
    Mean,
    Params,
    PruningPolicy,
    Score,
    SecurityLevel,
    Selection,
    SlackSeed,
    Weighting,
)

DIGEST = ("PAR-9", "CTX-2", "CTX-1")
"""What the digest of parameters rests on."""

GRAPH = PruningPolicy(anonymity_blocks=False)
"""The default policy, as far as a graph can have it."""

WIDE = Encoding(ring_bits=64)
"""For more clients than 32 bits allow."""

_POLICY = {f.name for f in attrs.fields(PruningPolicy)} - {"threshold"}
_ENCODING = {f.name for f in attrs.fields(Encoding)}


def make(book: Book) -> None:
    """The digest, then each rule at its bounds and one beyond."""
    _digests(book)
    _policies(book)
    _encodings(book)
    _cliques(book)
    _sums(book)
    _hardened(book)
    _graphs(book)
    _configurations(book)


def _json(**fields: Any) -> Json:
    """Valid parameters as JSON, with some fields changed; `kappa` is the policy's threshold."""
    base = Params(clients=fields.pop("clients", 5)) if not fields.get("neighbours") else _graph(fields)
    out = plain(base)
    for name, value in fields.items():
        if name == "kappa":
            out["policy"]["threshold"] = value
        else:
            (out["policy"] if name in _POLICY else out["encoding"] if name in _ENCODING else out)[name] = value
    return out


def _graph(fields: dict[str, Any]) -> Params:
    """Valid parameters on a graph: for 12 clients, where the case does not say how many."""
    fields.setdefault("clients", 12)
    return Params(clients=12, neighbours=2, policy=GRAPH)


def _valid(book: Book, comment: str, params: Params, *rules: str, flags: tuple[str, ...] = ()) -> None:
    said = dict.fromkeys((*rules, *DIGEST, *_others(params)))
    book.valid("parameters.derive", *said, comment=comment, flags=flags, params=params)


def _others(params: Params) -> tuple[str, ...]:
    """The rules, besides those of the fields, that such parameters keep to."""
    graph, hardened = ("PAR-10",) if params.neighbours else (), ("PAR-8",) if params.hardened else ()
    return ("PAR-6", "PAR-7", *graph, *hardened)


def _refused(book: Book, comment: str, rule: str, *, flags: tuple[str, ...] = (), **fields: Any) -> None:
    rules = (rule, "PAR-10") if fields.get("neighbours") and rule != "PAR-10" else (rule,)
    inputs = {"params": _broken(**fields)}
    book.raw("invalid", "parameters.derive", *rules, comment=comment, flags=flags, inputs=inputs)


def _broken(**fields: Any) -> Json:
    if "clients" in fields and not 2 <= fields["clients"] <= 255 and not fields.get("neighbours"):
        return {**_json(**{k: v for k, v in fields.items() if k != "clients"}), "clients": fields["clients"]}
    return _json(**fields)


def _digests(book: Book) -> None:
    def valid(comment: str, *, flags: tuple[str, ...] = (), clients: int = 5, **fields: Any) -> None:
        _valid(book, comment, Params(clients=clients, **fields), "PAR-9", flags=flags)

    valid("defaults", flags=("FieldNamesLeftOut", "BooleansAsWords"))
    valid("the preset PAPER", policy=PAPER_POLICY)
    valid("no pruning", policy=NO_PRUNING)
    valid("a clip of 0.1, which is not exact in binary", encoding=Encoding(clip=0.1), flags=("ClipAsDecimal",))
    valid("a clip of 3: the point stands behind one digit", encoding=Encoding(clip=3.0), flags=("ClipAsDecimal",))
    valid("the smallest clip, a subnormal", encoding=Encoding(clip=5e-324), flags=("ClipAsDecimal", "ClipNormalised"))
    valid("the largest clip", encoding=Encoding(clip=1.7976931348623157e308), flags=("ClipAsDecimal",))
    valid("a grid of one level: no comma", policy=PruningPolicy(grid=(1000,)))
    every = PruningPolicy(
        straggler_share=123,
        margin=45,
        grid=(1000, 777, 6),
        network_aware=False,
        score=Score.NORM,
        selection=Selection.STRICT,
        threshold=2222,
        slack_seed=SlackSeed.CONTEXT,
        age_cap=334,
        mean=Mean.HOLDER,
        holder_cap=3,
        anonymity_blocks=False,
        spread=True,
        bucket_first=7,
        bucket_ratio=1234,
        bucket_count=99,
        min_roster=8,
        warm_up=9,
        deadline=10,
    )
    numbers = Encoding(ring_bits=64, clip=2.5, value_bits=13, weighting=Weighting.BUCKETS, weight_max=77)
    flags = ("FieldsSorted", "FieldNamesLeftOut")
    valid("no field at its default", policy=every, encoding=numbers, threshold=4, colluders=1, clients=6, flags=flags)


def _policies(book: Book) -> None:
    def valid(comment: str, rule: str, *, flags: tuple[str, ...] = (), **fields: Any) -> None:
        _valid(book, comment, Params(clients=5, policy=PruningPolicy(**fields)), rule, flags=flags)

    valid("every ratio at its smallest", "PAR-1", straggler_share=0, margin=0, threshold=0)
    valid("every ratio at its largest", "PAR-1", straggler_share=500, margin=1000, threshold=10000)
    valid("the score max, the selection strict", "PAR-1", score=Score.MAX, selection=Selection.STRICT)
    bounds: dict[str, tuple[int, ...]] = {"straggler_share": (-1, 501), "margin": (-1, 1001), "kappa": (-1, 10001)}
    for name, values in bounds.items():
        for value in values:
            comment = f"{'κ' if name == 'kappa' else name} {value}: out of its range"
            _refused(book, comment, "PAR-1", flags=("RatiosUnchecked",), **{name: value})

    valid("a grid of one level", "PAR-2", grid=(1000,))
    valid("a grid of 64 levels", "PAR-2", grid=tuple(range(1000, 936, -1)))
    valid("a grid down to 1 ‰", "PAR-2", grid=(1000, 1))
    for comment, grid in (
        ("no level", []),
        ("no level of 1000 ‰", [999, 500]),
        ("the same level twice", [1000, 500, 500]),
        ("ascending levels", [1000, 500, 600]),
        ("a level of 0 ‰", [1000, 0]),
        ("65 levels", list(range(1000, 935, -1))),
        ("a level above 1000 ‰", [1001, 1000]),
    ):
        _refused(book, comment, "PAR-2", flags=("GridUnchecked",), grid=grid)

    valid("an age cap at its bound: 4 · 500 = 2000", "PAR-3", age_cap=4)
    valid("an age cap at its bound: 3 · 999 ≥ 2000", "PAR-3", age_cap=3, grid=(1000, 999))
    lowest: dict[str, Any] = {"min_roster": 0, "warm_up": 1, "holder_cap": 1}
    valid("the rest at its smallest", "PAR-3", **lowest, bucket_first=1, bucket_ratio=1001, bucket_count=1)
    valid("the rest at its largest", "PAR-3", holder_cap=64, bucket_ratio=2000, bucket_count=4096, deadline=2**53 - 1)
    _refused(book, "an age cap one below its bound: 3 · 500 < 2000", "PAR-3", flags=("AgeCapUnchecked",), age_cap=3)
    beyond: dict[str, tuple[int, ...]] = {
        "age_cap": (1, -1),
        "min_roster": (-1,),
        "warm_up": (0,),
        "deadline": (-1, 2**53),
        "holder_cap": (0, 65),
    }
    buckets: dict[str, tuple[int, ...]] = {
        "bucket_first": (0,),
        "bucket_ratio": (1000, 2001),
        "bucket_count": (0, 4097),
    }
    _refused(
        book,
        "an age cap of 2 with levels down to 999 ‰",
        "PAR-3",
        flags=("AgeCapUnchecked",),
        age_cap=2,
        grid=[1000, 999],
    )
    for name, values in {**beyond, **buckets}.items():
        for value in values:
            _refused(book, f"{name} {value}: out of its range", "PAR-3", flags=("CountsUnchecked",), **{name: value})

    paper: dict[str, Any] = {"selection": Selection.PAPER}
    valid("levels with paper selection whose slack is public", "PAR-4", **paper, slack_seed=SlackSeed.CONTEXT)
    valid("paper selection whose slack is hidden, with another mean", "PAR-4", **paper, mean=Mean.DILUTE)
    valid("the mean holder with hidden slack", "PAR-4", **paper, mean=Mean.HOLDER)
    valid("levels with strict selection, which draws no slack", "PAR-4", selection=Selection.STRICT)
    _refused(
        book,
        "levels with slack that the server does not know",
        "PAR-4",
        flags=("LevelsWithHiddenSlack",),
        selection="paper",
    )
    valid("levels with ordered selection", "PAR-4", selection=Selection.ORDERED, score=Score.SIZE)
    for mean in (Mean.DILUTE, Mean.HOLDER, Mean.STRATA):
        valid(f"spread under {mean}", "PAR-4", spread=True, mean=mean, holder_cap=1)
    _refused(book, "levels under spread", "PAR-4", flags=("LevelsWithSpread",), spread=True)


def _encodings(book: Book) -> None:
    def valid(comment: str, **fields: Any) -> None:
        _valid(book, comment, Params(clients=2, encoding=Encoding(**fields)), "PAR-5", "PAR-7")

    valid("the smallest: 2 bits, weight 1", value_bits=2, weight_max=1)
    valid("a ring of 64 bits with 32-bit values", ring_bits=64, value_bits=32)
    valid("the largest weight", ring_bits=64, weight_max=2**32 - 1)
    flags = ("EncodingUnchecked",)
    for name, values in {"ring_bits": (16, 128), "value_bits": (1, 33), "weight_max": (0, 2**32)}.items():
        for value in values:
            wide = {} if name == "ring_bits" else {"ring_bits": 64}
            _refused(book, f"{name} {value}", "PAR-5", flags=flags, **wide, **{name: value})
    for text, clip in (
        ("zero", "0x0.0p+0"),
        ("negative", "-0x1.0000000000000p+0"),
        ("infinite", "inf"),
        ("NaN", "nan"),
    ):
        _refused(book, f"a clip that is {text}", "PAR-5", flags=flags, clip=clip)


def _cliques(book: Book) -> None:
    def valid(comment: str, *, flags: tuple[str, ...] = (), **fields: Any) -> None:
        _valid(book, comment, Params(**fields), "PAR-6", flags=flags)

    valid("two clients, both needed", clients=2)
    valid("255 clients", clients=255, encoding=WIDE, flags=("FewerThan255",))
    valid("t = 2 of 255", clients=255, encoding=WIDE, threshold=2)
    valid("t = n", clients=9, threshold=9)
    valid("t − 1 colluders", clients=9, threshold=4, colluders=3)
    _refused(book, "one client", "PAR-6", clients=1, flags=("LoneClient",))
    _refused(book, "no clients", "PAR-6", clients=0, flags=("LoneClient",))
    _refused(book, "256 clients: one more than there are shares", "PAR-6", clients=256, flags=("TooManyHolders",))
    for t in (0, 1, -1):
        _refused(book, f"t = {t}", "PAR-6", clients=5, threshold=t, min_survivors=t, flags=("ThresholdOfOne",))
    _refused(book, "t = n + 1", "PAR-6", clients=5, threshold=6, min_survivors=6, flags=("ThresholdAboveHolders",))
    _refused(book, "t colluders", "PAR-6", clients=5, colluders=4, flags=("ColludersUnchecked",))
    _refused(book, "fewer than no colluders", "PAR-6", clients=5, colluders=-1, flags=("ColludersUnchecked",))
    for survivors in (3, 5):
        flags = ("SurvivorsUnchecked",)
        _refused(book, "min_survivors is not t in a clique", "PAR-6", clients=5, min_survivors=survivors, flags=flags)

    def thresholds(
        comment: str, rule: str, *, flags: tuple[str, ...] = (), policy: PruningPolicy, n: int, k: int
    ) -> None:
        base = Params(clients=2, policy=policy, encoding=WIDE)
        inputs = {"params": base, "clients": n, "neighbours": k}
        said = dict.fromkeys((rule, "PAR-6", "PAR-7"))
        book.valid("parameters.thresholds", *said, comment=comment, flags=flags, **inputs)

    ceiling, majority = "ThresholdRoundedUp", "MajorityThreshold"
    defaults: tuple[tuple[int, int, tuple[str, ...]], ...] = (
        (2, 2, ()),
        (3, 3, (ceiling, majority)),
        (4, 3, ()),
        (10, 7, (majority,)),
        (255, 171, (ceiling, majority)),
    )
    for n, t, caught in defaults:
        thresholds(f"the default: {t} of {n}", "PAR-6", policy=PruningPolicy(), n=n, k=0, flags=caught)
    for n, k in ((4, 2), (12, 4), (1000, 114), (2**20, 254)):
        comment = f"on a graph t follows from k + 1, the survivors from n: n = {n}, k = {k}"
        thresholds(comment, "PAR-10", policy=GRAPH, n=n, k=k, flags=("ThresholdOfRoster",))
    inputs = {"params": plain(Params(clients=2)), "clients": 256, "neighbours": 0}
    comment = "256 clients in a clique"
    book.raw("invalid", "parameters.thresholds", "PAR-6", comment=comment, inputs=inputs, flags=("TooManyHolders",))


def _sums(book: Book) -> None:
    def valid(comment: str, params: Params, *, flags: tuple[str, ...] = ()) -> None:
        _valid(book, comment, params, "PAR-7", flags=flags)

    small = {"value_bits": 2, "clients": 2}
    valid(
        "two below R/2",
        Params(clients=2, encoding=Encoding(value_bits=2, weight_max=2**30 - 1)),
        flags=("SumTooCautious",),
    )
    _refused(book, "exactly R/2", "PAR-7", **small, weight_max=2**30, flags=("SumReachesHalf",))
    _refused(
        book, "R − 2, which an unsigned sum could hold", "PAR-7", **small, weight_max=2**31 - 1, flags=("SumUnsigned",)
    )
    holder = PruningPolicy(mean=Mean.HOLDER, holder_cap=64)
    valid(
        "with the cap, just below R/2",
        Params(clients=2, policy=holder, encoding=Encoding(value_bits=2, weight_max=2**24 - 1)),
    )
    _refused(
        book,
        "with the cap, exactly R/2",
        "PAR-7",
        **small,
        weight_max=2**24,
        mean="holder",
        holder_cap=64,
        flags=("CapLeftOut",),
    )
    strata = PruningPolicy(mean=Mean.STRATA, holder_cap=64, straggler_share=399)
    comment = "strata: the cap counts for ⌊399 ‰ of 5⌋ = 1, so 68 terms, just below R/2"
    most = (2**31 - 1) // 68
    valid(
        comment,
        Params(clients=5, policy=strata, encoding=Encoding(value_bits=2, weight_max=most)),
        flags=("CapForAll",),
    )
    stratified: dict[str, Any] = {"mean": "strata", "holder_cap": 64, "straggler_share": 399, "value_bits": 2}
    comment = "strata: one more, and it is above"
    _refused(book, comment, "PAR-7", clients=5, **stratified, weight_max=most + 1, flags=("CapLeftOut",))
    dilute = PruningPolicy(mean=Mean.DILUTE, holder_cap=64)
    comment = "a cap that no mean uses does not count"
    valid(
        comment,
        Params(clients=2, policy=dilute, encoding=Encoding(value_bits=2, weight_max=2**24)),
        flags=("CapAlways",),
    )
    # 92737 · 47424961 · (2²¹ − 1) = 2⁶³ − 1
    wide = Encoding(ring_bits=64, value_bits=22, weight_max=47_424_961)
    comment = "2^63 − 1, the largest sum that 64 bits hold"
    valid(
        comment,
        Params(clients=92_737, neighbours=2, policy=GRAPH, encoding=wide),
        flags=("SumAsDouble", "SumTooCautious"),
    )
    fields = {"clients": 92_737, "neighbours": 2, "ring_bits": 64, "value_bits": 22, "min_survivors": 61_825}
    _refused(
        book, "one more, and it is above 2^63", "PAR-7", **fields, weight_max=47_424_962, flags=("SumReachesHalf",)
    )
    _refused(
        book, "a product that 64 bits do not hold", "PAR-7", clients=4, ring_bits=64, value_bits=32, weight_max=2**32 - 1,
        flags=("SumWraps",),
    )  # fmt: skip
    _refused(
        book,
        "n counts on a graph, not k + 1",
        "PAR-7",
        clients=1000,
        neighbours=2,
        min_survivors=667,
        flags=("SumOfSample",),
    )


def _hardened(book: Book) -> None:
    bare = PruningPolicy(anonymity_blocks=False)

    def valid(comment: str, policy: PruningPolicy = bare, *, flags: tuple[str, ...] = (), **fields: Any) -> None:
        _valid(book, comment, Params(policy=policy, **fields), "PAR-8", flags=flags)

    def refused(comment: str, *, flags: tuple[str, ...], t: int, **fields: Any) -> None:
        out = {"security": "hardened", "threshold": t, "min_survivors": t, **fields}
        _refused(book, comment, "PAR-8", flags=flags, **out)

    strict: dict[str, Any] = {"security": SecurityLevel.HARDENED}
    no_blocks: dict[str, Any] = {"anonymity_blocks": False}
    views, alone = ("TwoViews",), ("LoneHonestClient",)
    valid("2t = n + c + 1", clients=9, threshold=5, **strict)
    valid("2t = n + c + 1, with a colluder", clients=8, threshold=5, colluders=1, **strict)
    refused("2t = n", clients=10, t=5, flags=views, **no_blocks)
    refused("2t = n + c", clients=9, t=5, colluders=1, flags=views, **no_blocks)
    valid("2t = n is enough at basic", clients=10, threshold=5)
    half = PruningPolicy(straggler_share=500)
    valid("t less the candidates is c + 2: 7 − 5 = 2", half, clients=10, threshold=7, **strict)
    refused("t less the candidates is c + 1", clients=10, t=7, colluders=1, straggler_share=500, flags=alone)
    valid(
        "candidates are rounded down: 6 − ⌊9/2⌋ = 2",
        half,
        clients=9,
        threshold=6,
        **strict,
        flags=("CandidatesRoundedUp",),
    )
    refused("6 − ⌊10/2⌋ = 1", clients=10, t=6, straggler_share=500, flags=alone)
    valid(
        "without blocks candidates do not count",
        attrs.evolve(half, anonymity_blocks=False),
        clients=10,
        threshold=6,
        **strict,
    )
    refused("one honest client among three", clients=3, t=3, colluders=2, flags=alone, **no_blocks)
    fives: dict[str, Any] = {"clients": 12, "neighbours": 4}
    valid("on a graph k + 1 stands for n: 2 · 3 > 5", threshold=3, **fives, **strict, flags=("ViewsOfRoster",))
    refused("on a graph 2 · 3 = 5 + 1", t=3, colluders=1, **fives, flags=views)
    _refused(
        book, "the default t where a third collude", "PAR-8", security="hardened", clients=10, colluders=4, flags=views
    )


def _graphs(book: Book) -> None:
    def valid(comment: str, policy: PruningPolicy = GRAPH, *, flags: tuple[str, ...] = (), **fields: Any) -> None:
        _valid(book, comment, Params(policy=policy, **fields), "PAR-10", flags=flags)

    def refused(comment: str, *, flags: tuple[str, ...] = ("GraphUnchecked",), **fields: Any) -> None:
        _refused(book, comment, "PAR-10", flags=flags, **{"neighbours": 2, **fields})

    valid("the smallest graph: each but one is a neighbour", clients=4, neighbours=2, flags=("ExtrasWithoutHistogram",))
    small = attrs.evolve(GRAPH, bucket_count=1, grid=(1000,))
    valid("2^20 clients", small, clients=2**20, neighbours=2, encoding=WIDE)
    valid("254 neighbours", clients=256, neighbours=254, encoding=WIDE)
    valid("survivors from t", clients=12, neighbours=4, threshold=2, min_survivors=2)
    valid("survivors to n, and t = k + 1", clients=12, neighbours=4, threshold=5, min_survivors=12)
    paper = attrs.evolve(GRAPH, selection=Selection.PAPER, slack_seed=SlackSeed.CONTEXT)
    valid("paper selection whose slack comes from the context", paper, clients=12, neighbours=2)
    refused("an odd number of neighbours", neighbours=3)
    refused("k = n − 1: that is a clique", clients=3, min_survivors=3)
    refused("256 neighbours", clients=1000, neighbours=256, min_survivors=667, ring_bits=64)
    refused("a negative number of neighbours", neighbours=-2)
    refused("2^20 + 1 clients", clients=2**20 + 1, min_survivors=700_000, ring_bits=64)
    refused("fewer survivors than t", min_survivors=2)
    refused("more survivors than clients", min_survivors=13)
    refused("the mean holder", mean="holder")
    refused("the mean strata", mean="strata")
    refused("spread", mean="dilute", spread=True)
    refused("slack from records that nobody has", selection="paper", mean="dilute")
    refused("anonymity blocks", anonymity_blocks=True)
    refused("keep levels from computing alone", network_aware=False)
    flags = ("ThresholdAboveHolders", "ThresholdOfRoster")
    _refused(book, "t = k + 2", "PAR-6", neighbours=2, threshold=4, flags=flags)


def _configurations(book: Book) -> None:
    def config(comment: str, params: Params, layout: Layout, *, flags: tuple[str, ...] = ()) -> None:
        rules = (*DIGEST, "LAY-7", *_others(params))
        book.valid("parameters.config", *rules, comment=comment, flags=flags, params=params, layout=layout)

    config("parameters and a dense layout", Params(clients=5), dense_chain(2, 3, 1), flags=("ConfigInOneDigest",))
    config(
        "on a graph, at hardened",
        Params(clients=12, neighbours=4, policy=GRAPH, security=SecurityLevel.HARDENED),
        dense_chain(1, 1, 1),
    )
    gates = Axis(8, "lstm")
    lstm = Layout((Tensor("w", (gates, Axis(2, "lstm")), uses=3), Tensor("b", (gates,))), (Layer("lstm", 2),))
    config("the paper's policy and a recurrent layer", Params(clients=2, policy=PAPER_POLICY), lstm)
    inputs = {"params": _json(), "layout": plain(dense_chain(2, 3, 1))}
    inputs["params"]["policy"]["margin"] = 1001
    comment = "parameters that break a rule have no digest"
    book.raw("invalid", "parameters.config", "PAR-1", comment=comment, flags=("RatiosUnchecked",), inputs=inputs)
