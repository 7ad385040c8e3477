import assert from "node:assert/strict";
import { test } from "node:test";
import { DOSES, formatLink, parseLink } from "../src/live/links";
import type { LiveRequest } from "../src/live/types";
import { actWords, controlWords, percent, short } from "../src/live/words";
import { beginning, money, rate, span } from "../src/jobs/words";

const ABLATE: LiveRequest = { nodes: ["0_86_7", "2_55_8"], act: "ablate" };

test("a link gives back the intervention that it was made of", () => {
  const swap: LiveRequest = { ...ABLATE, act: "swap", donor_prompt: "a & b = <c>?", swap: "features", mode: "direct", token: "Austin", direction: "up", controls: 199, seed: 7 };
  const scale: LiveRequest = { ...ABLATE, act: "scale", multiplier: -1.5, freeze_attention: true, doses: [...DOSES] };
  for (const asked of [ABLATE, swap, scale]) {
    const found = parseLink(formatLink(asked));
    assert.ok(found);
    for (const [name, value] of Object.entries(asked)) assert.deepEqual(found[name as keyof LiveRequest], value, name);
  }
});

test("a link that somebody wrote holds nothing but what belongs in one", () => {
  assert.equal(parseLink(""), null);
  assert.equal(parseLink("act=drop&nodes=0_1_1"), null);
  assert.equal(parseLink("act=ablate&nodes=../../etc,__proto__,1_2"), null);
  const found = parseLink("act=scale&nodes=0_1_1,<img>&x=1e99&controls=9999&seed=-4&mode=fast&swap=all&donor=x&doses=1");
  assert.ok(found);
  assert.deepEqual(found.nodes, ["0_1_1"]);
  assert.deepEqual([found.multiplier, found.controls, found.seed, found.mode, found.swap, found.donor_prompt], [20, 0, 0, "open", "places", null]);
  assert.equal(parseLink(`act=ablate&nodes=${Array.from({ length: 900 }, (_, i) => `0_${i}_1`).join(",")}`)?.nodes.length, 500);
  assert.deepEqual(parseLink("act=swap&nodes=0_1_1&donor=x&doses=1")?.doses, []);
});

test("a probability is never told as a certainty that it is not", () => {
  assert.deepEqual([1, 0.9999999, 0.99998, 0.5, 0.0123, 0.0000337, 1e-9, 0].map(percent), ["100.0 %", "> 99.999 %", "99.998 %", "50.0 %", "1.2 %", "0.0034 %", "< 0.001 %", "0 %"]);
  assert.deepEqual([0, -1.756, 19.29, 1.8e-6, 1234567].map(short), ["0", "−1.76", "19.3", "1.8e-6", "1.2e+6"]);
});

test("what controls say holds direction, chance, and how little an effect may be", () => {
  const found = { token: "Austin", direction: "down" as const, effect: 10.3, effects: [0, 1, 2], rank: 1, p_value: 0.25, matched_on: [], seed: 0, note: "", plot: null };
  assert.match(controlWords(found), /falls by 10\.3 nats; none of 3 .* \(p\s=\s\.25\)\.$/);
  assert.match(controlWords({ ...found, effect: -13.8, rank: 4, p_value: 1 }), /rises by 13\.8 nats, where a fall was expected; 3 of 3 .* came nearer to a fall \(p\s=\s1 for a fall\)/);
  assert.match(controlWords({ ...found, direction: "either" }), /rises by 10\.3 nats; none of 3 .* moved it as much, up or down/);
  assert.match(controlWords({ ...found, direction: "either", effect: -2 }), /falls by 2 nats; none/);
  assert.match(controlWords({ ...found, effect: 2e-6 }), /next to nothing/);
  assert.equal(controlWords({ ...found, effects: [], note: "nothing was changed" }), "nothing was changed");
});

test("acts and amounts in words", () => {
  assert.equal(actWords(ABLATE, "“Texas”"), "“Texas” switched off");
  assert.equal(actWords({ ...ABLATE, mode: "direct" }, "“Texas”"), "“Texas” switched off (direct)");
  assert.equal(actWords({ ...ABLATE, freeze_attention: true, mode: "open" }, "“Texas”"), "“Texas” switched off (attention kept)");
  assert.equal(actWords({ ...ABLATE, act: "swap", donor_prompt: "x", swap: "features" }, "“Texas”"), "“Texas” as in “x”, these features alone");
  assert.equal(actWords({ ...ABLATE, act: "scale", multiplier: -2 }, "“Texas”"), "“Texas” × −2");
  assert.deepEqual([null, 0.44, 12, 200, 9000, 400000].map(span), ["–", "0.4 s", "12 s", "3 min", "2.5 h", "5 d"]);
  assert.deepEqual([0, 0.0123, 12.3].map(money), ["$0.00", "$0.0123", "$12.30"]);
  assert.deepEqual([2, 0.5].map(rate), ["2.0 cases/s", "30.0 cases/min"]);
});

test("a long message begins with whole characters, a short one is shown whole", () => {
  assert.equal(beginning("x".repeat(300)), null);
  assert.equal(beginning("😀".repeat(400)), `${"😀".repeat(300)}…`);
});
