"""What is known to happen when a concept of a gold circuit is removed or replaced."""

from __future__ import annotations

from tracescribe.evals.gold.parts import Frozen

SWAP_HOLDS = 0.5
"""A known swap holds when the expected answer gains this much probability: from one half on it is the model's answer."""
NECESSITY_HOLDS = 0.6931471805599453
"""A known necessity holds when the answer loses this many nats: its probability at least halves."""


class KnownSwap(Frozen):
    """What follows when a supernode's concept is replaced by another value.

    Attributes:
        value: the other value.
        expected_token: the answer that follows from it.
        site_gain: probability that the expected token gained when the whole output at the concept's true home was
            replaced by that of a prompt with the other value; None where it was not tried.
        features_gain: the same when only the gold features were replaced; None where one side has none.
    """

    value: str
    expected_token: str
    site_gain: float | None = None
    features_gain: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the model was seen to do it, through its true home or through the gold features."""
        return self.shown_by_features or (self.site_gain is not None and self.site_gain >= SWAP_HOLDS)

    @property
    def shown_by_features(self) -> bool:
        """Whether an agent that can only touch features could have seen it."""
        return self.features_gain is not None and self.features_gain >= SWAP_HOLDS


class KnownEffects(Frozen):
    """What was observed when one supernode was ablated or swapped.

    Attributes:
        target_token: the answer whose log-probability the drops are about.
        site_drop: nats lost when the output at the true home was replaced by its mean over all values.
        features_drop: nats lost when the gold features were set to zero.
        swaps: one for each other value of the concept that was tried and asks for another answer.
        exhaustive: every value was tried, so that an answer that is not listed does not follow from any.
    """

    supernode: str
    target_token: str
    site_drop: float | None = None
    features_drop: float | None = None
    swaps: tuple[KnownSwap, ...] = ()
    exhaustive: bool = False

    @property
    def necessary(self) -> bool:
        """Whether the answer was seen to depend on the concept."""
        return self.necessary_by_features or (self.site_drop is not None and self.site_drop >= NECESSITY_HOLDS)

    @property
    def necessary_by_features(self) -> bool:
        """Whether an agent that can only touch features could have seen it."""
        return self.features_drop is not None and self.features_drop >= NECESSITY_HOLDS

    def swaps_to(self, token: str) -> tuple[KnownSwap, ...]:
        """The swaps after which a token is expected."""
        return tuple(swap for swap in self.swaps if swap.expected_token == token)
