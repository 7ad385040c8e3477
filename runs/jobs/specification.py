"""What a job is: one YAML or JSON file, and the cases that it makes.

A specification says everything that decides the results; `CaseSpecification` is one case of it. Both are stored as they
were submitted, redacted, and never changed afterwards.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag

SCHEMA_ID: Literal["tracescribe-job/1"] = "tracescribe-job/1"


class Strict(BaseModel):
    """Refuses fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Weights(Strict):
    """Weights to load, by name or folder as `tracescribe interpret` takes them.

    Attributes:
        model, transcoders: `embedded`, a folder, or the id of a model on the hub.
        evidence: folder of a scan; None takes the embedded model's own for it, and none for others.
        dtype: of the model's weights.
        device: where they run; None leaves that to the worker (the GPU that it was given, else the CPU).
        load: False interprets graphs alone; no claim is tested.
        model_sha256, transcoders_sha256: what they must be; a worker that loads others stops the job. None takes those
            of the first worker.
    """

    model: str = "embedded"
    transcoders: str = "embedded"
    evidence: str | None = None
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    device: str | None = None
    load: bool = True
    model_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    transcoders_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class DatasetPrompts(Strict):
    """Prompts from a column of a data set (`datasets` extra).

    Attributes:
        name: on the hub, or a folder or file that `datasets` reads.
        config: of the data set, where it has several.
        split: of the data set.
        column: that holds the prompts.
        revision: of the data set on the hub.
        limit: first rows only; None for all.
    """

    name: str
    config: str | None = None
    split: str = "train"
    column: str = "text"
    revision: str | None = None
    limit: int | None = Field(default=None, ge=1)


class Prompts(Strict):
    """What is interpreted: exactly one of the fields; all relative paths are relative to the file of the job.

    Attributes:
        inline: prompts, as they stand.
        file: a text file with a prompt a line, a `.jsonl` file with `prompt` (and optionally `id`) in each line, or a
            `.csv` or `.parquet` file with a column `prompt`.
        dataset: a column of a data set.
        graphs: a folder of graph files, or one file.
        gold: prompts or graphs of gold: `oracle`, a gold file or a folder.
        limit: the first so many; None for all.
    """

    inline: tuple[str, ...] | None = None
    file: str | None = None
    dataset: DatasetPrompts | None = None
    graphs: str | None = None
    gold: str | None = None
    limit: int | None = Field(default=None, ge=1)


class Agent(Strict):
    """Who interprets, as the options of `tracescribe interpret` say it; None leaves a setting to its default.

    Keys are never part of a specification: they come from the environment of the worker.

    Attributes:
        spec: `offline`, a baseline, `openai:MODEL`, `anthropic:MODEL`, `openai-compatible:URL#MODEL`, `local:FOLDER`,
            `exec:PROGRAM`, `python:MODULE:NAME`; `STYLE@SPEC` for a style.
        style: in which a language model works.
        max_rounds: rounds of revision.
        judge_labels: False leaves the judging of labels to code; None is the style's default.
        paraphrases: the prompt in other words; of use where all cases share one prompt.
        concurrency: requests that one case has in flight at once.
        stream: whether answers are streamed.
        price_input, price_output: USD per million tokens, where no price is known.
        agent_env: names of environment variables that `exec:` and `python:` agents are given.
    """

    spec: str = "offline"
    style: Literal["pipeline", "one-shot", "investigator"] | None = None
    max_rounds: int | None = Field(default=None, ge=0, le=20)
    judge_labels: bool | None = None
    paraphrases: tuple[str, ...] = ()
    concurrency: int | None = Field(default=None, ge=1, le=32)
    stream: bool | None = None
    price_input: float | None = Field(default=None, ge=0)
    price_output: float | None = Field(default=None, ge=0)
    agent_env: tuple[str, ...] = ()


class CaseBudget(Strict):
    """Limits of one case; what is left out keeps the default of `agents.budget.Budget`.

    Attributes:
        experiments: most claims to test.
        forward_passes: most prompts sent through the studied model.
        seconds: most seconds of work.
        llm_calls: most requests to a language model.
        tokens: most tokens that a language model reads and writes.
        usd: most USD for a language model.
        kill_after: seconds after which a case that does not answer is ended with its worker; None: a minute after its
            budget of seconds.
    """

    experiments: int | None = Field(default=None, ge=0)
    forward_passes: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, gt=0)
    llm_calls: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0)
    kill_after: float | None = Field(default=None, gt=0)


class JobBudget(Strict):
    """Limits of the whole job.

    Attributes:
        usd: hard: a case begins only if its own limit still fits, so that running cases together cannot pass it.
    """

    usd: float | None = Field(default=None, ge=0)


class Budgets(Strict):
    """Limits.

    Attributes:
        case: of every single case.
        job: of all cases together.
    """

    case: CaseBudget = Field(default_factory=CaseBudget)
    job: JobBudget = Field(default_factory=JobBudget)


class Scoring(Strict):
    """How reports are scored.

    Attributes:
        gold: `oracle`, a gold file or folder; None scores nothing, unless the prompts come from gold.
        interventions: also give the scores that run the model.
        metrics: names of the scores that summaries show, in order; empty for those of the benchmark's table.
    """

    gold: str | None = None
    interventions: bool = False
    metrics: tuple[str, ...] = ()


class LocalExecutor(Strict):
    """Worker processes on this machine.

    Attributes:
        kind: `local`, which is meant where nothing is said.
        workers: None for one a core, fewer where memory is short.
    """

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, ge=1, le=1024)


class RayExecutor(Strict):
    """Workers as actors on a Ray cluster (`ray` extra); all its nodes must reach the store.

    Attributes:
        kind: `ray`.
        address: of the cluster; None takes the environment's, or starts one here.
        workers: None for as many as fit the cluster.
        cpus: cores that one worker takes.
        gpus: that one worker takes; may be a fraction.
    """

    kind: Literal["ray"] = "ray"
    address: str | None = None
    workers: int | None = Field(default=None, ge=1, le=4096)
    cpus: float = Field(default=1.0, gt=0)
    gpus: float = Field(default=0.0, ge=0)


def _executor_kind(value: Any) -> Any:
    """Which executor a value is of; one that does not say is local."""
    return value.get("kind", "local") if isinstance(value, dict) else getattr(value, "kind", "local")


Executor = Annotated[
    Annotated[LocalExecutor, Tag("local")] | Annotated[RayExecutor, Tag("ray")], Discriminator(_executor_kind)
]


class Privacy(Strict):
    """What is redacted before anything is written.

    Attributes:
        patterns: names of built-in patterns (`email`, `phone`, `ipv4`, `iban`, `credit_card`, `us_ssn`); secrets (API
            keys, tokens, private keys) are always redacted.
        more: further patterns by name, as regular expressions of Python.
    """

    patterns: tuple[str, ...] = ("email",)
    more: dict[str, str] = Field(default_factory=dict)


class Output(Strict):
    """What is kept of every case, and what is written when the job is done.

    Attributes:
        keep: kinds of artefacts that are stored beside `report`, which always is.
        folder: where the summary (and with `export`, every report) is written when the job is done; None for nowhere.
        export: also write every case's files there.
    """

    keep: tuple[Literal["graph", "page", "markdown", "drawing", "evidence"], ...] = (
        "graph",
        "page",
        "markdown",
        "drawing",
    )
    folder: str | None = None
    export: bool = False


class JobSpecification(Strict):
    """One job.

    Attributes:
        schema_id: of this form of the file; may be left out.
        name: for people; the file's name where it is left out.
        weights, prompts, agent, budget, scoring, executor, privacy, output: parts with fields of their own.
        seeds: every prompt is interpreted once with each.
        max_crashes: a case whose worker died so often is failed.
        reuse_answers: recorded answers of language models of other jobs in the store are used too.
    """

    schema_id: Literal["tracescribe-job/1"] = SCHEMA_ID
    name: str = Field(default="job", min_length=1, max_length=200)
    weights: Weights = Field(default_factory=Weights)
    prompts: Prompts
    agent: Agent = Field(default_factory=Agent)
    budget: Budgets = Field(default_factory=Budgets)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    scoring: Scoring = Field(default_factory=Scoring)
    executor: Executor = Field(default_factory=LocalExecutor)
    privacy: Privacy = Field(default_factory=Privacy)
    output: Output = Field(default_factory=Output)
    max_crashes: int = Field(default=5, ge=1)
    reuse_answers: bool = True


class CaseSpecification(Strict):
    """One case: a prompt or a graph, and a seed.

    Attributes:
        case_id: unique in the store.
        case_key: the same for the same prompt or graph and seed in any job: what two jobs are compared by.
        title: for people: the prompt, or the graph file's name, cut short.
        prompt: text to trace; None for a graph.
        graph_sha256: artefact of the graph as it was when the job was submitted; None for a prompt.
        source: where it came from, such as a line of a file, for people.
        gold_id: gold that it is scored against; None for none. Never shown to the agent.
    """

    case_id: str
    case_key: str
    title: str
    seed: int = Field(default=0, ge=0)
    prompt: str | None = None
    graph_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    source: str | None = None
    gold_id: str | None = None
    more: dict[str, JsonValue] = Field(default_factory=dict)


def as_json(value: BaseModel) -> dict[str, Any]:
    """A specification as plain JSON values."""
    return value.model_dump(mode="json")
