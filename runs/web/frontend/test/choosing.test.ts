import assert from "node:assert/strict";
import { test } from "node:test";
import { toggled } from "../src/reports/choosing";

const one = { caseId: "a", prompt: "p" };
const two = { caseId: "b", prompt: "p" };
const three = { caseId: "c", prompt: "p" };

test("two can be chosen; a third takes the place of the first; choosing again takes away", () => {
  assert.deepEqual(toggled([], one), [one]);
  assert.deepEqual(toggled([one], two), [one, two]);
  assert.deepEqual(toggled([one, two], three), [two, three]);
  assert.deepEqual(toggled([one, two], one), [two]);
});
