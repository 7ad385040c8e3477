// Single-key shortcuts. Whoever registers one also writes its line in the help sheet that `?` opens.

import { h } from "./dom";
import { openDialog } from "./dialogs";
import type { Dialog } from "./dialogs";

export interface KeyBinding {
  /** As pressed: `a`, `A` (with Shift), `?`, `ArrowUp`, `Mod+z` (Ctrl, or Command on a Mac), `Mod+Shift+z`, `Alt+ArrowUp`. */
  keys: string | readonly string[];
  /** What it does, for the help sheet: "Accept what is selected". */
  what: string;
  /** The sheet's section: "Everywhere", "Circuit". */
  section?: string;
  /** Whether it applies now; it is shown in the help sheet all the same. */
  when?: () => boolean;
  /** False lets the browser do its own thing with the key too. */
  run: (event: KeyboardEvent) => void | false;
}

const OFF = "tracescribe-single-keys-off";
const bindings = new Set<KeyBinding>();
let sheet: Dialog | null = null;

/** The keys of an event, as bindings name them. A character that Shift makes is named without Shift. */
export function keysOf(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">): string {
  const mod = event.ctrlKey || event.metaKey;
  const one = event.key.length === 1;
  const key = event.key === " " ? "Space" : mod && one ? event.key.toLowerCase() : event.key;
  const shift = event.shiftKey && (!one || mod || key === "Space");
  return `${mod ? "Mod+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${key}`;
}

/**
 * Whether keys without Ctrl, Command or Alt do anything. Who speaks to the computer, or hits keys by accident, turns them
 * off in the help sheet.
 */
export function singleKeysOn(): boolean {
  try {
    return localStorage.getItem(OFF) === null;
  } catch {
    return true;
  }
}

/** Turn single keys on or off, in this browser. */
export function setSingleKeys(on: boolean): void {
  try {
    if (on) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } catch {
    // storage is refused: they stay on
  }
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit", "range", "file"].includes(target.type);
}

const OWN_KEYS = new Set(["Enter", "Space"]);

/** Whether the focused element has its own use for a key. */
function belongsToElement(target: EventTarget | null, keys: string): boolean {
  if (!(target instanceof Element)) return false;
  if (OWN_KEYS.has(keys)) return target.closest("a[href], button, summary, input, [role=button], [role=menuitem]") !== null;
  return keys.startsWith("Arrow") && target.closest("input[type=range], input[type=radio], [role=menu], [role=slider]") !== null;
}

function names(binding: KeyBinding): readonly string[] {
  return typeof binding.keys === "string" ? [binding.keys] : binding.keys;
}

function pressed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return; // a dialog has the keys to itself
  const keys = keysOf(event);
  if (belongsToElement(event.target, keys)) return;
  if (keys.length === 1 && !singleKeysOn()) return;
  for (const binding of [...bindings].reverse()) {
    if (!names(binding).includes(keys) || (binding.when && !binding.when())) continue;
    if (binding.run(event) !== false) event.preventDefault();
    return;
  }
}

/** Make a key do something, until the function that comes back is called. Of two for one key the later is asked first. */
export function registerKey(binding: KeyBinding): () => void {
  if (bindings.size === 0) document.addEventListener("keydown", pressed);
  bindings.add(binding);
  return () => bindings.delete(binding);
}

const SHOWN: Record<string, string> = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };

function keyCaps(keys: string): HTMLElement {
  const mac = /Mac|iPhone|iPad/.test(navigator.platform);
  const parts = keys === "+" ? ["+"] : keys.split("+");
  const shown = parts.map((part) => (part === "Mod" ? (mac ? "⌘" : "Ctrl") : (SHOWN[part] ?? part)));
  return h("span", { class: "keys" }, shown.map((part) => h("kbd", null, part)));
}

/** Open the help sheet: every key of this page and what it does. */
export function openHelp(): void {
  if (sheet?.element.open) return;
  const sections = new Map<string, KeyBinding[]>();
  for (const binding of bindings) {
    const section = binding.section ?? "Everywhere";
    sections.set(section, [...(sections.get(section) ?? []), binding]);
  }
  const content = [...sections].map(([section, listed]) =>
    h(
      "section",
      { class: "help-section" },
      h("h3", null, section),
      h("dl", { class: "help-keys" }, listed.map((binding) => h("div", null, h("dt", null, names(binding).flatMap((one, at) => (at ? [" or ", keyCaps(one)] : [keyCaps(one)]))), h("dd", null, binding.what)))),
    ),
  );
  const box = h("input", { type: "checkbox", checked: singleKeysOn() });
  box.addEventListener("change", () => setSingleKeys(box.checked));
  const choice = h("label", { class: "choice help-choice" }, box, "Keys of a single letter or sign do something");
  sheet = openDialog("Keys", [choice, h("div", { class: "help" }, content)], { wide: true });
}
