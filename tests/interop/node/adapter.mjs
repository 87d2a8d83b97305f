// Answers the questions of the conformance runner: one line of JSON in, one line of JSON out (CNF-1, CNF-2).

import { answer } from './lib/operations.mjs';

const LINE_FEED = 10;

let rest = []; // chunks of a line that is not whole yet

for await (const chunk of process.stdin) {
  const end = chunk.lastIndexOf(LINE_FEED);
  if (end < 0) {
    rest.push(chunk);
    continue;
  }
  const whole = Buffer.concat([...rest, chunk.subarray(0, end)]).toString();
  rest = end + 1 < chunk.length ? [chunk.subarray(end + 1)] : [];
  // All whole lines of a chunk are answered in one write.
  const answers = whole.split('\n').map((line) => {
    const request = JSON.parse(line);
    return JSON.stringify({ id: request.id, ...answer(request) });
  });
  process.stdout.write(`${answers.join('\n')}\n`);
}
