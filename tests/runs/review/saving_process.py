"""A process that saves acts until it is told to stop, killed, or beaten by another: run by `test_saving`.

    python saving_process.py STORE CASE REVIEWER ACTS

Each act that is saved is told on stdout, so that a test knows what must be in the store.
"""

from __future__ import annotations

import sys

from tracescribe.runs.access.roles import Principal
from tracescribe.runs.review.acts import RenameSupernode
from tracescribe.runs.review.errors import ReviewConflictError
from tracescribe.runs.review.loading import load_review
from tracescribe.runs.review.saving import save_act
from tracescribe.runs.store.database import open_store, parse_address


def main(address: str, case_id: str, reviewer: str, number: int) -> None:
    """Save that many acts, each on top of whatever others saved."""
    store = open_store(parse_address(address))
    who = Principal(reviewer, "reviewer")
    name = load_review(store, case_id, None, reviewer).supernodes[0].supernode_id
    print("ready", flush=True)
    sys.stdin.readline()
    saved = conflicts = 0
    state = load_review(store, case_id, None, reviewer)
    while saved < number:
        act = RenameSupernode(supernode=name, text=f"{sys.argv[5]}-{saved}")
        try:
            state = save_act(store, who, case_id, None, state.version, act, "in a hurry")
        except ReviewConflictError as error:
            conflicts += 1
            state = error.state
            continue
        saved += 1
        print(state.version, flush=True)
    print("conflicts", conflicts, flush=True)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
