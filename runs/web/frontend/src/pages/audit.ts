// The audit log: the button that verifies it.

import "../lib/base";
import { announce } from "../lib/announce";
import { messageOf, postJson } from "../lib/api";
import { byId, h, replace } from "../lib/dom";
import { count, span } from "../jobs/words";

interface Verification {
  whole: boolean;
  seconds: number;
  asked_by: string;
  n_entries: number;
  n_heads: number;
  n_anchors: number;
  signed_through: number;
  unsigned: number;
  keys_known: boolean;
  n_damages: number;
  damages: { kind: string; first: number; last: number; message: string }[];
  restored: string[];
}

const button = byId<HTMLButtonElement>("verify");
const place = byId("verification");

function counted(n: number, what: string): string {
  return `${count(n)} ${what}${n === 1 ? "" : "s"}`;
}

function show(found: Verification): void {
  const signed = found.signed_through < 0 ? "nothing vouches for it: it is not signed yet" : `signed through entry ${count(found.signed_through)}${found.unsigned ? `, ${count(found.unsigned)} not yet` : ""}`;
  replace(
    place,
    found.whole
      ? h("p", null, h("span", { class: "chip chip-accepted" }, "✓ whole"), ` ${count(found.n_entries)} entries, ${counted(found.n_heads, "signed head")}, ${counted(found.n_anchors, "anchor")}, verified just now in ${span(found.seconds)}; ${signed}.`)
      : h("p", null, h("span", { class: "chip chip-rejected" }, "✗ damaged"), ` ${count(found.n_damages)} ${found.n_damages === 1 ? "place" : "places"} in ${count(found.n_entries)} entries. Keep the store as it is, and see docs/runbooks/corrupted-store.md.`),
    found.damages.length ? h("ul", null, found.damages.map((one) => h("li", null, h("strong", null, one.kind), one.first >= 0 ? [" at ", h("a", { href: `/audit?before=${one.last + 1}` }, one.first === one.last ? `entry ${one.first}` : `entries ${one.first} to ${one.last}`)] : null, ": ", h("bdi", null, one.message)))) : null,
    found.restored.map((told) => h("p", { class: "note" }, told)),
    !found.keys_known && found.n_heads > 0 ? h("p", { class: "small quiet" }, "No key is known here but what the log itself holds: compare on the machine that signed, with tracescribe audit verify --public-key.") : null,
  );
  announce(found.whole ? "The log is whole." : `The log is damaged at ${found.n_damages} places.`, !found.whole);
}

async function verify(): Promise<void> {
  button.disabled = true;
  button.textContent = "Verifying…";
  try {
    show(await postJson<Verification>("/api/audit/verification", {}));
  } catch (cause) {
    place.append(h("p", { class: "note note-problem" }, messageOf(cause)));
    announce(messageOf(cause), true);
  } finally {
    button.disabled = false;
    button.textContent = "Verify again";
  }
}

button.hidden = false;
button.addEventListener("click", () => void verify());
