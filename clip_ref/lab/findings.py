"""What the full runs showed, in words: Markdown that was written with the numbers at hand, and has none.   Spec: laboratory."""

from typing import Final

FINDINGS: Final = {
    "table": """\
On this fleet `clip` takes all that the bound allows from the first round that prunes, or all but a hundredth or two, on
all three tasks and for any number of clients: its rounds are shorter by about as much as the paper has at best, or more, and at
n = `20` the target is reached a quarter to a third sooner. Accuracy it keeps at equal rounds on Fashion-MNIST and on
Shakespeare. On `cifar10`, whose images are a JPEG copy here, it loses half a point, a hair more than was asked for; no method
that waits for everybody is nearer to `none` there, `shorten` is about as near, and random and prefix sub-models cost about
twice as much. The paper's rule costs more than those: on this, the deepest network, about what the paper says of its worst
case. On Shakespeare nothing costs anything.

`exclude` is faster still and loses little here, where everybody's data are alike or the slow are not alone with theirs;
where they are, see the next experiment. At n = `10` and `50` one seed was trained or two, which tell little of accuracy. On
Shakespeare roles differ in size, so that whoever has most to learn from is slow, whatever the device: who that is, and what
there is to gain, changes from seed to seed, hence the wide intervals.

By the measured clock fits of the two networks on images take a fraction of what is counted, so that transfers are more of a
round, on Fashion-MNIST nearly all; and narrow layers take longer for a multiply-accumulate than wide ones. At the smallest
keep level `clip` then gets the better part of what the bound allows on `cifar10`, and half of it on Fashion-MNIST. On
Shakespeare, where fits outweigh transfers by either clock, it gets all.""",
    "rules": """\
The paper's rule keeps neither figure: where slow devices have classes of their own it loses as much as neurons drawn at
random do, and most of it on those classes. `clip-rank`, which is `clip`, keeps what was asked for on both partitions, on the
seeds that it was found with and on the fresh ones. At the same time, where slow devices have classes of their own, it is
ahead of random and prefix sub-models overall, and of prefix sub-models and `exclude` on those classes; `exclude` is level
with it overall, and its lead over random on those classes is no wider than its interval. Where classes are uneven
(`dirichlet`) nothing that was asked for is ahead of the others beyond its interval: leaving slow devices out, the fastest of
all, costs no more there than waiting for them.

What `clip-rank` is made of. Three seeds do not put each part beyond chance, but all of them point the same way:

- *What a sub-model starts from.* One that just lacks neurons learns first to do without them, and that is what it sends.
  Where kept neurons stand in for the others by an estimate ([SUB-7](submodel.md#SUB-7)), it starts near the whole model:
  compare with `clip-rank stand_in=False`.
- *Whose mean.* Turns leave no neuron to the fast devices alone, and strata give what slow devices say of it their whole
  weight: without strata (`holder_cap=1`), or without both (`clip-levels stand_in=True`), the slow devices' classes fade in
  the mean.
- *Which neurons.* This matters least. Ranked by change, by size or drawn, each is ahead somewhere, and each of the latter
  two misses somewhere by a little. Ranking by change is the one that keeps everything on all of these seeds, so it stays.
  Drawing needs no history and is nearly as good.

After twice as many rounds it is the same picture where slow devices have classes of their own; where classes are uneven
`clip-rank` then misses what was asked for by a little, over three seeds.""",
    "churn": """\
Who was away lacks the model before this one. Under a rule that needs it such a client keeps everything, and the round ends
when it does: the more come and go, the less is left of what `clip` saves. Two rules do without, and keep most of it at
every share of absence: scores over the rounds that a client did see (`clip-gaps`), and neurons drawn at random
(`clip-draw`), which has the turns, strata and stand-ins of `clip` and is what to use where clients come and go. What these
two still lose is lost to stragglers that have no times of their own yet: whoever has just come does not know that it is
slow.

`clip` loses no accuracy that intervals would show; the others lose up to the better part of a point on some fleets, and not
more where more come and go. A median of the last three times changes little where processors and links fluctuate as they do
here.""",
    "breaking": """\
With half of the fleet slow `clip` still takes nearly all that the bound allows. With processors four times apart the
smallest keep level is not small enough, and some of it is left; with the slowest network besides nearly all is, for there it
is the upload that takes long, and pruning does not shorten that: see elision in the experiment on slow networks. `exclude` is
faster than the bound everywhere, as it waits for nobody and masks for fewer; with half of the fleet slow it is the one that
loses accuracy.

Lies about times cost time, and no accuracy that intervals would show. Clients that say they take longer push the slow ones
out of the candidates, who are so many and no more: a few of them cost most of the gain, and as many as there are candidates
all of it, while they prune themselves for nothing. Clients that say they take less matter if they are slow: then nobody
sees that the round waits for them. Who lies is drawn by the seed, hence the wide intervals. Nothing here finds liars;
`exclude`, which is told who is slow, is not fooled.""",
    "feedback": """\
There is a loop. Where zeros drag the mean down (`mean=dilute`), a neuron that was pruned has hardly changed and is pruned
again nearly always, the more so the more of the fleet is slow. The holders' mean, by levels or by scaling, takes the
zeros out and some of the loop with them; what is left is that the neurons which change least are the same ones from round
to round. An age cap breaks it by force, a draw has none beyond chance. On the digits accuracy does not tell these apart.""",
    "threshold": """\
On both tasks more neurons lie below the pooled mean change than have to go, so from a threshold of that mean on none are
slack, and higher thresholds change nothing. Below it the slack grows, and as it is drawn anew in every round, fewer neurons
are pruned again. Accuracy does not tell the thresholds apart: the paper's parameter decides how much is drawn by chance, and
little else.""",
    "network": """\
Behind the fast of the slow links over-pruning gets all that the bound allows, and a rule that looks at processors alone
nothing, since nobody's is slow: the two differ by just that. (On Shakespeare it gets most of it: roles differ in size, and
the largest are the stragglers.) The slower the link, the sooner it saturates: at the smallest keep level a fit has no more
to give, and behind the slowest link nearly all of a round is transfer. There elision takes over, for a vector that
everybody sends shorter takes less whoever sends it: half of the neurons left out in three rounds of four is worth a third of
the time or more, and with `clip` the two nearly add up. Where fits outweigh transfers, as on Shakespeare behind the middle
link, it costs a little on its own, and is worth a little with `clip`.

It was trained on the small task behind the middle link alone. There it costs nothing that intervals would show, though these
are wide, and with half left out the target is reached sooner; the smallest keep level costs `clip` more than elision does.""",
}
"""By the experiment's name."""
