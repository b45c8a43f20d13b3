// SPDX-License-Identifier: MIT
// HTTP requests as a receiver got them, [{headers, body}, ...] in the file given, parsed by the CloudEvents SDK: batched and structured
// mode. Every event must be valid in strict mode and come out with every attribute it went in with. Prints how many there were.
import { readFileSync } from "node:fs";
import { deepStrictEqual } from "node:assert";
import { HTTP } from "cloudevents";

let n = 0;
for (const { headers, body } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const parsed = [HTTP.toEvent({ headers, body })].flat();
  const sent = [JSON.parse(body)].flat();
  deepStrictEqual(parsed.length, sent.length);
  parsed.forEach((event, i) => {
    event.validate();
    for (const [name, value] of Object.entries(sent[i])) {
      if (name === "time") deepStrictEqual(new Date(event.time), new Date(value));
      else deepStrictEqual(event[name], value, name);
    }
    n++;
  });
}
console.log(n);
