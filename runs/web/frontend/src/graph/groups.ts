// Supernodes of the review over the nodes of the graph: which node belongs to which, and what people call features.

import type { ReviewState, Role } from "../review/types";
import { FEATURE } from "./wire";
import type { GraphData } from "./wire";

export interface Group {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** Rejected by the reviewer or by the report; still drawn, and said so. */
  readonly rejected: boolean;
  readonly nodes: readonly number[];
}

export class Groups {
  readonly all: readonly Group[];
  /** Index into `all` by node; -1 for none. */
  readonly of: Int16Array;
  private readonly labels: ReadonlyMap<string, string>;

  constructor(
    private readonly data: GraphData,
    indexOf: ReadonlyMap<string, number>,
    state: Pick<ReviewState, "supernodes" | "labels"> | null,
  ) {
    this.of = new Int16Array(data.nNodes).fill(-1);
    const all: Group[] = [];
    for (const found of state?.supernodes ?? []) {
      if (found.gone) continue;
      const nodes = found.members.map((id) => indexOf.get(id)).filter((node): node is number => node !== undefined);
      for (const node of nodes) this.of[node] = all.length;
      const rejected = found.decision === "rejected" || (found.rejected_by_report && found.decision !== "accepted");
      all.push({ id: found.supernode_id, name: found.label, role: found.role, rejected, nodes });
    }
    this.all = all;
    this.labels = new Map((state?.labels ?? []).map((label) => [`${label.layer}/${label.feature}`, label.text]));
  }

  groupOf(node: number): Group | null {
    return this.all[this.of[node]!] ?? null;
  }

  /** A feature's label in the review. */
  labelOf(node: number): string | null {
    if (this.data.kind[node] !== FEATURE) return null;
    return this.labels.get(`${this.data.layer[node]}/${this.data.feature[node]}`) ?? null;
  }
}
