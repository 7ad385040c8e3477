import assert from "node:assert/strict";
import { test } from "node:test";
import { StandIn, standInDocument } from "./dom_stand_in";

standInDocument();
const { h, svg, append, replace, debounced } = await import("../src/lib/dom");

test("attributes, listeners and children", () => {
  let clicks = 0;
  const button = h("button", { type: "button", disabled: true, hidden: false, title: null, tabindex: 0, onclick: () => clicks++ }, "a", 1, null, false, [h("b", null, "c")]) as unknown as StandIn;
  assert.deepEqual([...button.attributes], [["type", "button"], ["disabled", ""], ["tabindex", "0"]]);
  assert.equal(button.children.length, 3);
  button.dispatchEvent(new Event("click"));
  assert.equal(clicks, 1);
});

test("text stays text", () => {
  const cell = h("td", null, "<img src=x onerror=alert(1)>") as unknown as StandIn;
  assert.deepEqual(cell.children, [{ text: "<img src=x onerror=alert(1)>" }]);
});

test("attributes that would run text are refused", () => {
  assert.throws(() => h("p", { style: "color: red" }));
  assert.throws(() => h("iframe", { srcdoc: "<p>" }));
  assert.throws(() => h("p", { onclick: "alert(1)" as never }));
  assert.throws(() => svg("rect", { onload: "x" as never }));
});

test("children are replaced, not added", () => {
  const list = h("ul", null, "old") as unknown as StandIn;
  replace(list as never, h("li"), null);
  assert.equal(list.children.length, 1);
  append(list as never, "more");
  assert.equal(list.children.length, 2);
});

test("of many calls in a row the last one runs", async () => {
  const seen: number[] = [];
  const soon = debounced((value: number) => void seen.push(value), 5);
  soon(1);
  soon(2);
  soon(3);
  await new Promise((done) => setTimeout(done, 40));
  assert.deepEqual(seen, [3]);
});

test("a moment is told in UTC with its zone, and exactly behind", async () => {
  const { moment, timeElement } = await import("../src/lib/moments");
  assert.equal(moment("2026-11-22T03:03:07+01:00"), "22 Nov 2026, 02:03 UTC");
  assert.equal(moment(1_795_312_987.25, true), "22 Nov 2026, 02:03:07 UTC");
  assert.equal(moment("yesterday"), "yesterday");
  const element = timeElement(1_795_312_980.25, { class: "quiet" }) as unknown as StandIn;
  assert.equal(element.attributes.get("title"), "2026-11-22T02:03:00.250Z");
});
