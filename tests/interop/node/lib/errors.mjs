// The three kinds of refusal (CNF-3). The rule is for whoever reads a trace; it is not told on the wire.

export class Refusal extends Error {
  constructor(rule, detail) {
    super(`${rule}: ${detail}`);
    this.rule = rule;
  }
}

/** The caller's own input breaks a rule. */
export class ArgumentRefusal extends Refusal {
  get error() {
    return { kind: 'argument' };
  }
}

const SERVER = 0xffffffff;

/** A message of `culprit`, a client's id, the server's id or 'server', breaks a rule. */
export class PartyRefusal extends Refusal {
  constructor(rule, culprit, detail) {
    super(rule, detail);
    this.culprit = culprit;
  }

  get error() {
    return { kind: 'party', culprit: this.culprit === SERVER ? 'server' : this.culprit };
  }
}

/** Too few clients are left at `stage`, U1 … U5. */
export class RoundAborted extends Refusal {
  constructor(rule, stage, detail) {
    super(rule, detail);
    this.stage = stage;
  }

  get error() {
    return { kind: 'aborted', stage: this.stage };
  }
}

/** Refuse the caller's input unless `good`. */
export const need = (good, rule, detail) => {
  if (!good) throw new ArgumentRefusal(rule, detail);
};

/** Refuse a message of `culprit` unless `good`. */
export const needOf = (culprit, good, rule, detail) => {
  if (!good) throw new PartyRefusal(rule, culprit, detail);
};
