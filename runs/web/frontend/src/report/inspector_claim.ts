// A claim or a sentence in the inspector: what the page's own list has, without its folds.

import { h } from "../lib/dom";
import type { ReportContext } from "./context";
import type { Shown } from "./inspector";
import { endName, part, targetLink } from "./parts";

function place(target: string): HTMLElement | null {
  return document.querySelector<HTMLElement>(`.report-content [data-target="${CSS.escape(target)}"]`);
}

/** A copy of a part of the page, without the ids that only one may have. */
function copyOf(element: Element | null): HTMLElement | SVGElement | null {
  if (!element) return null;
  const copy = element.cloneNode(true) as HTMLElement;
  copy.removeAttribute("id");
  for (const inner of copy.querySelectorAll("[id]")) inner.removeAttribute("id");
  return copy;
}

/** A claim; null where the report has none of this id. */
export function claimBody(id: string): Shown | null {
  const claim = place(`claim:${id}`);
  if (!claim) return null;
  const whole = h("a", { href: `#claim:${id}`, class: "button button-small" }, "How it was tested");
  whole.addEventListener("click", () => {
    const plan = claim.querySelector<HTMLDetailsElement>(".claim-plan");
    if (plan) plan.open = true;
  });
  return {
    kind: `Claim ${id}`,
    title: claim.querySelector("h4")?.textContent ?? id,
    judged: `claim:${id}`,
    parts: [
      h("p", null, copyOf(claim.querySelector(".verdict"))),
      copyOf(claim.querySelector(".claim-words")),
      copyOf(claim.querySelector(".claim-plots")),
      copyOf(claim.querySelector(".claim-measured > .figures")),
      h("p", null, whole),
    ],
  };
}

function nameOf(target: string, context: ReportContext): string {
  const [kind = "", id = ""] = target.split(/:(.*)/s);
  if (kind === "supernode") return endName(id, context);
  if (kind === "edge") return id.split(">").map((end) => endName(end, context)).join(" → ");
  const label = document.querySelector(`[data-label="label:${CSS.escape(id)}"]`)?.textContent;
  return label ? `${label} (${id})` : id;
}

/** A sentence of the story; null where there is none of this number. */
export function sentenceBody(number: number, context: ReportContext): Shown | null {
  const sentence = place(`sentence:${number}`);
  if (!sentence) return null;
  const about = (sentence.dataset["about"] ?? "").split(" ").filter(Boolean);
  const own = (selector: string): Element[] => [...sentence.querySelectorAll(selector)].filter((found) => found.closest("[data-target]") === sentence);
  const claims = own(".chip").map((chip) => {
    const id = (chip.getAttribute("href") ?? "").replace("#claim:", "");
    const words = place(`claim:${id}`)?.querySelector("h4")?.textContent ?? id;
    return h("li", null, copyOf(chip), " ", targetLink(`claim:${id}`, words, context));
  });
  return {
    kind: `Sentence ${number} of the story`,
    title: own(".sentence-text")[0]?.textContent ?? "",
    judged: null,
    parts: [
      part("Rests on", h("ul", { class: "claim-list" }, claims)),
      part("Speaks of", about.length ? h("ul", { class: "member-list" }, about.map((target) => h("li", null, targetLink(target, nameOf(target, context), context)))) : null),
    ],
  };
}
