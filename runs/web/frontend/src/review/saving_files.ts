// Saving what a review came to: gold and other files from the server, and the drawing as the page shows it.

import { ApiError, messageOf } from "../lib/api";
import { type Dialog, openDialog } from "../lib/dialogs";
import { h } from "../lib/dom";
import type { ReportContext } from "../report/context";
import { download, pictureOf, pngOf } from "../circuit/picture";

interface Form {
  name: string;
  words: string;
  help: string;
}

const FORMS: readonly Form[] = [
  { name: "gold", words: "Gold circuit", help: "what the review made of the report, to score other agents against; needs a review that was closed as accepted" },
  { name: "neuronpedia", words: "Graph with supernodes (Neuronpedia JSON)", help: "the attribution graph with the corrected supernodes and labels, for Neuronpedia's graph page" },
  { name: "html", words: "Report with review (HTML)", help: "one file for a browser, without a server" },
  { name: "report", words: "Report (JSON)", help: "as the agent made it; the review is not in it" },
  { name: "graph", words: "Attribution graph (JSON)", help: "as the agent saw it" },
];

/** A name from Content-Disposition; the server gives plain ASCII names. */
export function fileNameOf(header: string | null, otherwise: string): string {
  return /filename="([A-Za-z0-9._-]{1,120})"/.exec(header ?? "")?.[1] ?? otherwise;
}

async function fetchFile(context: ReportContext, form: string): Promise<void> {
  const id = context.review.state().review_id;
  const query = id === null ? "" : `?review=${encodeURIComponent(id)}`;
  const csrf = document.querySelector<HTMLMetaElement>('meta[name="csrf"]')?.content ?? "";
  const response = await fetch(`/api/reports/${encodeURIComponent(context.caseId)}/export/${form}${query}`, { method: "POST", headers: { "X-CSRF-Token": csrf }, credentials: "same-origin" });
  if (!response.ok) {
    const body = (await response.json().catch(() => null)) as { error?: string; message?: string } | null;
    throw new ApiError(response.status, body?.error ?? "error", body?.message ?? `The server answered ${response.status}.`, body);
  }
  download(await response.blob(), fileNameOf(response.headers.get("Content-Disposition"), `${context.caseId}.${form}`));
}

async function savePicture(kind: "svg" | "png", context: ReportContext): Promise<void> {
  const drawing = document.querySelector<SVGSVGElement>("#circuit-supernodes svg.drawing");
  if (!drawing) throw new Error("show the supernodes first: the picture is taken of the drawing on the page");
  const content = kind === "png" ? await pngOf(drawing) : new Blob([pictureOf(drawing)], { type: "image/svg+xml" });
  download(content, `circuit-${context.caseId}.${kind}`);
}

export function openExports(context: ReportContext): void {
  let dialog: Dialog;
  const run = (words: string, work: () => Promise<void>) => async (): Promise<void> => {
    problem.textContent = "";
    done.textContent = "";
    try {
      await work();
      done.textContent = `${words}: saved.`;
    } catch (cause) {
      problem.textContent = messageOf(cause);
    }
  };
  const line = (name: string, words: string, help: string, work: () => Promise<void>): HTMLElement =>
    h("li", null, h("div", null, h("p", null, h("strong", null, words)), h("p", { class: "quiet small" }, help)), h("button", { type: "button", class: "button", "data-export": name, "aria-label": `Save: ${words}`, onclick: run(words, work) }, "Save"));
  const problem = h("p", { class: "field-problem", role: "alert" });
  const done = h("p", { class: "field-done", role: "status" });
  const files = context.may.export
    ? h("ul", { class: "exports" }, FORMS.map(({ name, words, help }) => line(name, words, help, () => fetchFile(context, name))))
    : h("p", { class: "note" }, "Taking reports out of the store needs the role admin; pictures of the circuit can be saved by everybody who sees it.");
  const pictures = h(
    "ul",
    { class: "exports" },
    line("svg", "Drawing (SVG)", "the circuit as the page shows it now; opens in any image viewer", () => savePicture("svg", context)),
    line("png", "Drawing (PNG)", "the same in twice the size of the screen", () => savePicture("png", context)),
  );
  dialog = openDialog("Save as a file", h("div", { class: "stack" }, problem, done, h("h3", null, "The circuit as you see it"), pictures, h("h3", null, "What the review came to"), files, h("p", { class: "quiet small" }, "Every file that the server gives out is told in the audit log.")), { wide: true });
  dialog.element.dataset.part = "exports";
}
