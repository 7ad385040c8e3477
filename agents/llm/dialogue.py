"""One dialogue of an investigator: turn by turn, within hard limits, ending for every model.

Every turn is one structured question that holds the whole transcript as data, so that it is recorded and replayed like any
other. What a tool returns is data; what goes wrong in a tool is told to the model, counted, and never a crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import Field, JsonValue

from tracescribe.agents.claims import Frozen
from tracescribe.agents.llm.actions import LOOKING, Action, Finish, InvestigatorAnswer
from tracescribe.agents.llm.case_view import Json
from tracescribe.agents.llm.memory import keep, recall
from tracescribe.agents.llm.session import LlmSession
from tracescribe.agents.llm.settings import DialogueSettings
from tracescribe.agents.providers.errors import UnusableAnswerError
from tracescribe.prompts.template import RenderedPrompt
from tracescribe.tracer.errors import BudgetExceededError, InputError, ProviderError, WorkError

if TYPE_CHECKING:
    from tracescribe.agents.case_tools import CaseTools

MAX_ERROR_CHARS = 300
"""Of one error as the model is told it."""
SHORTENED_CHARS = 120
"""What is left of an old result."""
PARTLY = "wrong"
"""Key of a result that lists what was wrong with an action that was carried out all the same."""
ONCE = LOOKING | {"find_donors"}
"""Tools that return the same the second time, so that asking again is an error."""


class Turn(Frozen):
    """One turn.

    Attributes:
        note: what the model said that it was after.
        did: each action with its result, in order.
        unusable: why the answer could not be used at all; then nothing was done.
    """

    note: str = ""
    did: tuple[dict[str, JsonValue], ...] = ()
    unusable: str = ""


class DialogueState(Frozen):
    """A dialogue so far.

    Attributes:
        ended: why it ended; empty while it goes on.
        refused: what went wrong in single actions, in order.
    """

    turns: tuple[Turn, ...] = ()
    ended: str = ""
    refused: tuple[str, ...] = ()
    failed_turns: int = Field(default=0, ge=0)


class Desk(Protocol):
    """Carries out actions, and keeps what they change in `tools.memory`."""

    def act(self, action: Action) -> dict[str, Json]:
        """Carry out one action.

        Raises:
            InputError, WorkError: it cannot be done; the message is told to the model.
        """
        ...


@dataclass(frozen=True, eq=False)
class Dialogue:
    """One dialogue.

    Attributes:
        tools: of the case; its memory keeps the state under `key` after every turn.
        session: who is asked.
        settings: the limits.
        key: of this dialogue.
        max_turns: of this dialogue.
        question: the prompt, made of the turns left and the transcript.
        desk: what carries out the actions.
    """

    tools: CaseTools
    session: LlmSession
    settings: DialogueSettings
    key: str
    max_turns: int
    question: Callable[[int, list[Json]], RenderedPrompt]
    desk: Desk

    def run(self) -> tuple[DialogueState, WorkError | None]:
        """Hold the dialogue to its end, and say which provider error or budget ended it, if one did."""
        state = recall(self.tools, self.key, DialogueState) or DialogueState()
        while not state.ended:
            if len(state.turns) >= self.max_turns:
                state = self._kept(state.model_copy(update={"ended": f"all {self.max_turns} turns were used"}))
                break
            shown, _ = shown_transcript(state.turns, self.settings.max_transcript_chars)
            try:
                answer = self.session.ask(
                    self.question(self.max_turns - len(state.turns), shown), InvestigatorAnswer, self.tools.meter
                )
            except UnusableAnswerError as error:
                state = self._kept(self._after(state, Turn(unusable=str(error)[:MAX_ERROR_CHARS]), [str(error)], 1, ""))
            except (ProviderError, BudgetExceededError) as error:
                return self._kept(state.model_copy(update={"ended": str(error)})), error
            else:
                state = self._kept(self._carried_out(state, answer))
        return state, None

    def _carried_out(self, state: DialogueState, answer: InvestigatorAnswer) -> DialogueState:
        number = len(state.turns) + 1
        seen = self._seen(state.turns)
        did: list[dict[str, JsonValue]] = []
        refused: list[str] = []
        ended, done = "", 0
        for action in answer.actions[: self.settings.max_actions]:
            asked = action.model_dump(mode="json")
            same = json.dumps(asked, sort_keys=True)
            try:
                if action.tool in ONCE and same in seen:
                    raise InputError("the same was asked before; its result stands in the transcript")
                result = self.desk.act(action)
                done += 1
                seen.add(same)
                partly = result.get(PARTLY)
                refused += [f"turn {number}: {action.tool}: {w}" for w in (partly if isinstance(partly, list) else ())]
            except (InputError, WorkError) as error:
                refused.append(f"turn {number}: {action.tool}: {str(error)[:MAX_ERROR_CHARS]}")
                result = {"error": str(error)[:MAX_ERROR_CHARS]}
            did.append({"action": asked, "result": json.loads(json.dumps(result))})
            if isinstance(action, Finish) and "error" not in result:
                ended = f"finished: {action.reason}"
                break
        left = len(answer.actions) - self.settings.max_actions
        if left > 0 and not ended:
            refused.append(f"turn {number}: {left} actions beyond the {self.settings.max_actions} of one turn")
            did.append({"not_carried_out": left, "why": f"at most {self.settings.max_actions} actions in one turn"})
        failed = 0 if done else 1
        return self._after(state, Turn(note=answer.note, did=tuple(did)), refused, failed, ended)

    def _after(
        self, state: DialogueState, turn: Turn, refused: Sequence[str], failed: int, ended: str
    ) -> DialogueState:
        failed_turns = state.failed_turns + 1 if failed else 0
        if not ended and failed_turns >= self.settings.max_failed_turns:
            ended = f"given up: nothing could be done in {failed_turns} turns one after another"
        return DialogueState(
            turns=(*state.turns, turn),
            ended=ended,
            refused=(*state.refused, *(text[:MAX_ERROR_CHARS] for text in refused)),
            failed_turns=failed_turns,
        )

    def _seen(self, turns: Sequence[Turn]) -> set[str]:
        """Looks whose result the model can still read."""
        _, shortened = shown_transcript(turns, self.settings.max_transcript_chars)
        return {
            json.dumps(done["action"], sort_keys=True)
            for turn in turns[shortened:]
            for done in turn.did
            if "action" in done and not _is_error(done["result"])
        }

    def _kept(self, state: DialogueState) -> DialogueState:
        keep(self.tools, self.key, state)
        return state


def shown_transcript(turns: Sequence[Turn], max_chars: int) -> tuple[list[Json], int]:
    """The transcript as it is shown, and how many of its oldest turns are shortened.

    The results of the oldest turns are cut down to a line until the whole fits; if that is not enough, the oldest turns
    are left out.
    """
    full: list[Json] = [_entry(number, turn) for number, turn in enumerate(turns, start=1)]
    brief: list[Json] = [_entry(number, turn, brief=True) for number, turn in enumerate(turns, start=1)]
    long, short = [_size(entry) for entry in full], [_size(entry) for entry in brief]
    cut = 0
    while cut < len(turns) and sum(short[:cut]) + sum(long[cut:]) > max_chars:
        cut += 1
    shown = brief[:cut] + full[cut:]
    while shown and sum(_size(entry) for entry in shown) > max_chars:
        shown = shown[1:]
    return shown, cut


def _entry(number: int, turn: Turn, *, brief: bool = False) -> dict[str, Json]:
    entry: dict[str, Json] = {"turn": number}
    if turn.unusable:
        return entry | {"unusable_answer": turn.unusable}
    did = [_shortened(done) for done in turn.did] if brief else list(turn.did)
    return entry | {"note": turn.note, "did": did}


def _shortened(done: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if "result" not in done or _is_error(done["result"]):
        return done
    text = json.dumps(done["result"], ensure_ascii=False)
    if len(text) <= SHORTENED_CHARS:
        return done
    action = json.dumps(done["action"], ensure_ascii=False)
    return {"action": action[: 2 * SHORTENED_CHARS], "result": f"{text[:SHORTENED_CHARS]} ... (shortened)"}


def _is_error(result: JsonValue) -> bool:
    return isinstance(result, dict) and "error" in result


def _size(entry: Json) -> int:
    return len(json.dumps(entry, ensure_ascii=False)) + 2
