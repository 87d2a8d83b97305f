"""The bugs that flags stand for, from identification to whole rounds.   Spec: conformance, rule CNF-4.

Three lines each: name, rule and type; what such an implementation does; what comes of it.
"""

from typing import Final

TABLE: Final = """
RisingPredictionsTaken, IDN-1, missing check
    A record whose predictions rise as the keep level falls takes part.
    One client's nonsense moves T* and the levels of everybody.

EqualPredictionsRefused, IDN-1, edge case
    Predictions have to fall strictly from level to level.
    Clients that are slow for other reasons than training are left out.

PredictionsNotCounted, IDN-1, missing check
    A record need not have as many predictions as the grid has levels.
    A level is looked up that is not there, or is another one.

WeightNotChecked, IDN-1, missing check
    A record takes part with any weight.
    A weight of 0 or beyond the sum's range counts in quantiles.

InvalidCounted, IDN-1, missing check
    Clients without times count in the quantile, with whatever stands in their place.
    Other candidates, another T*: clients that do this prune other neurons than the rest.

HistoryNeededToCount, IDN-1, interoperability
    A client without the history model takes no part in quantiles.
    T* and f* differ from everybody else's.

TransfersLeftOut, IDN-2, interoperability
    Only selection, training and masking count; download and upload do not.
    Who is slow because of its network is never found out.

LevelIgnored, IDN-2, integrity
    The time at any keep level is that of the whole model.
    No level is ever in time: every straggler keeps the least.

TimesWrap, IDN-2, edge case
    Times are added modulo 2⁶⁴.
    A client that says it is infinitely slow looks fast.

TimesInFloats, IDN-2, interoperability
    Times are added as floats.
    Beyond 2⁵³ µs clients come to different plans.

SaturatesTooLate, IDN-2, edge case
    Times are compared before they saturate.
    Clients that are alike at 2⁶⁴ − 1 are told apart.

CandidatesAreFastest, IDN-3, integrity
    The candidates are the fastest clients.
    The wrong ones prune.

CandidatesUp, IDN-3, edge case
    ⌈p · n_v⌉ clients are candidates.
    One more than the share prunes, and T* is another's time.

MarginNotStrict, IDN-5, edge case
    Who is exactly at the margin is a straggler.
    Of a fleet of equals some prune.

MarginOnLeavingToo, IDN-5, interoperability
    A straggler stops being one as soon as it is within the margin.
    Clients at the border flap from round to round.

StaysAtTarget, IDN-5, edge case
    A straggler whose time is exactly T* stays one.
    It never leaves.

MarginInFloats, IDN-5, interoperability
    The margin is compared in floats.
    At the border, clients come to different plans.

MarginOverflows, IDN-5, edge case
    1000 · e is worked out in 64 bits.
    Long times wrap, and a straggler is not one.

SmallestInTime, IDN-6, integrity
    A straggler keeps the smallest level that is in time.
    It prunes far more than it has to.

LevelNotInTimeAtTarget, IDN-6, edge case
    A level that takes exactly T* counts as late.
    A level too low at the border.

LevelWithinMargin, IDN-6, interoperability
    A level is in time within the margin.
    Stragglers are late by as much.

SaturatedKeepsAll, IDN-6, integrity
    A straggler for which even the smallest level is too slow keeps everything.
    The slowest of all are not helped.

NetworkIgnored, IDN-6, integrity
    Levels are chosen by training time alone, even where the policy is network-aware.
    Who has a slow network stays late.

NetworkCountsAnyway, IDN-7, interoperability
    Levels make up for the network where the policy is compute-only, too.
    Clients that do this prune more than the others believe.

FitTargetWithoutCandidates, IDN-7, interoperability
    f* leaves out candidates that are within the margin.
    f* is too small.

FitTargetOfSlowest, IDN-7, interoperability
    f* is the training time of the client that sets T*.
    Where that one is slow by its network, f* is too small.

LonePrunerKept, IDN-8, confidentiality
    Fewer than s_min stragglers prune all the same.
    Two sums that differ by one neuron set isolate the client that made the difference.

BlockOfOneMore, IDN-8, confidentiality
    Blocks have c + 1 clients instead of c + 2.
    c colluders and the server are left with a single other client.

BlockTakesLargest, IDN-8, integrity
    A block prunes at the largest of its levels.
    All but the fastest of the block are late.

BlocksById, IDN-8, interoperability
    Stragglers are cut into blocks by id, not by level.
    Blocks mix levels, and all of a block pay for its slowest.

RemainderIsABlock, IDN-8, confidentiality
    What is left over after whole blocks is a block of its own.
    It has fewer than s_min clients: they can be told apart.

RemainderSpared, IDN-8, interoperability
    What is left over after whole blocks prunes nothing.
    Stragglers that could be helped are not.

BlockTiesToLargerId, IDN-8, edge case
    Among equal levels the larger id comes first.
    Another client joins the lower block.

BlocksOfTextIds, IDN-8, edge case
    Ids are sorted as text: 10 before 9.
    Blocks differ where ids have different lengths.

SparedFillBlocks, IDN-8, confidentiality
    Stragglers that prune nothing count towards a block.
    Those that do prune are fewer than s_min.

WarmUpTooShort, IDN-9, edge case
    The last warm-up round prunes.
    Neurons go by what changed since chance set them.

RosterMustExceed, IDN-9, edge case
    With exactly `min_roster` clients nobody prunes.
    Clients that do this do not prune where the others count on it.

RosterOfValid, IDN-9, interoperability
    Only clients with times count for `min_roster`.
    Nobody prunes in rounds in which some could.

PrunesWithoutHistory, IDN-9, missing check
    A straggler without the history model prunes.
    It prunes by something else, and the sum is divided wrongly.

HistoryAlwaysNeeded, IDN-9, interoperability
    A straggler without the history model is spared even where scores do without it.
    Clients that do this believe that others keep what they prune.

HolderSparesOne, IDN-9, interoperability
    Under the mean `holder`, only the client without the history is spared.
    It cannot work out the others' neurons, and scales by wrong weights.

SparedLosesStatus, IDN-9, integrity
    A straggler that may not prune is reported as none.
    It has to pass the margin again in the next round.

TurnsIgnored, IDN-12, integrity
    Blocks have nothing ahead of them, even under `spread`.
    All prune the same neurons, and nobody stands in for them.

OwnBlockAhead, IDN-12, edge case
    A block's own level is ahead of it.
    All turns are one too late: clients prune different neurons.

ClientsAhead, IDN-12, edge case
    What is ahead counts each client of a block, not the block once.
    Turns are too far on: clients prune different neurons.

AheadReversed, IDN-12, interoperability
    The blocks ahead are told from the nearest on.
    Places in the order are the same, verdicts are not.

CircleNotShuffled, GRA-1, confidentiality
    Clients stand on the circle in the order of the roster.
    The server chooses everybody's neighbours.

DegreeOnEitherSide, GRA-1, interoperability
    There are k neighbours on either side.
    Neighbourhoods of 2k: masks do not cancel with others'.

CircleHasEnds, GRA-1, edge case
    The circle does not close.
    Those at its ends have fewer neighbours than k.

NeighboursCountedTwice, GRA-1, edge case
    A small roster goes around the circle more than once.
    Clients list somebody twice, or themselves.

UnlabelledGraphSeed, GRA-2, interoperability
    The seed of the graph is ctx itself.
    Other neighbours than everybody else's.

LeafWithoutPosition, GRA-3, integrity
    A leaf does not say at which position it stands.
    The server can show two clients two rosters under one root.

LeafIsNode, GRA-3, integrity
    Leaves have the label of inner nodes.
    A forged leaf can be an inner node of the tree.

NodesUnlabelled, GRA-3, integrity
    An inner node is a plain hash of its children.
    Leaves and nodes can be taken for one another.

OddNodeDoubled, GRA-3, integrity
    An odd last node is paired with itself.
    Two rosters have the same root.

RosterSizeLeftOut, GRA-3, integrity
    The digest of the roster is that of the root alone.
    The same root passes for a roster of another size.

ProofNotChecked, GRA-4, missing check
    Bundles are taken without a look at their proofs.
    The server makes up neighbours.

LongProofTaken, GRA-4, missing check
    Siblings beyond the root are passed over.
    There is more than one proof of a leaf.

PositionNotBounded, GRA-4, missing check
    The proof says how high the tree is, and the position need not be below n′.
    A client stands at positions that do not exist.

BitsFromTheTop, GRA-5, interoperability
    Position 0 is the highest bit of the first byte.
    Others read another set.

StrayBitsTaken, GRA-5, missing check
    Bits beyond the roster are passed over.
    Two clients sign different bytes for the same view.

BitmapLengthNotChecked, GRA-5, missing check
    A view of another length is taken.
    A missing byte reads as drop-outs.

EdgesRoundedDown, GRA-6, interoperability
    Edges of buckets are rounded down.
    Short ones never grow, and all others differ.

EdgesInFloats, GRA-6, interoperability
    Edges of buckets are worked out in floats.
    They differ from machine to machine.

EdgeExclusive, GRA-6, edge case
    A time that is exactly an edge counts in the next bucket.
    T* is a bucket too high.

LongTimesBeyond, GRA-6, edge case
    A time beyond the last edge has a bucket of its own, or none.
    The padded vector gets another length, or the slowest are not counted.

PlaceRoundedUp, GRA-7, edge case
    ⌈p · v⌉ clients are taken for candidates.
    T* is that of a faster client.

TargetIsLowerEdge, GRA-7, edge case
    T* is the lower edge of the bucket.
    Clients that are in time prune.

TargetOneFurther, GRA-7, edge case
    T* is that of the next slower client.
    Its bucket is a candidate's.

TargetNotSaturated, GRA-7, edge case
    T* is announced beyond 2⁶⁴ − 1.
    It does not fit its field.

GraphMarginNotStrict, GRA-8, edge case
    Who is exactly at the margin judges itself a straggler.
    Of a fleet of equals some prune.

GraphMarginOnLeavingToo, GRA-8, interoperability
    A straggler stops being one as soon as it is within the margin.
    Clients at the border flap from round to round.

GraphStaysAtTarget, GRA-8, edge case
    A straggler whose time is exactly T* stays one.
    It never leaves.

GraphSmallestInTime, GRA-8, integrity
    A straggler keeps the smallest level that is in time.
    It prunes far more than it has to.

GraphSaturatedKeepsAll, GRA-8, integrity
    A straggler for which even the smallest level is too slow keeps everything.
    The slowest of all are not helped.

GraphPrunesWithoutHistory, GRA-8, missing check
    A straggler without the history model prunes.
    It prunes by something else, and the sum is divided wrongly.

GraphHistoryAlwaysNeeded, GRA-8, interoperability
    A straggler without the history keeps everything even where scores do without it.
    It is late for nothing.

JudgesInWarmUp, GRA-8, edge case
    A client judges itself in warm-up rounds.
    Neurons go by what changed since chance set them.

JudgesWithoutTarget, GRA-8, edge case
    A T* of 0 is held against the clients' times.
    Where no times are known, everybody is a straggler.

JudgesWithoutShare, GRA-8, edge case
    Clients prune although p is 0.
    Plain secure aggregation prunes.

GrindingLeftOut, GRA-9, confidentiality
    k and t leave no room for a server that tries rosters.
    It finds one that surrounds its victim.

OwnShareNotCounted, GRA-9, confidentiality
    The share that a client holds of its own secrets is not counted.
    t is too small: one corrupt neighbour fewer gives both secrets away.

RoundsHalvesUp, INV-2, interoperability
    Halves are rounded up.
    Scores differ by one, and ties fall the other way.

TruncatesWeights, INV-2, interoperability
    Scaled weights are cut off, not rounded.
    Scores differ by one.

WeightsWrap, INV-2, edge case
    Scaled weights wrap at 32 bits.
    A large weight that grows looks as if it had changed sign.

SaturatesOneLower, INV-2, edge case
    Negative weights saturate at −2³¹.
    Scores differ by one at the end of the range.

NonFiniteScored, INV-1, missing check
    NaN and infinities are scored.
    Neurons go by numbers that mean nothing.

OutgoingLeftOut, INV-5, integrity
    A neuron's group leaves out its outgoing weights.
    Other neurons go than with everybody else.

BiasLeftOut, INV-5, integrity
    A neuron's group leaves out its bias.
    Other neurons go than with everybody else.

SelfWeightsCountedTwice, INV-5, edge case
    A recurrent weight from a unit to itself counts twice.
    Scores of recurrent layers are too large.

SignedChange, INV-3, integrity
    Changes are added with their signs.
    Changes that cancel look like none.

DifferenceQuantised, INV-3, interoperability
    The difference of the weights is quantised, not each weight.
    Scores differ by one.

ScoresIn32Bits, INV-3, edge case
    Sums of scores wrap at 32 bits.
    The most changed neurons look unchanged.

LargestRatioScores, INV-3, integrity
    A neuron's score is its largest |Δw|/|w|.
    Weights near 0 decide.

FloorLeftOut, INV-4, edge case
    B has no floor but 1.
    A neuron that starts near 0 looks infinitely changed.

FloorWithoutGroup, INV-4, interoperability
    The floor is a thousandth of the average weight, not of the average group.
    It is too low by the size of the group.

FloorRounded, INV-4, edge case
    The floor is rounded up.
    Scores differ by one.

FloorOfWholeModel, INV-4, interoperability
    The floor is of the average weight of the whole model.
    Layers with small weights have too high a floor.

SignedRatios, INV-6, integrity
    Float scores are of the change with its sign.
    A weight that falls looks unchanged.

ZeroByZero, INV-6, edge case
    0/0 is taken for an infinite change.
    Dead neurons are never pruned.

RhoLeftOut, INV-6, edge case
    Denominators have no least value.
    A weight that was 0 decides alone.

ScoreHalvesUp, INV-7, interoperability
    Halves of 2⁻³² are rounded up.
    Scores differ by one.

FloatScoreNotSaturated, INV-7, edge case
    Large scores wrap instead of saturating.
    The most changed neuron looks unchanged.

SizeOfHistory, INV-9, integrity
    The score `size` is that of the model before.
    Clients with and without that model prune different neurons.

SizeNotAveraged, INV-9, interoperability
    The score `size` is a sum, not divided by the size of the group.
    Within a layer it is the same order as long as groups are of one size, and no longer.

HistoryNeededForSize, INV-9, interoperability
    The score `size` is refused without a history.
    A client that has none drops out.

InvariantAtThreshold, INV-8, edge case
    A neuron exactly at the threshold is invariant.
    Of neurons that are all alike, all are invariant instead of none.

MeanOfRatios, INV-8, interoperability
    Neurons are held against the mean of their ratios, not the pooled one.
    Others are invariant.

ThresholdIn64Bits, INV-8, edge case
    The products are worked out in 64 bits.
    They wrap for large layers.

ThresholdInFloats, INV-8, interoperability
    The products are worked out in floats.
    At the border, others are invariant.

ThresholdOfAnotherLayer, INV-8, integrity
    All layers are held against the mean of the last one.
    In layers that change more, nothing is ever invariant.

MostChangedFirst, SEL-1, integrity
    The most changed neurons go first.
    The sub-model lacks what learns most.

TiesToLargerIndex, SEL-1, edge case
    Among equals the larger index goes first.
    Clients prune different neurons of layers that did not change.

RankedByChange, SEL-1, interoperability
    Neurons are ranked by A alone.
    Neurons with small weights go first, however much they changed.

RankedInFloats, SEL-1, interoperability
    Ratios are compared as floats.
    Neurons that are almost alike are taken for equals.

RankedIn64Bits, SEL-1, edge case
    Products of scores are worked out in 64 bits.
    They wrap, and the order is another.

StrictTakesAll, SEL-3, integrity
    `strict` prunes neurons that are not invariant.
    It is `rank` under another name.

SlackByRank, SEL-4, interoperability
    Slack is drawn by rank, not at random.
    The threshold has no effect at all.

SlackByIndex, SEL-4, interoperability
    Slack is drawn in the order of the neurons.
    The same neurons go in every round.

SlackShufflesTheRest, SEL-4, interoperability
    The permutation is one of the neurons that are not invariant, not of all.
    Clients prune different neurons.

SlackForAllLayers, SEL-4, interoperability
    All layers share one permutation.
    Clients prune different neurons.

AgeCapLeftOut, SEL-5, integrity
    The age cap is not kept.
    Neurons that look invariant because they are pruned are pruned for ever.

AgeCapShifted, SEL-5, edge case
    Neuron j is exempt where i + j ≡ 0 (mod A).
    Clients prune different neurons.

AgeCapAfterCut, SEL-5, interoperability
    Exempt neurons are taken out of what would be pruned, and no others go in their place.
    The client keeps more than its level says, and is late.

KeepsOneFewer, SEL-6, edge case
    One neuron more goes than the level says.
    At 1000 ‰ something is pruned.

KeptRoundedUp, SEL-6, edge case
    ⌈r · n_l/1000⌉ neurons are kept.
    One too many at most levels.

NoneLeft, SEL-6, edge case
    ⌊r · n_l/1000⌋ neurons are kept, even where that is none.
    A small layer vanishes, and with it the way through the model.

TurnNotTaken, SEL-8, integrity
    What is ahead is passed over.
    All blocks prune the same neurons, and nobody stands in for them.

TurnEndsWithOrder, SEL-8, edge case
    At the end of the order nothing more goes.
    The last blocks keep more than their level says, and are late.

TurnRoundedOnce, SEL-8, edge case
    The place where a turn begins is worked out from the sum of the levels ahead.
    It is another place wherever a level is rounded: clients prune different neurons.

TurnBeyondOrder, SEL-8, edge case
    Blocks ahead count with as many neurons as their levels say, even where the order has fewer.
    It is another place in a short order: clients prune different neurons.

AheadNotChecked, SEL-8, missing check
    Any level is taken ahead.
    A level above 1000 ‰ turns the order back.

OrderedFromTheFront, SEL-9, interoperability
    `ordered` prunes the first neurons of a layer.
    Clients prune different neurons.

OrderedTakesScores, SEL-9, interoperability
    `ordered` goes by scores.
    Another order in every round: clients prune different neurons.

LevelNotChecked, SEL-6, missing check
    Any keep level is taken.
    A level of 0 leaves one neuron, one above 1000 prunes from the end.

ModelSizeNotChecked, SUB-1, missing check
    A model of another length is taken.
    Weights are cut from the wrong places.

ExtractedWholeTensors, SUB-2, interoperability
    Sub-models are cut out by the first axis of each tensor alone.
    Pruned neurons' outgoing weights stay, and the flat model is of another length.

UpdateSizeNotChecked, SUB-3, missing check
    An update of another length is taken.
    Numbers end up at the wrong coordinates.

ExpandedAtTheFront, SUB-4, integrity
    The update is filled up with zeros at its end.
    All numbers behind the first pruned coordinate are at the wrong place.

WeightNotCapped, COD-1, edge case
    The weight is the number of examples, however many.
    The sum overflows.

BucketsRoundUp, COD-1, edge case
    Buckets go up to the next power of two.
    Weights are too large.

BucketsBeforeCap, COD-1, edge case
    The weight is capped after it went down to a power of two.
    The largest weight is no power of two: it tells who is large.

UniformCounts, COD-1, interoperability
    Uniform weighting weighs by examples.
    The sum of the weights tells what it should not.

NoExamplesTaken, COD-1, missing check
    An update from no examples has a weight.
    A client that did not train drags the mean.

NaNQuantised, COD-2, missing check
    NaN becomes a number.
    A wrong model, with no sign of it.

InfinityClipped, COD-2, missing check
    Infinities are clipped to ±C.
    A client whose training diverged takes part.

HalvesUp, COD-3, interoperability
    Halves are rounded up.
    Values differ by one, and the mean is biased.

HalvesAway, COD-3, interoperability
    Halves are rounded away from 0.
    Values differ by one.

ValuesTruncated, COD-3, interoperability
    Values are cut off, not rounded.
    Every update shrinks.

NotClipped, COD-3, missing check
    Values are not clipped.
    A single client can make the sum wrap.

TopValueAdded, COD-3, interoperability
    C is quantised to 2^(q−1) instead of 2^(q−1) − 1.
    Values differ, and the sum may overflow.

QuantisedInFloat32, COD-3, interoperability
    Values are quantised in single precision.
    They differ from those of other implementations.

FactorFirst, COD-3, interoperability
    Values are multiplied by the quotient of 2^(q−1) − 1 and C.
    Halves are missed by a rounding.

SignAndMagnitude, COD-4, interoperability
    Negative values have a sign bit, not their two's complement.
    Sums are wrong as soon as signs differ.

WeightLeftOut, COD-4, integrity
    Values are not multiplied by the weight.
    The mean is too small by as much.

WeightBeforeClipping, COD-4, integrity
    Updates are multiplied by the weight before they are clipped.
    The more examples a client has, the harder it is clipped.

WeightBeforeRounding, COD-4, interoperability
    Values are multiplied by the weight before they are rounded.
    They differ from those of other implementations.

Negatives32Of64, COD-4, edge case
    In a ring of 64 bits negative values are those of 32 bits.
    They are huge positive numbers.

ProductsInFloats, COD-4, edge case
    Weight times value is worked out in floats.
    Beyond 2⁵³ the last digits are lost.

EncodedWeightNotChecked, COD-4, missing check
    An update is coded with any weight.
    The sum overflows, or the client's update counts for nothing.

ScalingLeftOut, COD-5, integrity
    Under the mean `holder` values are not scaled.
    Zeros of those who pruned drag the mean.

ScaledDown, COD-5, interoperability
    Scaled values are rounded down.
    The mean is biased.

ScaledTowardsZero, COD-5, interoperability
    Scaled values are rounded towards 0.
    The mean shrinks.

ScaledHalvesUp, COD-5, interoperability
    Halves of scaled values are rounded up.
    Values differ by one.

ScaledBeforeWeight, COD-5, interoperability
    Values are scaled and rounded, and then weighed.
    The rounding error is multiplied by the weight.

ScaledWithoutCap, COD-5, missing check
    Scaling has no cap.
    The sum can overflow.

NobodyDivides, COD-5, edge case
    A coordinate that nobody holds is not looked after.
    A division by 0, or an update where there can be none.

ScaledInFloats, COD-5, interoperability
    Scaled values are worked out in floats.
    They differ from machine to machine.

ScaledIn64Bits, COD-5, edge case
    Weight times value times W is worked out in 64 bits.
    It wraps.

SlotNotChecked, COD-6, missing check
    Extras hold any number.
    A client can put more than its weight into the sum.

MeanOfUnsigned, COD-7, edge case
    The sum is not centred.
    A negative mean is a huge positive one.

MeanByZero, COD-7, edge case
    A coordinate whose divisor is 0 is divided.
    NaN in the model.

MeanFactorFirst, COD-7, interoperability
    The sum is multiplied by the quotient of C and the divisor.
    Means differ in the last digit.

MeanByOneAfterTheOther, COD-7, interoperability
    The sum is divided by 2^(q−1) − 1, and then by the weight.
    Means differ in the last digit.

MeanInFloat32, COD-7, interoperability
    Means are worked out in single precision.
    The next model is another one.

PaddingLeftOut, PAD-2, confidentiality
    Only what is held is sent.
    The length of an upload says who prunes, and how much.

HeldPlacesLost, PAD-2, integrity
    The coded update stands at the front, and zeros behind it.
    Values are added to those of other coordinates.

CodedLengthNotChecked, PAD-2, missing check
    A coded update of any length is padded.
    A client that trained another sub-model is not found out.

GridNotChecked, PAD-3, missing check
    Any keep level is padded.
    The weight has no place, or another level's.

WeightInClear, PAD-4, confidentiality
    The weight is not in the vector, but sent beside it.
    The server learns each client's number of examples.

WeightAtOwnLevel, PAD-4, interoperability
    The weight stands at the client's level under every mean.
    The sum tells levels that nobody needs to know.

PaddedWeightNotChecked, PAD-4, missing check
    Any weight is put into the extras.
    The sum of the weights overflows, or leaves the client out.

WeightAtFirst, PAD-5, integrity
    The weight stands at the first place under the mean `levels`, too.
    Everybody is taken for a holder of everything.

LevelOffByOne, PAD-5, edge case
    The place of a level is counted from 1.
    Weights stand at the next smaller level.

BucketLeftOut, PAD-6, integrity
    Nobody is counted in the time histogram.
    T* is always 0, and nobody ever prunes.

NoTimeCounted, PAD-6, edge case
    A client without times is counted in the first bucket.
    T* is too low.

BucketNotChecked, PAD-6, missing check
    A bucket that is not there is taken.
    The 1 lands outside of the vector, or nowhere.

MasksWithItself, MSK-2, missing check
    A client may have a pairwise mask with itself.
    It cancels nowhere.

AllMasksAdded, MSK-5, integrity
    Both ends add the pairwise mask.
    It does not cancel: every sum is noise.

SelfMaskLeftOut, MSK-5, confidentiality
    There is no self mask.
    Who is taken for dropped out, and is merely late, is laid bare.

IdsComparedSigned, MSK-5, edge case
    Ids are compared as signed 32-bit numbers.
    Signs are wrong for ids from 2³¹ on.

SelfMasksLeftOn, MSK-6, integrity
    The survivors' self masks are not taken off.
    The sum is noise.

DanglingReversed, MSK-6, integrity
    Masks with dropped clients are added once more, not taken off.
    The sum is noise in every round with a drop-out.

DanglingLeftOn, MSK-6, integrity
    Masks with dropped clients are not taken off.
    The sum is noise in every round with a drop-out.

TotalSaturates, AGG-1, integrity
    Sums saturate at R − 1 instead of wrapping.
    Masks do not cancel.

TotalLengthNotChecked, AGG-1, missing check
    A masked input of another length is added as far as it goes.
    Coordinates without masks of everybody stay noise.

HoldersCounted, AGG-4, interoperability
    Holders are counted, not weighed.
    Values are scaled wrongly.

StrataAmongAll, AGG-9, integrity
    Under `strata` those who prune scale among everybody, not among those who prune.
    The fast ones hold everything, so factors are close to 1, and zeros drag the mean.

StrataScalesAll, AGG-9, integrity
    Under `strata` those who prune nothing scale, too.
    They stand in for the stragglers: the mean is that of the fast.

StrataLeftOut, AGG-9, integrity
    Under `strata` nobody scales.
    Zeros drag the mean.

HolderAmongPruning, AGG-9, integrity
    Under `holder`, values are scaled among those who prune.
    The weights of those who prune nothing are lost from the factor.

HeldByLevel, AGG-4, edge case
    What another holds is worked out from its keep level, whatever its turn.
    Under `spread` values are scaled by the wrong weights.

AllZeroWeightsTaken, AGG-2, missing check
    A sum without any weight is taken.
    A division by 0, or a round that did nothing.

SlotsNotChecked, AGG-2, missing check
    The weights of the sum are taken as they are.
    A sum that was unmasked wrongly becomes the model.

SlotsNotAddedUp, AGG-2, missing check
    Each weight is held against the limit, but not their sum.
    A sum that nobody's weights can come to is taken.

SlotsHeldAgainstAll, AGG-2, missing check
    The sum's weights are held against n · weight_max, however few clients are in it.
    A sum over few that is unmasked wrongly, or that somebody made up, passes.

SlotsBelowSurvivors, AGG-2, missing check
    A sum may weigh less than it has clients.
    Means are divided by less than the least that their clients weigh.

SlotLimitExclusive, AGG-2, edge case
    A weight of exactly |U3| · weight_max is refused.
    Rounds in which everybody has the largest weight fail.

WholeWeightUnderLevels, AGG-3, integrity
    Under the mean `levels` everybody's weight is the divisor.
    Zeros of those who pruned drag the mean.

WholeModelsWeightAlone, AGG-3, integrity
    Only the weight of whole models is the divisor.
    Means are too large, or undivided.

LevelsReversed, AGG-3, interoperability
    The slots are read from the smallest level up.
    Every divisor is another's.

HeldAskedForAll, AGG-3, edge case
    What a level holds is worked out even for levels without weight.
    Rounds without a history fail, though nobody pruned.

AggregateLengthNotChecked, AGG-5, missing check
    A total of another length is decoded.
    Extras are read as coordinates, or the other way around.

ModelNotChecked, AGG-5, missing check
    A model with NaN or infinities is updated.
    The next model is no better.

FirstSlotAlone, AGG-6, edge case
    Under `dilute` and `holder` only the first of the extras is read.
    A sum in which a client put its weight elsewhere is divided by too little.

NextModelIsMean, AGG-7, integrity
    The mean update is taken for the next model.
    Training starts over in every round.

MeanRoundedTwice, AGG-7, interoperability
    The mean is rounded to single precision before it is added.
    The next model differs in the last digit, and so does its digest.

HistogramNotChecked, AGG-8, missing check
    The time histogram may count any number of clients.
    One client that lies sets T*.

HistogramHeldAgainstAll, AGG-8, missing check
    The histogram is held against n, however few clients are in the sum.
    Clients that lie add times of clients that are not there, and move T*.

HistogramLimitExclusive, AGG-8, edge case
    A histogram of |U3| clients is refused.
    Rounds without drop-outs fail.

EmptyHistogramRefused, AGG-8, edge case
    A histogram that counts nobody is refused.
    First rounds fail: nobody has times yet.

NonFiniteState, ROU-1, missing check
    NaN and infinities are taken for a model.
    Everybody trains on them in the next round.

HistoryIsLastRounds, ROU-2, integrity
    The history is the previous round's model, even if it is w_i itself.
    Every change is 0: neurons go by their index.

AbortedTakesNoNumber, ROU-2, confidentiality
    An aborted round is repeated under its number.
    Clients refuse it, or the server gets two sums of one round.

ModelsCompared, ROU-2, edge case
    Models are compared by their numbers, not by digest.
    −0 and 0 are taken for the same, and the announced history is another one.

IdentityNotChecked, ROU-18, missing check
    The level `hardened` goes without identities, or `basic` with some.
    A level that is asked for is silently weaker.

ConfigNotChecked, ROU-4, missing check
    Another configuration is taken for one's own.
    The client trains and codes something else than the others.

DirectoryNotChecked, ROU-4, missing check
    Another directory of identities is taken for one's own.
    The server names the signers itself.

AnyRound, ROU-4, confidentiality
    A round of any number is taken part in.
    A server repeats a round with another history, and takes the difference of the two sums.

RefusedOpenUsesUp, ROU-4, edge case
    A client that refused an `Open` takes no other one.
    Whoever gets a forged one to it first keeps it out of the round.

AnySession, ROU-22, confidentiality
    At `hardened` a client takes part in whatever session is announced.
    A server begins at any round number, on any model and history, with a session of its own.

SessionNotAsked, ROU-22, missing check
    At `hardened` a client can be made without a session.
    It takes part in any, and nobody decided that.

SecretsFromEntropyAlone, ROU-23, confidentiality
    Keys, masks and shares follow from the entropy alone, whatever is announced.
    Entropy that is used twice gives two rounds the same keys: one share of a secret in each of them is both.

HasModelAlways, ROU-4, integrity
    A client says that it has the history, whatever it has.
    It prunes by another model than everybody believes.

SmallRosterTaken, ROU-5, confidentiality
    A roster of fewer than t clients is taken.
    The client shares its secrets among too few.

OwnKeysNotChecked, ROU-5, missing check
    A client does not look for its own keys in the roster.
    The server puts its own in their place.

PeerKeysNotChecked, ROU-5, missing check
    A client takes peers' keys as they are.
    With a point of low order everybody knows the pairwise mask.

RosterSignaturesNotChecked, ROU-5, confidentiality
    Signatures in the roster are not checked.
    The server sits in the middle of every pair.

FewEnvelopesTaken, ROU-6, confidentiality
    U2 may have fewer than t clients.
    The client's update is masked for too few to hide among.

ModelDigestNotChecked, ROU-6, missing check
    Any model is trained.
    The server gives each client a model of its own, and tells their updates apart.

DeliveredCommitmentsNotChecked, ROU-6, missing check
    Shares are not held against their commitments.
    A client finds out after training that it cannot help to unmask.

RecordCommitmentNotChecked, ROU-6, missing check
    Records are not held against their commitments.
    A client tells each peer other times, and they come to different plans.

UpdateLengthNotChecked, ROU-7, missing check
    An update of another length gets as far as the padding.
    The client's step is used up, and it is out of the round.

BadUpdateUsesUp, ROU-3, edge case
    An update that is refused uses the step up.
    A client whose training diverged cannot try again.

MasksOverRoster, ROU-7, edge case
    Pairwise masks are with everybody in U1, not in U2.
    Whoever vanished in between leaves a mask that nobody can take off.

SlackFromContext, SEL-4, confidentiality
    Slack is drawn from the context where it should be from the records.
    The server can work out who holds what.

SurvivorsNotInU2Taken, ROU-8, missing check
    U3 may have clients that are not in U2.
    There is nothing to reveal for them, and the sum is noise.

NotInU3Taken, ROU-8, confidentiality
    A client helps although it is not in U3 itself.
    The others give its mask key away, and it their self masks.

FewSurvivorsTaken, ROU-8, confidentiality
    U3 may have fewer than t clients.
    A sum of very few is bared.

BothSharesRevealed, ROU-8, confidentiality
    For clients that dropped out both shares are revealed.
    One that is merely late is laid bare.

SelfShareOfDropped, ROU-8, integrity
    For clients that dropped out the share of b_u is revealed, not that of the mask key.
    Their pairwise masks cannot be taken off.

RevealsBeforeAgreement, ROU-8, confidentiality
    Shares are revealed on `Announce` at `hardened`, too.
    The server tells each client another U3, and takes both masks off.

AgreedSignaturesNotChecked, AGR-8, confidentiality
    Signatures are counted, not verified.
    The server makes them up.

AnswersTwice, ROU-3, confidentiality
    A second, different message at a step gets an answer of its own.
    The difference of two answers under the same masks gives an update away.

StepsInAnyOrder, ROU-3, missing check
    Steps are taken in any order.
    A client reveals shares before it has sent its update.

ForgetsAfterRestart, ROU-16, confidentiality
    A client that is restored stands at the beginning.
    It answers a second, different message at a step that it has taken.

RestartForgives, ROU-16, confidentiality
    A client that is restored has forgotten that it refused a message.
    The server asks again until an answer suits it.

NeighboursNotChecked, ROU-20, confidentiality
    A client takes whatever neighbours it is given.
    The server chooses them.

NeighboursNotProved, ROU-20, confidentiality
    A client does not check that its neighbours are in the roster.
    The server shows each client neighbours of its own making.

GraphViewsNotChecked, ROU-21, missing check
    A view on a graph may say anything of the neighbourhood.
    Masks do not cancel, or the client gives shares for the wrong ones.

AloneOnGraph, ROU-21, confidentiality
    A view may have fewer than t of the client's neighbourhood.
    It hides behind its self mask alone, which its neighbours give away.

FewOnGraphTaken, ROU-21, confidentiality
    A view may have fewer than `min_survivors` clients in all.
    A sum of very few is bared.

GraphU3NotInU2Taken, ROU-21, missing check
    U3 may have clients that are not in U2.
    The sum is noise.

GraphStatementById, AGR-6, interoperability
    On a graph the statement lists ids, not positions.
    Nobody agrees with this client.

NoTimeOnGraphCounted, PAD-6, edge case
    A client whose record takes no part is counted in the histogram all the same.
    T* is too low.

DroppedPairsUnmasked, MSK-7, edge case
    The mask of two clients that both dropped out is taken off.
    The sum is noise in every round with two drop-outs.

SetUpDropOutKills, ROU-11, edge case
    A client that vanishes before its shares arrive ends the round.
    One late client is enough to stop everybody.

AbortsAtThreshold, ROU-11, edge case
    With exactly t clients left the round is aborted.
    Rounds fail that could be finished.

GoesOnBelowThreshold, ROU-11, confidentiality
    The round goes on with fewer than t clients.
    A sum of very few is asked for.

MinSurvivorsLeftOut, ROU-11, confidentiality
    On a graph t clients are enough to go on.
    t of a few thousand clients hide nobody.

HoldersNotCounted, ROU-11, edge case
    On a graph it is enough that t clients have answered at all.
    Too few shares give a wrong secret, and the sum is noise.

OnlyU4Unmasks, ROU-10, edge case
    Who did not sign a statement may not unmask.
    Rounds fail that could be finished.

SecondAnswerTaken, ROU-10, missing check
    A second message of one client is taken.
    Its update counts twice.

MissedLegTaken, ROU-10, missing check
    A client that missed a leg may come back.
    Its masks do not cancel.

CrowdTaken, ROU-10, missing check
    There may be more clients than n.
    The sum overflows.

EnvelopesNotChecked, ROU-10, missing check
    Envelopes may be for anybody.
    Peers miss theirs, and are out of the round.

UnmaskNotChecked, ROU-10, missing check
    Shares may be of anybody's secrets.
    One that is missing shows only when it is needed.

StatementsNotChecked, ROU-10, missing check
    A statement about other views counts towards t.
    No t signatures agree, and nobody unmasks.

SignaturesNotChecked, AGR-5, missing check
    The server does not check signatures.
    Inputs that were changed on the way become part of the sum.

RebuiltKeyNotChecked, ROU-12, missing check
    A rebuilt mask key is not held against the public one.
    One corrupt share makes the sum noise, and nobody knows whose.

RebuiltSeedNotChecked, ROU-12, missing check
    A rebuilt b_u is not held against its commitment.
    One client that deals wrong shares makes the sum noise.

SharesNotHeldAgainstCommitments, ROU-19, missing check
    The server takes shares that were not committed to.
    One corrupt share makes the sum noise.

PrunedWithoutHistoryTaken, ROU-13, missing check
    A level below 1000 ‰ is taken for the whole model where there is no history.
    One client's claim changes everybody's divisor.
"""
