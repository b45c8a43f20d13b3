// SPDX-License-Identifier: MIT
// Each line of the files given is parsed by the CloudEvents SDK in strict mode, from its JSON form and from an HTTP request
// in structured mode, and must come out with every attribute it went in with. Prints one line: how many.
import { readFileSync } from "node:fs";
import { deepStrictEqual } from "node:assert";
import { CloudEvent, HTTP, ValidationError } from "cloudevents";

let n = 0;
for (const file of process.argv.slice(2)) {
  for (const line of readFileSync(file, "utf8").split("\n").filter((l) => l)) {
    const raw = JSON.parse(line);
    const made = new CloudEvent(raw, true);
    made.validate();
    const received = HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body: line });
    for (const event of [made, received]) {
      for (const [name, value] of Object.entries(raw)) {
        if (name === "time") deepStrictEqual(new Date(event.time), new Date(value));
        else deepStrictEqual(event[name], value, name);
      }
    }
    n++;
  }
}
try {
  new CloudEvent({ specversion: "1.0", id: "1", source: "/x" }, true).validate();
  throw new Error("the SDK accepts an event without a type: this check proves nothing");
} catch (e) {
  if (!(e instanceof ValidationError) && !(e instanceof TypeError)) throw e;
}
console.log(n);
