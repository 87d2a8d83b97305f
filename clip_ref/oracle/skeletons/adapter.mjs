// An adapter: it lets clip-ref ask your implementation, one request a line, and answers each by one line.
//
//     clip-ref conformance -- node adapter.mjs

import { createInterface } from "node:readline";

const WIRE_VERSION = 1;

// An input that must be refused. `error` says whose fault that is.
class Refused extends Error {
  constructor(error) {
    super(error.kind);
    this.error = error;
  }
}

const ARGUMENT = { kind: "argument" }; // the caller's own
const party = (culprit) => ({ kind: "party", culprit }); // of a client, by its id, or of the "server"

const OPERATIONS = {
  // Who you are.
  hello: () => ({ name: "my implementation", wire_version: WIRE_VERSION }),

  // A worked example. Call your own code here: bytes come as hexadecimal digits, Buffer.from(text, "hex") reads them.
  "messages.check_ids": ({ ids }) => {
    if (ids.some((u, k) => u < 0 || u >= 2 ** 32 - 1 || (k > 0 && u <= ids[k - 1]))) throw new Refused(party("server"));
    return true;
  },
};

// An output, an error, or that there is no such operation here.
function answer(operation, inputs) {
  if (!Object.hasOwn(OPERATIONS, operation)) return { unsupported: true };
  try {
    return { output: OPERATIONS[operation](inputs) };
  } catch (error) {
    if (error instanceof Refused) return { error: error.error };
    throw error;
  }
}

// Answer until there are no more requests. Anything else that you print must go to console.error.
for await (const line of createInterface({ input: process.stdin })) {
  const { id, operation, inputs } = JSON.parse(line);
  process.stdout.write(JSON.stringify({ id, ...answer(operation, inputs) }) + "\n");
}
