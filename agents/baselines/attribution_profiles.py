"""Attribution-profile clustering: features that are fed alike and feed alike, by spectral clustering.

Source: "ADAG", arXiv 2604.07615: cosines of input and output attribution, clamped at 0, combined by harmonic mean;
spectral clustering of that likeness (leading eigenvectors of the normalised likeness, then k-means); nodes with under
0.5 % of the attribution are left out. ADAG takes 20 clusters over many prompts; for one prompt their number is the square
root of the number of features, at most 20 (docs/benchmark-agents.md has what other numbers gave).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tracescribe.agents.baselines import BaselineName
from tracescribe.agents.baselines.common import BaselineProposer, Groups, features_at_hand, gathered
from tracescribe.agents.grouping.graph_facts import graph_facts
from tracescribe.agents.survey import Survey
from tracescribe.tracer.profiles import similarity

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

SEED_RANGE = 2**31
"""scikit-learn takes seeds below this."""


@dataclass(frozen=True)
class ProfilesBaseline(BaselineProposer):
    """Clusters of attribution profiles.

    Attributes:
        min_share: features below this share of all features' influence are left out where there are more than enough.
        most: features clustered: the likeness of all pairs is held in memory.
        most_clusters: however many features there are.
        starts: of k-means.
    """

    NAME: ClassVar[BaselineName] = "profiles"
    min_share: float = 0.005
    most: int = 1500
    most_clusters: int = 20
    starts: int = 10

    def own_settings(self) -> Mapping[str, object]:
        """Of the clustering."""
        return {
            "min_share": self.min_share,
            "most": self.most,
            "most_clusters": self.most_clusters,
            "starts": self.starts,
        }

    def groups(self, tools: CaseTools, survey: Survey) -> Groups:
        """By likeness of what feeds them and of the outputs that they feed."""
        nodes = features_at_hand(tools, survey)[: self.most]
        if tools.can_test:
            total = sum(survey.influence[node] for node in nodes)
            nodes = tuple(n for n in nodes if survey.influence[n] >= self.min_share * total) or nodes[:1]
        facts = graph_facts(survey.full)
        rows = [facts.row_of[node] for node in nodes]
        likeness = similarity(facts.profiles.inputs[rows], facts.profiles.outputs[rows]).astype(np.float64)
        seed = int(tools.rng("baseline profiles").integers(SEED_RANGE))
        n_clusters = min(self.most_clusters, round(len(nodes) ** 0.5))
        return gathered(nodes, clustered(likeness, n_clusters, self.starts, seed).tolist())


def clustered(likeness: NDArray[np.float64], n_clusters: int, starts: int, seed: int) -> NDArray[np.int64]:
    """Spectral clusters of a likeness `[n, n]`, 0 to 1: the cluster of each row, `[n]`.

    At least two, and fewer than there are rows; fewer than three rows are clusters of their own.
    """
    n = len(likeness)
    if n < 3:
        return np.arange(n)
    from sklearn.cluster import KMeans

    k = max(2, min(n_clusters, n - 1))
    root = 1.0 / np.sqrt(np.maximum(likeness.sum(axis=1), 1e-12))
    _, vectors = np.linalg.eigh(root[:, None] * likeness * root[None, :])
    vectors = vectors[:, ::-1]
    chosen = vectors[:, :k]
    norm = np.linalg.norm(chosen, axis=1, keepdims=True)
    points = np.divide(chosen, norm, out=np.zeros_like(chosen), where=norm > 1e-12)
    # scikit-learn declares n_init by its default alone, which is a word
    means = KMeans(n_clusters=k, n_init=starts, random_state=seed)  # pyright: ignore[reportArgumentType]
    found = means.fit_predict(np.round(points, 9))
    return np.asarray(found, dtype=np.int64)
