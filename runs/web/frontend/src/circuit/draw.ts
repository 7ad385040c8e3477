// Draws a placed circuit as SVG. What can be selected carries `data-target`; nothing here listens to anything.

import { svg } from "../lib/dom";
import { percent } from "../lib/percent";
import { OUTCOMES } from "./data";
import { type Placement, type PlacedBox, type PlacedMember, SIZE, middle } from "./layout";
import { bubbleMark, chevronMark, decisionMark, outcomeMark, pencilMark, roleMark } from "./marks";
import type { Link, Model } from "./model";
import type { Route } from "./routes";

export interface View {
  selected: string | null;
  picked: ReadonlySet<string>;
  /** Whether the visitor may change anything. */
  acting: boolean;
}

const at = (value: number): string => value.toFixed(1);

export function namesOf(model: Model): Map<string, string> {
  return new Map([
    ...model.tokens.map(({ node, text }) => [node, `“${text}” (prompt)`] as const),
    ...model.boxes.map(({ id, label }) => [id, label] as const),
    ...model.outputs.map(({ node, text }) => [node, `“${text}” (output)`] as const),
  ]);
}

export function signed(weight: number): string {
  const size = Math.abs(weight);
  return `${weight < 0 ? "−" : "+"}${size >= 100 ? size.toFixed(0) : size >= 1 ? size.toFixed(1) : size.toPrecision(2)}`;
}

export function draw(model: Model, placement: Placement, routes: readonly Route[], view: View): SVGSVGElement {
  const { width, height } = placement;
  const drawing = svg("svg", {
    class: "drawing",
    viewBox: `0 0 ${at(width)} ${at(height)}`,
    width: at(width),
    height: at(height),
    role: "group",
    "aria-label": `The circuit: ${model.boxes.length} supernodes between the prompt at the bottom and the output on top`,
  });
  const names = namesOf(model);
  drawing.append(
    bands(placement),
    svg("g", { class: "links" }, routes.map((route) => drawnLink(route, names, view))),
    tokens(model, placement, view),
    outputs(model, placement, view),
    svg("g", { class: "boxes" }, [...placement.boxes.values()].map((placed) => drawnBox(placed, view))),
    svg("g", { class: "members" }, placement.members.map((placed) => drawnMember(placed, view))),
    svg("g", { class: "toggles" }, [...placement.boxes.values()].map(toggle)),
    svg("g", { class: "claims-on-links" }, routes.flatMap((route) => (route.link.claim ? [claimOnLink(route)] : []))),
  );
  return drawing;
}

function button(target: string, label: string, view: View, kind: string, ...children: (SVGElement | null)[]): SVGGElement {
  const selected = view.selected === target;
  // the name begins with what is written, for those who say what they see to operate a page
  const written = children.flatMap((child) => (child?.tagName === "text" ? [child.textContent] : []));
  for (const child of children) if (child?.tagName === "text") child.append(" "); // so that they read as separate words
  const name = written.length ? `${written.join(" ")}; ${label}` : label;
  const attributes = { class: `${kind}${selected ? " is-chosen" : ""}`, role: "button", tabindex: -1, "aria-pressed": String(selected), "aria-label": name, "data-target": target };
  return svg("g", attributes, svg("title", null, label), children);
}

function bands({ bands: rows, width, height }: Placement): SVGGElement {
  return svg(
    "g",
    { class: "bands", "aria-hidden": "true" },
    rows.flatMap(({ name, y, height: tall }) => [
      svg("rect", { class: "band", x: 4, y: at(y - 12), width: at(width - 8), height: at(tall + 24), rx: 6 }),
      svg("text", { class: "axis", x: 14, y: at(y + tall / 2 + 4) }, name),
    ]),
    svg("text", { class: "axis", x: 14, y: 40 }, "output"),
    svg("text", { class: "axis", x: 14, y: at(height - 25) }, "prompt"),
  );
}

function wordsOfLink(link: Link, names: ReadonlyMap<string, string>): string {
  const parts = [`${names.get(link.source) ?? link.source} → ${names.get(link.destination) ?? link.destination}: ${link.weight > 0 ? "raises" : "lowers"}, ${signed(link.weight)}`];
  if (link.stale) parts.push("as in the report; not known for the members as they are now");
  if (link.changed) parts.push("changed by the review");
  if (link.decision !== "open") parts.push(link.decision);
  if (link.claim) parts.push(`claim ${link.claim.id} ${link.claim.outcome}`);
  return parts.join("; ");
}

function drawnLink({ link, path, head, width, sign }: Route, names: ReadonlyMap<string, string>, view: View): SVGGElement {
  const kind = ["link", link.weight > 0 ? "helps" : "hinders", link.stale ? "stale" : "", link.faded ? "faded" : "", link.changed ? "changed" : ""].filter(Boolean).join(" ");
  const mark = decisionMark(link.decision, sign.x - 7 + (link.claim ? 14 : 0), sign.y - 7, 14);
  const group = button(`edge:${link.source}>${link.destination}`, wordsOfLink(link, names), view, kind, svg("path", { class: "hit", d: path }), svg("path", { class: "line", d: path, "stroke-width": width.toFixed(2) }), svg("path", { class: "head", d: head }), mark);
  group.dataset.source = link.source;
  group.dataset.destination = link.destination;
  return group;
}

function claimOnLink({ link, sign }: Route): SVGGElement {
  return svg("g", { class: "on-link", "aria-hidden": "true" }, svg("circle", { cx: at(sign.x), cy: at(sign.y), r: 9 }), outcomeMark(link.claim!.outcome, sign.x - 6.5, sign.y - 6.5));
}

function tokens(model: Model, placement: Placement, view: View): SVGGElement {
  const drawn = model.tokens.flatMap(({ node, text, position }) => {
    const rect = placement.ends.get(node);
    if (!rect) return [];
    const shape = svg("rect", { x: at(rect.x), y: at(rect.y), width: at(rect.width), height: at(rect.height), rx: 4 });
    const word = svg("text", { x: at(middle(rect).x), y: at(middle(rect).y + 4.5) }, rect.text);
    if (node.startsWith("token-")) return [svg("g", { class: "token" }, svg("title", null, `token ${position}: ${text}`), shape, word)];
    return [button(`node:${node}`, `token ${position}: ${text}`, view, "token", shape, word)];
  });
  const folds = placement.folds.map((fold) => svg("g", { class: "fold" }, svg("title", null, fold.texts.join(" ")), svg("text", { x: at(middle(fold).x), y: at(middle(fold).y + 4.5) }, `… ${fold.texts.length} tokens`)));
  return svg("g", { class: "tokens" }, drawn, folds);
}

function outputs(model: Model, placement: Placement, view: View): SVGGElement {
  const drawn = model.outputs.flatMap(({ node, text, probability }, number) => {
    const rect = placement.ends.get(node);
    if (!rect) return [];
    const share = percent(probability);
    return [
      button(
        `node:${node}`,
        `output ${text}: probability ${share}`,
        view,
        number ? "output" : "output answer",
        svg("rect", { x: at(rect.x), y: at(rect.y), width: at(rect.width), height: at(rect.height), rx: 7 }),
        svg("text", { class: "label", x: at(middle(rect).x), y: at(rect.y + 20) }, rect.text),
        svg("text", { class: "tally", x: at(middle(rect).x), y: at(rect.y + 38) }, share),
      ),
    ];
  });
  return svg("g", { class: "outputs" }, drawn);
}

function wordsOfBox({ box }: PlacedBox): string {
  const { layers, members, outcomes } = box;
  const where = layers[0] === layers[1] ? `layer ${layers[0]}` : `layers ${layers[0]} to ${layers[1]}`;
  const verdicts = OUTCOMES.flatMap((outcome) => (outcomes[outcome] ? [`${outcomes[outcome]} ${outcome}`] : [])).join(", ");
  const parts = [`supernode ${box.id}, ${box.label}`, box.role, where, `${members.length} feature${members.length === 1 ? "" : "s"}`];
  if (verdicts) parts.push(`claims: ${verdicts}`);
  if (box.rejectedByReport) parts.push("rejected by the report's own tests");
  if (box.decision !== "open") parts.push(`${box.decision} in this review`);
  if (box.changed.length) parts.push(`changed: ${box.changed.join(", ")}`);
  if (box.comments) parts.push(`${box.comments} comment${box.comments === 1 ? "" : "s"}`);
  return parts.join("; ");
}

function drawnBox(placed: PlacedBox, view: View): SVGGElement {
  const { box, x, y, width, height, lines } = placed;
  const kind = ["box", `role-${box.role}`, box.rejectedByReport && box.decision !== "accepted" ? "failed" : "", box.decision === "rejected" ? "refused" : "", placed.expanded ? "expanded" : ""].filter(Boolean).join(" ");
  const first = y + SIZE.pad + SIZE.label - 2;
  const roleY = first + lines.length * SIZE.labelLine;
  const marksY = roleY + 8;
  const children: (SVGElement | null)[] = [
    svg("rect", { class: "card", x: at(x), y: at(y), width: at(width), height: at(height), rx: 7 }),
    svg("rect", { class: "stripe", x: at(x), y: at(y + 7), width: 4, height: at(height - 14) }),
    ...lines.map((line, number) => svg("text", { class: "label", x: at(x + SIZE.pad + 2), y: at(first + number * SIZE.labelLine) }, line)),
    roleMark(box.role, x + SIZE.pad + 2, roleY - 10),
    svg("text", { class: "role", x: at(x + SIZE.pad + 18), y: at(roleY) }, box.rejectedByReport ? `${box.role}, failed its tests` : box.role),
    decisionMark(box.decision, x + width - 23, y + 7),
  ];
  let mark = x + SIZE.pad + 2;
  for (const outcome of OUTCOMES) {
    const count = box.outcomes[outcome];
    if (!count) continue;
    children.push(outcomeMark(outcome, mark, marksY), svg("text", { class: "tally", x: at(mark + 17), y: at(marksY + 10.5) }, String(count)));
    mark += 36;
  }
  if (box.changed.length) {
    children.push(pencilMark(mark, marksY));
    mark += 20;
  }
  if (box.comments) {
    children.push(bubbleMark(mark, marksY), svg("text", { class: "tally", x: at(mark + 16), y: at(marksY + 10.5) }, String(box.comments)));
    mark += 34;
  }
  if (mark === x + SIZE.pad + 2) children.push(svg("text", { class: "tally", x: at(mark), y: at(marksY + 10.5) }, "not tested"));
  if (placed.more) children.push(svg("text", { class: "tally", x: at(x + SIZE.pad + 2), y: at(y + height - 9) }, `… and ${placed.more} more features`));
  return button(`supernode:${box.id}`, wordsOfBox(placed), view, kind, ...children);
}

function toggle({ box, x, y, width, height, expanded }: PlacedBox): SVGGElement {
  const label = `${expanded ? "Hide" : "Show"} the ${box.members.length} feature${box.members.length === 1 ? "" : "s"} of ${box.label}`;
  const left = x + width - 40;
  const top = expanded ? y + 30 : y + height - 27;
  return svg(
    "g",
    { class: "toggle", role: "button", tabindex: -1, "aria-expanded": String(expanded), "aria-label": label, "data-toggle": box.id },
    svg("title", null, label),
    svg("rect", { x: at(left), y: at(top), width: 36, height: 24, rx: 5 }),
    svg("text", { class: "tally", x: at(left + 5), y: at(top + 16) }, String(box.members.length)),
    chevronMark(left + 20, top + 7, expanded, 11),
  );
}

function drawnMember(placed: PlacedMember, view: View): SVGGElement {
  const { member, x, y, width, height, text, home } = placed;
  const label = `feature ${member.layer}/${member.node.split("_")[1] ?? ""}, ${member.label}, at token ${member.position}${home ? "" : ", in no supernode"}${member.undecided ? ", undecided" : ""}`;
  const kind = ["member", home ? "" : "loose", member.undecided ? "undecided" : "", view.picked.has(member.node) ? "is-picked" : ""].filter(Boolean).join(" ");
  const group = button(
    `node:${member.node}`,
    view.picked.has(member.node) ? `${label}, picked` : label,
    view,
    kind,
    svg("rect", { x: at(x), y: at(y), width: at(width), height: at(height), rx: at(height / 2) }),
    svg("text", { class: "label", x: at(x + 10), y: at(y + height / 2 + 4) }, text),
    svg("text", { class: "place", x: at(x + width - 10), y: at(y + height / 2 + 4) }, `L${member.layer}${member.undecided ? " ?" : ""}`),
  );
  group.dataset.node = member.node;
  return group;
}
