// The page of one report: reads what the server says of it, opens the review, and mounts the parts into their places.

import "../lib/base";
import { ApiError, messageOf } from "../lib/api";
import { byId, h } from "../lib/dom";
import { mount as mountCircuit } from "../circuit/mount";
import { mount as mountGraph } from "../graph/mount";
import { mount as mountLive } from "../live/mount";
import { wireClaims } from "../report/claims";
import { Selection, type ReportContext } from "../report/context";
import { mount as mountInspector } from "../report/inspector";
import { wireNavigation } from "../report/navigation";
import { readNames } from "../report/parts";
import { wireReflecting } from "../report/reflecting";
import { wirePlots } from "../report/plots";
import { mountPart, wireViews } from "../report/views";
import { mount as mountReviewBar } from "../review/bar";
import { reviewControls } from "../review/controls";
import { createReviewStore } from "../review/store";

/** Controls appear when their place comes near the screen: a report may have hundreds of claims. */
function fillControls(context: ReportContext): void {
  const fill = (place: HTMLElement): void => {
    const target = place.dataset["reviewControls"];
    if (target && !place.hasChildNodes()) place.append(reviewControls(target, context).element);
  };
  const watch = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        watch.unobserve(entry.target);
        fill(entry.target as HTMLElement);
      }
    },
    { rootMargin: "400px" },
  );
  for (const place of document.querySelectorAll<HTMLElement>("[data-review-controls]")) watch.observe(place);
}

async function start(): Promise<void> {
  const report = byId("report");
  const { case: caseId = "", review: asked = "", view = "circuit" } = report.dataset;
  wireClaims();
  wirePlots(report);
  readNames();
  const may = { review: "mayReview" in report.dataset, export: "mayExport" in report.dataset, live: "mayLive" in report.dataset };
  const reviewId = asked === "" ? null : asked;
  const selection = new Selection();
  const late = h("div", { class: "note note-warning", role: "status", hidden: true });
  byId("circuit-supernodes").before(late);
  const opening = createReviewStore({ caseId, reviewId }, (why) => {
    late.textContent = `The review cannot be opened yet, and is tried again: ${messageOf(why)}`;
    late.hidden = false;
  });
  // the graph is drawn while the review is on its way
  wireViews({ caseId, may, selection, review: opening }, mountGraph, view === "graph" ? "graph" : "supernodes");
  let context: ReportContext;
  try {
    context = { caseId, reviewId, may, selection, review: await opening };
    late.remove();
  } catch (cause) {
    late.remove();
    const unknown = reviewId !== null && cause instanceof ApiError && (cause.status === 404 || cause.status === 422);
    const out = unknown
      ? h("a", { class: "button", href: location.pathname + location.hash }, "Open your own review")
      : h("button", { type: "button", class: "button", onclick: () => location.reload() }, "Load the page again");
    byId("circuit-supernodes").before(h("div", { class: "note note-problem", role: "alert" }, h("p", null, `The review cannot be opened: ${messageOf(cause)}`), out));
    return;
  }
  wireNavigation(context);
  wireReflecting(context);
  await mountPart(byId("circuit-supernodes"), mountCircuit, context);
  await mountPart(byId("inspector"), mountInspector, context);
  if (may.review) {
    await mountPart(byId("review-bar"), mountReviewBar, context);
    fillControls(context);
  }
  const live = document.getElementById("live");
  if (may.live && live) await mountPart(live, mountLive, context);
  report.dataset["ready"] = "";
}

void start();
