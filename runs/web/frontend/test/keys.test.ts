import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { StandIn, standInDocument } from "./dom_stand_in";

const page = standInDocument();
const { keysOf, registerKey, setSingleKeys } = await import("../src/lib/keys");

function press(key: string, { target, ...options }: { target?: StandIn; ctrlKey?: boolean; shiftKey?: boolean; altKey?: boolean; metaKey?: boolean } = {}): Event {
  const event = Object.assign(new Event("keydown", { cancelable: true }), { key, ctrlKey: false, shiftKey: false, altKey: false, metaKey: false, isComposing: false, ...options });
  if (target) Object.defineProperty(event, "target", { value: target });
  page.dispatchEvent(event);
  return event;
}

let ends: (() => void)[] = [];
let pressed: string[] = [];

function bind(keys: string | string[], name: string, extra: { when?: () => boolean; result?: false } = {}): void {
  ends.push(
    registerKey({
      keys,
      what: name,
      when: extra.when,
      run: () => {
        pressed.push(name);
        return extra.result;
      },
    }),
  );
}

beforeEach(() => {
  for (const end of ends) end();
  ends = [];
  pressed = [];
  page.openDialog = false;
});

test("keys are named as people press them", () => {
  const none = { ctrlKey: false, metaKey: false, altKey: false, shiftKey: false };
  assert.equal(keysOf({ ...none, key: "?", shiftKey: true }), "?");
  assert.equal(keysOf({ ...none, key: "A", shiftKey: true }), "A");
  assert.equal(keysOf({ ...none, key: "Z", ctrlKey: true, shiftKey: true }), "Mod+Shift+z");
  assert.equal(keysOf({ ...none, key: "z", metaKey: true }), "Mod+z");
  assert.equal(keysOf({ ...none, key: "ArrowUp", altKey: true, shiftKey: true }), "Alt+Shift+ArrowUp");
  assert.equal(keysOf({ ...none, key: " " }), "Space");
});

test("a bound key runs and keeps the browser from using it", () => {
  bind(["j", "ArrowDown"], "next");
  assert.ok(press("j").defaultPrevented);
  assert.ok(press("ArrowDown").defaultPrevented);
  assert.ok(!press("k").defaultPrevented);
  assert.deepEqual(pressed, ["next", "next"]);
});

test("a key that is passed on is left to the browser", () => {
  bind("x", "look", { result: false });
  assert.ok(!press("x").defaultPrevented);
  assert.deepEqual(pressed, ["look"]);
});

test("typing and dialogs have the keys to themselves", () => {
  bind("a", "accept");
  const input = new (globalThis as unknown as { HTMLInputElement: typeof StandIn }).HTMLInputElement("input");
  input.type = "text";
  press("a", { target: input });
  input.type = "checkbox";
  press("a", { target: input });
  page.openDialog = true;
  press("a");
  assert.deepEqual(pressed, ["accept"]);
});

test("a button keeps its Enter", () => {
  bind("Enter", "open");
  press("Enter", { target: new StandIn("button") });
  press("Enter", { target: new StandIn("div") });
  assert.deepEqual(pressed, ["open"]);
});

test("of two for one key the later one goes first, as long as it applies", () => {
  let inside = true;
  bind("Escape", "page");
  bind("Escape", "part", { when: () => inside });
  press("Escape");
  inside = false;
  press("Escape");
  ends.pop()!();
  press("Escape");
  assert.deepEqual(pressed, ["part", "page", "page"]);
});

test("single keys can be turned off; keys with Ctrl and arrows stay", () => {
  const stored = new Map<string, string>();
  const storage = { getItem: (name: string) => stored.get(name) ?? null, setItem: (name: string, value: string) => void stored.set(name, value), removeItem: (name: string) => void stored.delete(name) };
  Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true });
  bind(["a", "ArrowDown"], "accept");
  bind("Mod+z", "undo");
  setSingleKeys(false);
  assert.ok(!press("a").defaultPrevented);
  press("ArrowDown");
  press("z", { ctrlKey: true });
  setSingleKeys(true);
  press("a");
  assert.deepEqual(pressed, ["accept", "undo", "accept"]);
});
