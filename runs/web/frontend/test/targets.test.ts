import assert from "node:assert/strict";
import { test } from "node:test";
import { formatTarget, parseTarget } from "../src/lib/targets";

test("what names a target is read and written back", () => {
  for (const text of ["report", "supernode:s1", "supernode:n12", "node:2_55_8", "claim:c3", "feature:2/55", "label:0/86", "edge:E_12_3>s1", "sentence:4"]) {
    const target = parseTarget(text);
    assert.ok(target, text);
    assert.equal(formatTarget(target), text);
  }
});

test("parts of a target are told apart", () => {
  assert.deepEqual(parseTarget("edge:s2>4_9_3"), { kind: "edge", source: "s2", destination: "4_9_3" });
  assert.deepEqual(parseTarget("label:2/55"), { kind: "label", layer: 2, feature: 55 });
});

test("other text names nothing", () => {
  for (const text of ["", "supernode:", "supernode:a b", "feature:2", "feature:2/x", "edge:s1", "edge:a>b>c", "sentence:-1", "claim:c1\n", "node:<b>", "constructor:x"]) {
    assert.equal(parseTarget(text), null, JSON.stringify(text));
  }
});
