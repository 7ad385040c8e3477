// The form of the live panel: what is changed, how, and what it is compared with.

import { h, replace } from "../lib/dom";
import type { SupernodeState } from "../review/types";
import { DOSES } from "./links";
import type { ActKind, Direction, LiveRequest, LiveState, Mode, TestedBefore } from "./types";
import { actWords } from "./words";

const CONTROLS = 199;
const LARGEST = 4;

export interface Choice {
  nodes: string[];
  what: string;
  supernode: string | null;
}

/** How long a donor prompt has to be; a mark that the tokenizer sets by itself is not the visitor's to type. */
function sameLength(tokens: readonly string[]): string {
  const marks = tokens.filter((token) => /^<[a-z_|]+>$/.test(token)).length;
  return `As many tokens as this one: ${tokens.length - marks}${marks ? `, not counting ${tokens[0] ?? ""}, which is set by itself` : ""}.`;
}

export class LiveForm {
  readonly element: HTMLFormElement;
  private supernodes: SupernodeState[] = [];
  private readonly chosen = new Set<string>();
  private extra: { nodes: string[]; what: string } | null = null;
  private readonly chips = h("div", { class: "live-chips", role: "group", "aria-label": "What is changed" });
  private readonly acts = new Map<ActKind, HTMLInputElement>();
  private readonly slider = h("input", { type: "range", min: -LARGEST, max: LARGEST, step: 0.25, value: 2, "aria-label": "Multiplier" });
  private readonly factor = h("input", { type: "number", min: -20, max: 20, step: "any", value: 2, id: "live-factor", inputmode: "decimal" });
  private readonly donor = h("input", { type: "text", id: "live-donor", autocomplete: "off", spellcheck: false, list: "live-donors" });
  private readonly places = h("select", { id: "live-places" }, h("option", { value: "places" }, "everything at their places"), h("option", { value: "features" }, "these features alone"));
  private readonly controls = h("input", { type: "checkbox", checked: true });
  private readonly dose = h("input", { type: "checkbox" });
  private readonly mode = h(
    "select",
    { id: "live-mode" },
    h("option", { value: "open" }, "open: all above reacts"),
    h("option", { value: "constrained" }, "constrained: layers keep their output"),
    h("option", { value: "direct" }, "direct: linear, as the edges"),
  );
  private readonly freeze = h("input", { type: "checkbox" });
  private readonly token = h("input", { type: "text", id: "live-token", autocomplete: "off", spellcheck: false, maxlength: 200 });
  private readonly expected = h("select", { id: "live-expected" }, h("option", { value: "" }, "falls or rises"), h("option", { value: "down" }, "falls"), h("option", { value: "up" }, "rises"));
  private readonly seed = h("input", { type: "number", id: "live-seed", min: 0, max: 2147483647, step: 1, value: 0 });
  private readonly run = h("button", { type: "submit", class: "button button-main" }, "Run");
  private readonly problem = h("p", { class: "field-problem", role: "alert" });
  private readonly scaleFields: HTMLElement;
  private readonly swapFields: HTMLElement;
  private readonly doseField: HTMLElement;

  constructor(
    private readonly state: LiveState,
    submit: (asked: LiveRequest, choice: Choice) => void,
  ) {
    const act = (kind: ActKind, label: string): HTMLElement => {
      const input = h("input", { type: "radio", name: "live-act", value: kind, onchange: () => this.showFields() });
      this.acts.set(kind, input);
      return h("label", { class: "live-choice" }, input, label);
    };
    const field = (id: string, name: string, input: HTMLElement, help?: string): HTMLElement =>
      h("div", { class: "field" }, h("label", { for: id }, name), input, help ? h("p", { class: "field-help" }, help) : null);
    this.scaleFields = h("div", { class: "live-scale" }, field("live-factor", "Multiply their activations by", this.factor), h("div", { class: "live-slider" }, this.slider, h("div", { class: "live-slider-ends", "aria-hidden": "true" }, h("span", null, "−4"), h("span", null, "0"), h("span", null, "4"))));
    this.donor.maxLength = state.limits.donor_characters;
    this.swapFields = h(
      "div",
      { class: "live-swap" },
      field("live-donor", "Prompt whose activations are put in", this.donor, sameLength(state.tokens)),
      field("live-places", "Swap", this.places),
      h("datalist", { id: "live-donors" }, [...new Set(state.tested.map((one) => one.donor_prompt).filter((one) => one !== null))].map((prompt) => h("option", { value: prompt }))),
    );
    this.doseField = h("label", { class: "live-choice" }, this.dose, "dose curve, from × −4 to × 4");
    this.slider.addEventListener("input", () => (this.factor.value = this.slider.value));
    this.factor.addEventListener("input", () => (this.slider.value = this.factor.value));
    this.token.placeholder = state.token ?? "";
    const finish = (event: Event): void => {
      event.preventDefault();
      const choice = this.choice();
      const asked = this.read(choice);
      if (asked !== null) submit(asked, choice);
    };
    this.element = h(
      "form",
      { class: "live-form", novalidate: true, onsubmit: finish },
      h("fieldset", null, h("legend", null, "Change"), this.tested(), this.chips),
      h(
        "fieldset",
        null,
        h("legend", null, "How"),
        h("div", { class: "live-acts" }, act("ablate", "switch off (ablate)"), act("scale", "turn up or down (steer)"), act("swap", "swap in from another prompt")),
        this.scaleFields,
        this.swapFields,
      ),
      h(
        "fieldset",
        null,
        h("legend", null, "Measure"),
        h("div", { class: "live-acts" }, h("label", { class: "live-choice" }, this.controls, `compare with ${CONTROLS} matched random interventions`), this.doseField),
        h(
          "details",
          { class: "live-more" },
          h("summary", null, "More settings"),
          h(
            "div",
            { class: "live-grid" },
            field("live-mode", "How the rest of the model reacts", this.mode),
            field("live-token", "Token to measure", this.token, "Empty: the report's answer; of a swap, the donor's."),
            field("live-expected", "Its probability", this.expected),
            field("live-seed", "Seed of the controls", this.seed),
            h("label", { class: "live-choice" }, this.freeze, "keep attention as it was"),
          ),
        ),
      ),
      h("div", { class: "row" }, this.run, this.problem),
    );
    this.acts.get("ablate")!.checked = true;
    this.showFields();
  }

  /** Supernodes as the review has them. */
  update(supernodes: readonly SupernodeState[]): void {
    this.supernodes = supernodes.filter((one) => !one.gone && one.members.length > 0);
    for (const id of [...this.chosen]) if (!this.supernodes.some((one) => one.supernode_id === id)) this.chosen.delete(id);
    if (this.chosen.size === 0 && this.extra === null && this.supernodes[0]) this.chosen.add(this.supernodes[0].supernode_id);
    this.drawChips();
  }

  /** Change what is selected on the page: one supernode, or nodes that have no name. */
  choose(supernode: string | null, extra: { nodes: string[]; what: string } | null): void {
    this.chosen.clear();
    if (supernode !== null) this.chosen.add(supernode);
    this.extra = extra;
    this.drawChips();
  }

  /** Fill the form from a link, an earlier result or a claim's test. */
  fill(asked: LiveRequest): void {
    const left = new Set(asked.nodes);
    const whole = this.supernodes.filter((one) => one.members.every((node) => left.has(node)));
    for (const one of whole) for (const node of one.members) left.delete(node);
    this.chosen.clear();
    for (const one of whole) this.chosen.add(one.supernode_id);
    this.extra = left.size ? { nodes: [...left], what: featureWords([...left]) } : null;
    this.acts.get(asked.act)!.checked = true;
    if (asked.multiplier !== null && asked.multiplier !== undefined) this.slider.value = this.factor.value = String(asked.multiplier);
    this.donor.value = asked.donor_prompt ?? this.donor.value;
    this.places.value = asked.swap ?? "places";
    this.mode.value = asked.mode ?? "open";
    this.freeze.checked = asked.freeze_attention ?? false;
    this.token.value = asked.token ?? "";
    this.expected.value = asked.direction ?? "";
    this.seed.value = String(asked.seed ?? 0);
    this.controls.checked = (asked.controls ?? 0) > 0;
    this.dose.checked = (asked.doses?.length ?? 0) > 0;
    this.drawChips();
    this.showFields();
  }

  focus(): void {
    (this.chips.querySelector<HTMLElement>("input:checked") ?? this.chips.querySelector<HTMLElement>("input") ?? this.run).focus();
  }

  busy(now: boolean): void {
    this.run.disabled = now;
    this.run.textContent = now ? "Running…" : "Run";
  }

  private get kind(): ActKind {
    for (const [kind, input] of this.acts) if (input.checked) return kind;
    return "ablate";
  }

  private showFields(): void {
    this.scaleFields.hidden = this.kind !== "scale";
    this.swapFields.hidden = this.kind !== "swap";
    this.doseField.hidden = this.kind === "swap";
  }

  private drawChips(): void {
    const chip = (label: string, count: number, checked: boolean, change: (on: boolean) => void): HTMLElement => {
      const input = h("input", { type: "checkbox", checked, onchange: () => change(input.checked) });
      return h("label", { class: "live-chip" }, input, h("bdi", null, label), h("span", { class: "quiet small" }, ` ${count}`), h("span", { class: "visually-hidden" }, count === 1 ? " feature" : " features"));
    };
    replace(
      this.chips,
      this.supernodes.map((one) =>
        chip(one.label, one.members.length, this.chosen.has(one.supernode_id), (on) => {
          if (on) this.chosen.add(one.supernode_id);
          else this.chosen.delete(one.supernode_id);
        }),
      ),
      this.extra ? chip(this.extra.what, this.extra.nodes.length, true, () => ((this.extra = null), this.drawChips())) : null,
      this.supernodes.length + (this.extra ? 1 : 0) ? null : h("p", { class: "quiet" }, "This report has no supernode; select a node in the graph."),
    );
  }

  private choice(): Choice {
    const taken = this.supernodes.filter((one) => this.chosen.has(one.supernode_id));
    const nodes = [...new Set([...taken.flatMap((one) => one.members), ...(this.extra?.nodes ?? [])])];
    const names = [...taken.map((one) => `“${one.label}”`), ...(this.extra ? [this.extra.what] : [])];
    return { nodes, what: names.join(" and "), supernode: taken.length === 1 && !this.extra ? taken[0]!.supernode_id : null };
  }

  /** The request that the form stands for; null, with a word on what is missing, where it is none. */
  private read(choice: Choice): LiveRequest | null {
    const multiplier = Number(this.factor.value);
    const seed = Number(this.seed.value);
    const donor = this.donor.value.trim();
    const wrong = (text: string, at: HTMLElement): null => {
      this.problem.textContent = text;
      at.focus();
      return null;
    };
    this.problem.textContent = "";
    if (choice.nodes.length === 0) return wrong("Choose what to change.", this.chips.querySelector<HTMLElement>("input") ?? this.run);
    if (choice.nodes.length > this.state.limits.nodes) return wrong(`At most ${this.state.limits.nodes} features at once; choose fewer.`, this.run);
    if (this.kind === "scale" && (this.factor.value === "" || !Number.isFinite(multiplier) || Math.abs(multiplier) > this.state.limits.multiplier)) return wrong(`A multiplier is a number from −${this.state.limits.multiplier} to ${this.state.limits.multiplier}.`, this.factor);
    if (this.kind === "swap" && !donor) return wrong("Write the prompt that the activations come from.", this.donor);
    if (!Number.isInteger(seed) || seed < 0 || seed > 2147483647) return wrong("A seed is a whole number from 0 on.", this.seed);
    return {
      nodes: choice.nodes,
      act: this.kind,
      multiplier: this.kind === "scale" ? multiplier : null,
      donor_prompt: this.kind === "swap" ? donor : null,
      swap: this.places.value === "features" ? "features" : "places",
      mode: this.mode.value as Mode,
      freeze_attention: this.mode.value === "open" && this.freeze.checked,
      token: this.token.value.trim() || null,
      direction: (this.expected.value as Direction | "") || null,
      controls: this.controls.checked ? Math.min(CONTROLS, this.state.limits.controls) : 0,
      doses: this.dose.checked && this.kind !== "swap" ? [...DOSES] : [],
      seed,
    };
  }

  /** A menu of what the report itself tested, to begin with. */
  private tested(): HTMLElement | null {
    if (this.state.tested.length === 0) return null;
    const select = h("select", { id: "live-tested" }, h("option", { value: "" }, "choose…"));
    this.state.tested.forEach((one, index) => select.append(h("option", { value: index }, `${one.claim_id}: ${testWords(one)}`)));
    select.addEventListener("change", () => {
      const one = this.state.tested[Number(select.value)];
      const members = select.value === "" ? undefined : this.supernodes.find((found) => found.supernode_id === one?.supernode)?.members;
      if (one && members) this.fill({ nodes: members, act: one.act, multiplier: one.multiplier, donor_prompt: one.donor_prompt, token: one.token, controls: CONTROLS });
    });
    return h("div", { class: "field live-tested" }, h("label", { for: "live-tested" }, "Begin with a test of the report"), select);
  }
}

function testWords(one: TestedBefore): string {
  return actWords({ nodes: [], act: one.act, multiplier: one.multiplier, donor_prompt: one.donor_prompt }, one.supernode);
}

/** Nodes as `feature 0/86 at 7`, the first few of them. */
export function featureWords(nodes: readonly string[]): string {
  const told = nodes.slice(0, 3).map((node) => {
    const [layer, feature, position] = node.split("_");
    return `${layer}/${feature} at ${position}`;
  });
  return `feature${nodes.length === 1 ? "" : "s"} ${told.join(", ")}${nodes.length > 3 ? ` and ${nodes.length - 3} more` : ""}`;
}
