// What came of a job: scores with intervals, verdicts, cost and time, failures by message, cases that stand out.

import { getJson, messageOf } from "../lib/api";
import { h, replace, svg } from "../lib/dom";
import type { JobSums } from "./types";
import { count } from "./words";

/** Cases up to which a job is summed up without being asked. */
export const SUMMED_AT_ONCE = 2_000;

/** A button that sums up, or the sums where the job is small. */
export function mountSums(root: HTMLElement, jobId: string, cases: number): { refresh: () => void } {
  let asked = 0;
  const load = async (): Promise<void> => {
    const own = ++asked;
    if (!root.hasChildNodes()) replace(root, h("p", { class: "quiet", role: "status" }, "Summing up…"));
    try {
      const sums = await getJson<JobSums>(`/api/jobs/${jobId}/summary`);
      if (own === asked) draw(root, sums); // else it is of earlier than what is on its way
    } catch (cause) {
      if (own === asked) replace(root, h("p", { class: "note note-problem" }, messageOf(cause)));
    }
  };
  if (cases <= SUMMED_AT_ONCE) {
    void load();
    return { refresh: () => void load() };
  }
  const ask = (): void => replace(root, h("button", { type: "button", class: "button", onclick: () => (replace(root), void load()) }, `Sum up ${count(cases)} cases`));
  ask();
  return { refresh: ask };
}

function scoreRow(one: JobSums["scores"][number]): HTMLTableRowElement {
  const x = (value: number): number => 4 + 112 * Math.min(1, Math.max(0, value));
  const drawn = svg(
    "svg",
    { class: "job-whisker", viewBox: "0 0 120 16", width: 120, height: 16, "aria-hidden": "true" },
    svg("path", { class: "job-whisker-axis", d: "M4 8H116M4 5v6M116 5v6" }),
    svg("path", { class: "job-whisker-line", d: `M${x(one.low).toFixed(1)} 8H${x(one.high).toFixed(1)}` }),
    svg("circle", { class: "job-whisker-mean", cx: x(one.mean), cy: 8, r: 3.5 }),
  );
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, h("bdi", null, one.title), one.higher_is_better ? null : h("span", { class: "quiet small" }, " (lower is better)"), one.meaning ? h("p", { class: "small quiet" }, `1: ${one.meaning}`) : null),
    h("td", { class: "job-whisker-cell" }, drawn),
    h("td", { class: "number" }, one.mean.toFixed(3)),
    h("td", { class: "number" }, one.n_prompts > 1 ? `${one.low.toFixed(3)} to ${one.high.toFixed(3)}` : "–"),
    h("td", { class: "number" }, count(one.n_cases)),
  );
}

function draw(root: HTMLElement, sums: JobSums): void {
  const verdicts = Object.entries(sums.verdicts).map(([name, n]) => h("span", { class: `chip chip-${name}` }, `${count(n)} ${name}`));
  const nothing = !sums.scores.length && !verdicts.length && !sums.failures.length;
  replace(
    root,
    sums.final ? null : h("p", { class: "note" }, "Cases are still missing: these figures are of the moment."),
    nothing ? h("p", { class: "quiet" }, "No case is finished yet.") : null,
    verdicts.length ? h("p", { class: "row" }, h("span", null, "Claims:"), verdicts) : null,
    sums.scores.length
      ? h(
          "div",
          { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Scores against gold" },
          h(
            "table",
            { class: "table" },
            h("caption", null, "Scores against gold, means over prompts"),
            h("thead", null, h("tr", null, ["Score", "0 to 1", "Mean", "95 % interval", "Cases"].map((head, place) => h("th", { scope: "col", class: place > 1 ? "number" : place === 1 ? "job-whisker-cell" : null }, head)))),
            h("tbody", null, sums.scores.map(scoreRow)),
          ),
        )
      : null,
    sums.facts.length ? h("dl", { class: "facts job-facts" }, sums.facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))) : null,
    sums.failures.length
      ? h(
          "section",
          { "aria-label": "Failures by message" },
          h("h3", null, "Failures by message"),
          sums.failures.map((one) =>
            h(
              "details",
              null,
              h("summary", null, `${count(one.n_cases)} × ${one.kind}: `, h("bdi", null, one.message)),
              h("p", { class: "small" }, one.advice),
              h("ul", { class: "small" }, one.examples.map(([id, message]) => h("li", null, h("code", null, id), " ", h("bdi", null, message)))),
            ),
          ),
        )
      : null,
    sums.lists.map((list) =>
      h(
        "details",
        null,
        h("summary", null, list.title),
        h("ol", { class: "small" }, list.cases.map((one) => h("li", null, h("a", { href: `/reports/${one.case_id}` }, h("bdi", null, one.title)), ` ${one.value}`))),
      ),
    ),
  );
}
