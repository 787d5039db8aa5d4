"""Every door of promptax with arguments that it takes: what `bad_input` spoils, one at a time.

`good_calls()` gives functions and arguments by name; `LINES` gives command lines. A name that the
rooms offer is a door here, or stands in `NO_DOORS` with the reason why it is none.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import doors_that_learn
import jax
import numpy as np
import trials

import promptax as px
from promptax import (
    analysis,
    decisions,
    evaluation,
    front_door,
    language,
    protocol,
    report,
    specs,
    steering,
    studies,
    tasks,
)
from promptax import fit as fitting
from promptax import predictors as networks
from promptax.language.adapters import load_adapter, save_adapter
from promptax.language.text_model import TextModel
from promptax.predictors import LSTM
from promptax.steering import SoftPrompt
from promptax.streaming.sampling import stream
from promptax.tasks import Categorical, DirichletCategorical

sys.path.insert(0, str(trials.ROOT / "tests"))
from support import made_up, small_llama

Call = tuple[Callable, dict[str, Any]]
ROOMS = (front_door, analysis, decisions, evaluation, fitting, language, networks, protocol, report,
         steering, studies, tasks)  # fmt: skip
NO_DOORS = {
    "what others return": (
        "Fitted", "Prediction", "Prompted", "PromptedMixture", "Repeated", "Predictor", "Diagnosis",
        "EffectivePrior", "Promptability", "PrincipalComponents", "Cost", "Episode", "Network",
        "Answers", "AnyPrediction", "Mixed", "Normal", "Scores", "State", "Wrapper", "Inputs",
        "Prompt", "GivenPrompt", "KeyValues", "Embedded", "SearchProblem", "Uniform", "Torso",
        "Exchangeable", "SpelledNetwork", "NormalMixture", "Grounding", "Interned",
    ),
    "written by who adds a member": (
        "checked", "one", "cut", "one_or_all", "rows_in", "as_outcome", "alphabet_of",
        "members_elsewhere", "GradientTuner", "PromptTuner", "WeightTuner", "Search",
        "Log",
    ),
    "stands for a package that may be missing": ("TensorBoard", "WeightsAndBiases"),
    "takes nothing": ("use_cores",),
    "pictures and pages of what was measured": ("figures", "page", "readings", "table", "to_csv"),
}  # fmt: skip
KEY = jax.random.key(0)
COINS, COIN = DirichletCategorical(), Categorical((0.2, 0.8))


@functools.cache
def network(symbols: int = 2) -> Any:
    """A small network."""
    return LSTM(width=4).build(KEY, symbols)


def square(point: Any, target: Any) -> Any:
    """A loss with a minimum at the target."""
    return ((point - target) ** 2).sum()


@functools.cache
def losses() -> Any:
    """What `evaluate` gives."""
    return px.evaluate(KEY, {"network": network()}, COIN, 4, 3)


@functools.cache
def llama() -> TextModel:
    """A small language model, whose folder lies in the working one."""
    return TextModel.named(small_llama.write(Path("llama")))


def good_calls() -> dict[str, Callable[[], Call]]:
    """By the name of a door: the door, and arguments that it takes."""
    settings = px.FitSettings(steps=2, batch=4, length=5)
    states = np.random.default_rng(0).normal(size=(9, 3))
    tokens = np.array([[0, 1, 1], [1, 0, 1]])
    calls: dict[str, Callable[[], Call]] = {
        "pretrain": lambda: (
            px.pretrain,
            {"key": KEY, "architecture": LSTM(width=4), "task": COINS, "settings": settings,
             "objective": fitting.objectives.LogLoss(), "probes": (), "checkpoint": None,
             "callbacks": ()},
        ),
        "evaluate": lambda: (
            px.evaluate,
            {"key": KEY, "predictors": {"network": network()}, "target": COIN, "sequences": 4,
             "length": 3, "prior": COINS, "prior_prompt_length": 2, "chunk": 4, "callbacks": (),
             "expectations": None},
        ),
        "regret": lambda: (
            px.regret, {"results": losses(), "reference": "oracle", "controls": True}
        ),
        "condition": lambda: (px.condition, {"predictor": network(), "prompt": [0, 1]}),
        "predict": lambda: (px.predict, {"predictor": network(), "tokens": [0, 1]}),
        "mix": lambda: (
            px.mix, {"predictor": network(), "prompts": [[0], [1]], "weights": (0.5, 0.5)}
        ),
        "save": lambda: (px.save, {"path": "saved", "thing": COIN}),
        "load": lambda: (px.load, {"path": px.save("coin.json", COIN)}),
        "Checkpoint": lambda: (px.Checkpoint, {"path": "state", "every_seconds": 3.0}),
        "Probe": lambda: (px.Probe, {"every": 3, "look": dict}),
        "code_length": lambda: (
            px.code_length, {"predictor": COINS.bayes(), "tokens": [0, 1], "context": 2}
        ),
        "compress": lambda: (
            px.compress,
            {"predictor": COINS.bayes(), "tokens": [0, 1], "context": 2, "callbacks": ()},
        ),
        "decompress": lambda: (
            px.decompress,
            {"predictor": COINS.bayes(), "data": px.compress(COINS.bayes(), [0, 1]),
             "callbacks": ()},
        ),
        "generate": lambda: (
            px.generate,
            {"key": KEY, "predictor": COINS.bayes(), "length": 3, "prompt": [0], "stop": (),
             "temperature": 1.0, "top_k": 2, "top_p": 0.9, "typical_p": 0.9},
        ),
        "stream": lambda: (
            stream,
            {"key": KEY, "predictor": COINS.bayes(), "length": 3, "prompt": [0], "stop": (),
             "temperature": 1.0, "top_k": 2, "top_p": 0.9, "typical_p": 0.9},
        ),
        "diagnose": lambda: (
            analysis.diagnose,
            {"prior": COINS, "target": COIN, "length": 2, "steps": 5, "longest": 10,
             "components": 2, "tolerance": 0.01},
        ),
        "promptability": lambda: (
            analysis.promptability, {"prior": COINS, "target": COIN, "length": 2, "steps": 5}
        ),
        "prompt_mixtures": lambda: (
            analysis.prompt_mixtures,
            {"prior": COINS, "target": COIN, "prompt_lengths": [2], "length": 5, "components": 2},
        ),
        "ledger": lambda: (
            analysis.ledger,
            {"key": KEY, "predictor": network(), "prior": COINS, "target": COIN, "steps": 5,
             "trained_length": 5, "prompt": [1], "sequences": 8, "longest": 10,
             "tuned_weights": False},
        ),
        "effective_prior": lambda: (
            analysis.effective_prior,
            {"predictor": network(), "target": COIN, "length": 4, "key": KEY, "sequences": 8,
             "tolerance": 0.1},
        ),
        "effective_priors": lambda: (
            analysis.effective_priors,
            {"predictors": {"network": network()}, "target": COIN, "length": 4, "key": KEY,
             "sequences": 8, "callbacks": ()},
        ),
        "algorithm_distances": lambda: (
            analysis.algorithm_distances,
            {"judged": {"network": network()}, "algorithms": {"Bayes": COINS.bayes()},
             "source": COINS, "key": KEY, "length": 4, "sequences": 8, "symmetric": False},
        ),
        "linear_probes": lambda: (
            analysis.linear_probes,
            {"predictor": network(), "observations": np.tile(tokens, (2, 1)),
             "statistics": {"symbol": np.tile(tokens, (2, 1))}, "penalty": 1e-3},
        ),
        "induction_heads": lambda: (
            analysis.induction_heads,
            {"predictor": networks.Transformer.examples()[0].build(KEY, 2), "key": KEY,
             "sequences": 2, "length": 4},
        ),
        "in_context_learning": lambda: (
            analysis.in_context_learning, {"results": losses(), "early": 1, "late": 3}
        ),
        "internal_states": lambda: (
            analysis.internal_states, {"predictor": network(), "tokens": tokens}
        ),
        "principal_components": lambda: (
            analysis.principal_components, {"states": states, "components": 2}
        ),
        "state_map": lambda: (
            analysis.state_map,
            {"predictors": {"network": network()}, "reference": network(),
             "background_tokens": tokens, "target_tokens": tokens, "name": None},
        ),
        "relative_position": lambda: (
            analysis.relative_position,
            {"to_memorising": np.ones(3), "to_generalising": np.zeros(3), "between": 1.0},
        ),
        "compressed_bits": lambda: (analysis.compressed_bits, {"numbers": states}),
        "hierarchical_fit": lambda: (
            analysis.hierarchical_fit,
            {"position": np.full((2, 3), 0.5), "advantage": np.ones(2),
             "memorising_bits": np.array([900.0, 1900.0]), "generalising_bits": 300.0,
             "sizes": np.array([2, 4]), "steps": np.array([10, 20, 30])},
        ),
        "order_sensitivity": lambda: (
            analysis.order_sensitivity,
            {"predictor": network(), "tokens": tokens, "key": KEY, "orders": 2},
        ),
        "tuning_order_sensitivity": lambda: (
            analysis.tuning_order_sensitivity,
            {"tune": lambda examples: network(), "examples": tokens, "tokens": tokens, "key": KEY,
             "orders": 2},
        ),
        "answer_gradients": lambda: (
            analysis.answer_gradients,
            {"predictor": tasks.LinearRegression().bayes(), "rows": np.zeros((2, 4, 4))},
        ),
        "mean_cosine": lambda: (
            analysis.mean_cosine, {"ours": states, "theirs": states}
        ),
        "state_clusters": lambda: (
            analysis.state_clusters,
            {"predictor": network(), "observations": np.tile(tokens, (2, 1)),
             "statistic": np.ones((4, 3, 1))},
        ),
        "nearest_tokens": lambda: (
            analysis.nearest_tokens,
            {"predictor": SoftPrompt(length=2).steer(KEY, network()), "count": 2},
        ),
        "play": lambda: (
            decisions.play,
            {"key": KEY, "policies": {"ucb": decisions.UCB1()},
             "environment": decisions.BernoulliBandit(), "rounds": 3, "repetitions": 2},
        ),
        "expected_losses": lambda: (
            evaluation.expected_losses,
            {"judged": COINS.bayes(), "target": COIN, "length": 4, "most": 99}
        ),
        "Expectations": lambda: (
            evaluation.Expectations, {"target": COIN, "length": 4, "most": 99}
        ),
        "fit": lambda: (
            fitting.fit,
            {"key": KEY, "make": lambda key: network(), "settings": settings.filled(
                length=5, learning_rate=0.1), "task": COIN, "callbacks": (),
             "objective": fitting.objectives.LogLoss(), "probes": (), "checkpoint": None,
             "watched": None, "is_fresh": False, "description": "a fit",
             "where": lambda tree: jax.tree.map(lambda leaf: True, tree)},
        ),
        "Adapting": lambda: (
            fitting.Adapting,
            {"predictor": network(), "steps": fitting.objectives.MAML(), "in_context": False},
        ),
        "replay": lambda: (
            fitting.replay,
            {"key": KEY, "predictor": network(), "task": COIN, "rates": np.full(2, 0.1),
             "settings": px.FitSettings(steps=2, batch=2, length=4), "where": None,
             "weights": np.ones((2, 2)), "objective": fitting.objectives.LogLoss(),
             "rule": "adam", "root_epsilon": 1e-8, "levels": 2},
        ),
        "replay_bytes": lambda: (
            fitting.replay_bytes,
            {"predictor": network(), "settings": settings, "levels": 2, "where": None,
             "rule": "adam"},
        ),
        "rates_between": lambda: (fitting.rates_between, {"log_rates": np.zeros(3), "steps": 5}),
        "MetricsFile": lambda: (fitting.MetricsFile, {"path": "metrics.jsonl", "fit": "a"}),
        "states_kept": lambda: (fitting.states_kept, {"steps": 9, "levels": 2}),
        "minimise": lambda: (
            fitting.minimise,
            {"loss": square, "start": np.zeros(1, np.float32), "parameters": np.float32(1.0),
             "steps": 2, "damping": 0.5, "tolerance": 1e-3, "solver_steps": 2},
        ),
        "hypergradient": lambda: (
            fitting.hypergradient,
            {"outer": square, "loss": square, "start": np.zeros(1, np.float32),
             "parameters": np.float32(1.0), "steps": 2, "damping": 0.5, "tolerance": 1e-3,
             "solver_steps": 2},
        ),
        "TextModel": lambda: (
            language.TextModel,
            {"predictor": llama().predictor, "tokenizer": llama().tokenizer},
        ),
        "TextModel.write": lambda: (
            lambda **given: next(llama().write(**given), ""),
            {"key": KEY, "text": "a", "length": 2, "temperature": 0.0, "top_k": 2},
        ),
        "TextModel.reply": lambda: (
            lambda **given: next(llama().reply(**given), ""), {"key": KEY, "messages": []}
        ),
        "TextModel.compress": lambda: (llama().compress, {"text": "", "context": 2}),
        "TextModel.decompress": lambda: (
            llama().decompress, {"data": px.compress(llama().predictor, [])}
        ),
        "Tokenizer": lambda: (language.Tokenizer.named, {"word": "bytes"}),
        "Tokenizer.encode": lambda: (
            language.Tokenizer.of_bytes().encode, {"text": "a", "special": True}
        ),
        "Tokenizer.decode": lambda: (
            language.Tokenizer.of_bytes().decode, {"tokens": [3], "special": True}
        ),
        "Tokenizer.chat": lambda: (
            language.Tokenizer.of_bytes().chat, {"messages": [], "reply": True}
        ),
        "save_adapter": lambda: (
            save_adapter,
            {"folder": "adapter", "predictor": SoftPrompt(length=2, before_begin=True).steer(
                KEY, llama().predictor), "base_name": "a/base"},
        ),
        "load_adapter": lambda: (
            load_adapter, {"folder": "adapter", "predictor": llama().predictor}
        ),
        "report.table": lambda: (
            report.table, {"results": made_up.some_results(), "lengths": [50]}
        ),
    }  # fmt: skip
    calls |= doors_that_learn.calls_on(network)
    for kind in (fitting.DataRater, fitting.MetagradientDescent, steering.MetaSPO):
        calls[kind.__name__] = functools.partial(_spec, kind)
    for name, tuner in specs.members(steering.Tuner).items():
        calls[f"{name}.tune"] = functools.partial(_tuning, tuner, settings)
    for name, task in specs.members(tasks.Task).items():
        calls[f"{name}.sample"] = functools.partial(_sampling, task)
        if task.oracle_entropy is not tasks.Task.oracle_entropy:
            calls[f"{name}.oracle_entropy"] = functools.partial(_entropy, task)
    for name, architecture in specs.members(networks.Architecture).items():
        if architecture.examples():
            calls[f"{name}.build"] = functools.partial(_building, architecture)
    return calls


def _tuning(tuner: Any, settings: px.FitSettings) -> Call:
    given = {"key": KEY, "predictor": network(), "target": COIN, "settings": settings}
    return tuner.examples()[0].tune, given | {"checkpoint": None, "callbacks": (), "probes": ()}


def _sampling(task: Any) -> Call:
    return task.examples()[0].sample, {"key": KEY, "length": 3}


def _entropy(task: Any) -> Call:
    return task.examples()[0].oracle_entropy, {"length": 3}


def _building(architecture: Any) -> Call:
    return architecture.examples()[0].build, {"key": KEY, "outcome": 2}


def spec_calls() -> dict[str, Callable[[], Call]]:
    """Every member of every open set, to be built with one field spoiled."""
    calls = {}
    for base, _ in specs.open_sets.values():
        for name, member in specs.members(base).items():
            if member.examples():
                calls[f"{name}()"] = functools.partial(_spec, member)
    calls["FitSettings()"] = functools.partial(_spec, px.FitSettings)
    return calls


def _spec(member: Any) -> Call:
    example = member.examples()[0]
    return member, {name: getattr(example, name) for name in inspect.signature(member).parameters}


def missing() -> Iterator[str]:
    """Names that the rooms offer and that are no doors here."""
    known = {name.split(".")[0].removesuffix("()") for name in good_calls() | spec_calls()}
    known |= {name for names in NO_DOORS.values() for name in names}
    known |= {base.__name__ for base, _ in specs.open_sets.values()}
    known |= {member for base, _ in specs.open_sets.values() for member in specs.members(base)}
    for room in ROOMS:
        for name, thing in vars(room).items():
            is_offered = not name.startswith("_") and not inspect.ismodule(thing)
            is_ours = getattr(thing, "__module__", "").startswith("promptax")
            if is_offered and is_ours and name not in known:
                yield f"{room.__name__}.{name}"
