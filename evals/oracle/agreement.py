"""How far the measured edges of the oracle gold agree with the causal model: counts by task.

python -m tracescribe.evals.oracle.agreement
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tracescribe.evals.gold import GoldCircuit, GoldSet
from tracescribe.evals.oracle.building import OracleSettings, draw_cases, load_oracle_gold, load_world
from tracescribe.evals.oracle.edges import told_pairs
from tracescribe.tracer.embedded.training.causal_model import sites, state_of
from tracescribe.tracer.embedded.training.corpus import TASKS, Sample

COLUMNS = ("story, asked", "story, undecided", "story, not seen", "other, undecided", "other, none", "by pattern")


def count_pairs(gold: GoldCircuit, target: Sample, ids_of: Mapping[str, int]) -> Counter[str]:
    """Every pair of ends of one circuit, by what the causal model says and what was measured.

    Ends without features in the circuit are left out: nobody is asked about them.
    """
    variables = tuple(site.variable for site in sites(target, state_of(target)))
    names = dict(zip(variables, (s.supernode_id for s in gold.supernodes), strict=True))
    words = {position: f"E_{ids_of[target.words[position]]}_{position}" for position in range(1, target.answer)}
    logit = gold.targets[0].node_id
    told, hidden = told_pairs(target, names, words, logit)
    nodes = [s.supernode_id for s in gold.supernodes if s.members]
    status = {(edge.source, edge.destination): edge.status for edge in gold.edges}
    counts: Counter[str] = Counter()
    for source in (*words.values(), *nodes):
        for destination in (*nodes, logit):
            pair = (source, destination)
            if source == destination:
                continue
            if pair in hidden:
                counts["by pattern"] += 1
            elif pair in told:
                counts[f"story, {status.get(pair, 'not seen')}"] += 1
            else:
                counts[f"other, {status.get(pair, 'none')}"] += 1
    return counts


def agreement(gold: GoldSet) -> dict[str, Counter[str]]:
    """Counts of all circuits of a set that `build_oracle_gold` made with its usual settings, by task."""
    from tracescribe.tracer import embedded

    world = load_world(embedded.model_dir(), embedded.transcoder_dir())
    cases, _ = draw_cases(world, OracleSettings())
    found: dict[str, Counter[str]] = {task: Counter() for task in TASKS}
    for circuit in gold.circuits:
        found[circuit.family] += count_pairs(circuit, cases[circuit.gold_id].sample, world.ids_of)
    return found


def main() -> None:
    """Print the counts as a Markdown table."""
    found = agreement(load_oracle_gold())
    rows = [*found.items(), ("all", sum(found.values(), Counter()))]
    print(f"| task | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for task, counts in rows:
        print(f"| {task} | {' | '.join(str(counts[column]) for column in COLUMNS)} |")


if __name__ == "__main__":
    main()
