import assert from "node:assert/strict";
import { test } from "node:test";
import { percent } from "../src/lib/percent";
import { passes } from "../src/report/claims";
import { number, signed } from "../src/report/parts";
import { spokenOf } from "../src/report/navigation";
import { dotsOf, nearestDot } from "../src/report/plots";
import { renamed } from "../src/report/reflecting";
import type { ReviewState } from "../src/review/types";
import { hashOfTarget, Selection, targetOfHash } from "../src/report/selection";

/** As much of a window as a selection needs; `back` is what the browser's button does. */
class Place extends EventTarget {
  readonly location = { origin: "http://localhost:1", pathname: "/reports/j.0", search: "?view=graph", hash: "" };
  private readonly earlier: string[] = [];
  readonly history = {
    pushState: (_state: unknown, _title: string, address: string): void => {
      this.earlier.push(this.location.hash);
      this.location.hash = address.includes("#") ? address.slice(address.indexOf("#")) : "";
    },
  };
  back(): void {
    this.location.hash = this.earlier.pop() ?? "";
    this.dispatchEvent(new Event("popstate"));
    this.dispatchEvent(new Event("hashchange"));
  }
}

function selection(hash = ""): { place: Place; chosen: Selection; told: (string | null)[] } {
  const place = new Place();
  place.location.hash = hash;
  const chosen = new Selection(place as unknown as Window);
  const told: (string | null)[] = [];
  chosen.subscribe((target) => told.push(target));
  return { place, chosen, told };
}

test("every kind of target survives its address", () => {
  for (const target of ["supernode:s1", "supernode:n12", "node:2_55_8", "node:E_163_7", "feature:2/55", "claim:c1", "edge:E_1_2>s1", "sentence:3"]) {
    assert.equal(targetOfHash(hashOfTarget(target)), target);
  }
});

test("what is no target selects nothing", () => {
  for (const hash of ["", "#", "#claims", "#claim:", "#claim:c1x", "#node:../etc", "#supernode:s1<b>", "#%E0%A4%A", "#edge:s1", "#javascript:alert(1)"]) {
    assert.equal(targetOfHash(hash), null, hash);
  }
});

test("a selection is in the address, and the browser's back button walks it back", () => {
  const { place, chosen, told } = selection();
  chosen.set("supernode:s1");
  chosen.set("edge:s1>s2");
  assert.equal(place.location.hash, "#edge:s1%3Es2");
  assert.equal(chosen.link("edge:s1>s2"), "http://localhost:1/reports/j.0?view=graph#edge:s1%3Es2");
  place.back();
  assert.equal(chosen.get(), "supernode:s1");
  place.back();
  assert.deepEqual(told, ["supernode:s1", "edge:s1>s2", "supernode:s1", null]);
});

test("the same again, and what is no target, change nothing", () => {
  const { chosen, told } = selection("#claim:c3");
  assert.equal(chosen.get(), "claim:c3");
  chosen.set("claim:c3");
  chosen.set("<img src=x>");
  assert.deepEqual(told, []);
});

test("dots have their values, and the nearest within reach is found", () => {
  const dots = dotsOf("M10.0 50.0h0M10.0 46.6h0M40.8 50.0h0", "-0.5 0 1.25e-05");
  assert.deepEqual(dots, [
    { x: 10, y: 50, text: "−0.5" },
    { x: 10, y: 46.6, text: "0" },
    { x: 40.8, y: 50, text: "1.25e−05" },
  ]);
  assert.equal(nearestDot(dots, 11, 47, 12), 1);
  assert.equal(nearestDot(dots, 39, 52, 12), 2);
  assert.equal(nearestDot(dots, 80, 50, 12), -1);
  assert.deepEqual(dotsOf("", ""), []);
});

test("claims pass by kind, verdict and every word", () => {
  const claim = { kind: "swap", verdict: "refuted", text: "claim:c2 Replacing 'Texas' turns the answer" };
  assert.ok(passes(claim, { kind: "", verdict: "", words: "" }));
  assert.ok(passes(claim, { kind: "swap", verdict: "refuted", words: "TEXAS c2" }));
  assert.ok(!passes(claim, { kind: "edge", verdict: "", words: "" }));
  assert.ok(!passes(claim, { kind: "", verdict: "supported", words: "" }));
  assert.ok(!passes(claim, { kind: "", verdict: "", words: "texas houston" }));
});

test("numbers as people read them", () => {
  assert.equal(number(-3.14159), "−3.14");
  assert.equal(number(0), "0");
  assert.equal(number(Number.NaN), "not known");
  assert.equal(number(1234567), "1.23e+6");
  assert.equal(signed(2), "+2");
});

test("next to nothing is not nothing, and next to all is not all", () => {
  assert.deepEqual([0, 0.00001, 0.031, 0.5, 0.9994, 0.99998, 1, Number.NaN].map(percent), ["0 %", "<0.1 %", "3.1 %", "50.0 %", ">99.9 %", ">99.9 %", "100 %", "–"]);
});

test("a sentence speaks of what it names and of the links in between", () => {
  const drawn = ["supernode:s1", "supernode:s2", "supernode:s3", "edge:s2>s1", "edge:s3>s1", "edge:s1>5_79_8", "node:5_79_8"];
  assert.deepEqual([...spokenOf("supernode:s1 supernode:s2", drawn)], ["supernode:s1", "supernode:s2", "edge:s2>s1"]);
  assert.deepEqual([...spokenOf("edge:s3>s1 supernode:s3", drawn)], ["supernode:s3", "edge:s3>s1"]);
  assert.equal(spokenOf("", drawn).size, 0);
});

test("what the review renamed is told with what it was", () => {
  const label = { layer: 2, feature: 55, decision: "open" as const };
  const node = { role: "other" as const, role_before: null, members: [], members_before: [], decision: "open" as const, rejected_by_report: false, gone: false };
  const state = {
    labels: [{ ...label, text: "say it", text_before: "say Austin" }, { ...label, feature: 56, text: "same", text_before: "same" }, { ...label, feature: 57, text: "new", text_before: null }],
    supernodes: [{ ...node, supernode_id: "s1", label: "b", label_before: "a" }, { ...node, supernode_id: "n3", label: "c", label_before: null }],
  } as unknown as ReviewState;
  assert.deepEqual([...renamed(state)], [
    ["label:2/55", { now: "say it", before: "say Austin" }],
    ["supernode:s1", { now: "b", before: "a" }],
  ]);
});
