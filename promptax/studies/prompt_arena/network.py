"""A search, or what gradients tune, on one pretrained network: all of them side by side.

An exact predictor has no embedding and no weights. A network has both, so that here soft, simplex
and real rows, mixtures of prompts, low-rank and full weights stand beside the searches, at equal
tokens. It learned to predict the sequences of an arena's prior; its prompts are short, so that the
loss behind every one of them is computed: an expectation over all sequences of the target, the same
that judges what gradients tune. Tuned numbers can do what no prompt of symbols can, and their gap
may be below 0.

A network knows its symbols by name: no run renames them. Runs differ in what they draw, and all
have one network: an interval over them says nothing of other networks.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from promptax.analysis.anytime import gaps_at_budgets
from promptax.axes import NATS, labelled
from promptax.evaluation.exact.all_sequences import all_sequences
from promptax.experiments.experiment import Experiment
from promptax.experiments.groups import PRETRAINING
from promptax.experiments.measurement import (
    Announce,
    Keep,
    Measurement,
    Stage,
    keep_nothing,
    silent,
)
from promptax.experiments.stages import pretrain_network
from promptax.fit.fitted import Fitted
from promptax.fit.probes import Probe
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Architecture
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import check, on_device, traced
from promptax.steering import Search, SimplexPrompt, Tuner
from promptax.steering.gradient import GradientTuner
from promptax.studies.prompt_arena.beside import (
    expect_sizes,
    expected_loss,
    find_gaps_of_looks,
    tokens_of_a_derivative,
)
from promptax.studies.prompt_arena.contest import GROUP, budgets_up_to, final_gaps, tokens
from promptax.tasks import Categorical, CategoricalMixture

MOST_PROMPTS = 4096  # whose losses are all computed
LOOKS = 32  # at what gradients tune, at most
MOST_NETWORKS = 4  # whose losses a process keeps
_LOSSES: dict[str, Float[np.ndarray, " candidate"]] = {}  # by what they were computed from


class OnNetwork(Measurement):
    """A tuner under a budget of tokens, on a network that was pretrained on a prior."""

    tuner: Tuner = SimplexPrompt()
    """The search or tuner. It brings its prompt length."""
    learning_rate: float | None = None
    """Adam's learning rate; None: the tuner's own."""
    network: Architecture = LSTM(width=32)
    """The network, which is pretrained once for all tuners."""
    prior: CategoricalMixture = CategoricalMixture()
    """Whose sequences it is pretrained on."""
    pretraining: FitSettings = FitSettings(steps=1000, batch=128, length=10)
    """How it is pretrained."""
    target: Categorical = Categorical()
    """The task that it is steered to."""
    prompt_length: int = 6
    """Symbols of the prompts that it is held against."""
    length: int = 4
    """Steps of the target's sequences."""
    budget: int = 2**16
    """Tokens; one with a derivative is three."""
    batch: int = 32
    """Sequences of a batch."""
    repetitions: int = 5
    """Number of runs, all on the same network."""

    def __check_init__(self) -> None:
        names = ("length", "repetitions", "batch", "prompt_length")
        sizes = {name: getattr(self, name) for name in names}
        least = tokens_of_a_derivative(self.prompt_length, self.batch, self.length)
        expect_sizes(least, self.budget, sizes)
        check(
            self.learning_rate is None or self.learning_rate > 0,
            f"Expected a learning_rate above 0, or None for the tuner's own; got "
            f"{self.learning_rate}.",
        )
        if isinstance(self.tuner, Search) and self.tuner.recommends:
            check(
                self.tuner.length == self.prompt_length,
                f"Expected a search for prompts of prompt_length {self.prompt_length}, whose "
                f"losses are known; got {type(self.tuner).__name__}(length={self.tuner.length}).",
            )
        prompts = self.target.symbols**self.prompt_length
        check(
            prompts <= MOST_PROMPTS,
            f"Expected at most {MOST_PROMPTS:,} prompts, whose losses are all computed; "
            f"{self.target.symbols} symbols at length {self.prompt_length} make {prompts:,}.",
        )

    @classmethod
    def examples(cls) -> "tuple[OnNetwork, ...]":
        short = FitSettings(steps=2, batch=4, length=4)
        return (
            cls(
                tuner=SimplexPrompt(length=1),
                network=LSTM(width=3),
                pretraining=short,
                prompt_length=1,
                length=2,
                budget=200,
                batch=4,
                repetitions=2,
            ),
        )

    @property
    def tokens_of_an_update(self) -> int:
        """What an update by gradients costs: rows of prompts are read before a batch, none where
        weights are tuned, and each component of a mixture reads the batch. Nothing is computed
        for it."""
        if not isinstance(self.tuner, GradientTuner):
            return tokens_of_a_derivative(self.prompt_length, self.batch, self.length)
        symbols = self.target.symbols
        network = eqx.filter_eval_shape(self.network.build, jax.random.key(0), symbols)
        steered = eqx.filter_eval_shape(self.tuner.steer, jax.random.key(0), network)
        batch = steered.readers() * self.batch
        return tokens_of_a_derivative(steered.prompt_rows(), batch, self.length)

    @property
    def settings(self) -> FitSettings:
        """How it is tuned. A search that says at any time what it would take goes on until all is
        spent; what gradients tune, as many updates as fit."""
        stops = isinstance(self.tuner, Search) and self.tuner.recommends
        rate = self.learning_rate
        least = 1 if stops else self.tokens_of_an_update
        return FitSettings(
            steps=self.budget // least,
            batch=self.batch,
            length=self.length,
            repetitions=self.repetitions,
            learning_rate=self.tuner.default_learning_rate if rate is None else rate,
            budget=self.budget if stops else None,
        )

    def shared(self) -> Experiment:
        """The pretraining."""
        return Experiment(
            network=self.network,
            prior=self.prior,
            pretraining=self.pretraining,
            targets={},
            methods={},
        )

    def verify(self) -> None:
        untrained = self.network.build(jax.random.key(0), self.target.symbols)
        self.tuner.verify(untrained, self.target, self.settings)

    def work(self) -> float:
        return 10.0 * self.budget * self.repetitions

    def stages(
        self, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
    ) -> Iterator[Stage]:
        """The pretraining; the gaps [repetition, budget] at powers of two."""
        key = jax.random.key(seed)
        checkpoint = keep(PRETRAINING)
        pretrained = pretrain_network(
            jax.random.fold_in(key, 0), self.shared(), announce, checkpoint
        )
        yield PRETRAINING, pretrained.history
        began, network = time.monotonic(), pretrained.predictor
        assert isinstance(network, Predictor)
        judge = Judge.of(network, self)
        fitted = self.tuner.tune(
            jax.random.fold_in(key, 1),
            network,
            self.target,
            self.settings,
            probes=(self.probe(judge),) if self.tuner.takes_probes else (),
            checkpoint=keep("tuning"),
            callbacks=announce("tuning"),
        )
        yield GROUP, self.judge_fit(fitted, judge, time.monotonic() - began)

    def probe(self, judge: "Judge") -> Probe:
        """What looks at rows and weights on the way."""
        return Probe(max(1, self.settings.steps // LOOKS), judge.look)

    def judge_fit(self, fitted: Fitted, judge: "Judge", seconds: float) -> xr.Dataset:
        """How far what stood at every budget is from the best prompt of symbols, nats."""
        assert fitted.cost is not None
        losses, budgets = judge.find_all_losses(), budgets_up_to(self.budget)
        best, typical = float(losses.min()), float(np.median(losses) - losses.min())
        spent, nothing = tokens(fitted.cost), np.full(self.repetitions, np.inf)
        if fitted.recommended is not None:
            loss = losses[self.number_prompts(fitted.recommended)]
            gaps = gaps_at_budgets(loss - best, spent, budgets, nothing)
        elif self.tuner.takes_probes:
            gaps = find_gaps_of_looks(fitted, best, budgets)
        else:  # it says nothing before its end
            members = [fitted.predictor[r] for r in range(self.repetitions)]  # pyright: ignore
            loss = np.array([[judge.look(member)["loss"]] for member in members])
            gaps = gaps_at_budgets(loss - best, spent[:, -1:], budgets, nothing)
        final = fitted.cost.final()
        return labelled(
            {
                "gap": (("repetition", "budget"), gaps, {"unit": NATS}),
                "spent": ("repetition", spent[:, -1], {"unit": "tokens"}),
                "tokens_forward": ("repetition", final["tokens_forward"], {"unit": "tokens"}),
                "tokens_backward": ("repetition", final["tokens_backward"], {"unit": "tokens"}),
                "typical": ((), typical, {"unit": NATS}),
                "best": ((), best, {"unit": NATS}),
                "elapsed": ((), seconds, {"unit": "seconds"}),
            },
            {"repetition": np.arange(len(gaps)), "budget": budgets},
        )

    def number_prompts(self, prompts: Int[np.ndarray, "*run prompt"]) -> Int[np.ndarray, "*run"]:
        """The numbers of prompts among all of them."""
        powers = self.target.symbols ** np.arange(self.prompt_length - 1, -1, -1)
        return np.asarray(prompts) @ powers

    def numbers(self, results: xr.DataTree) -> list[dict[str, object]]:
        """The final gap of every run."""
        return final_gaps(results)


class Judge(eqx.Module):
    """The expected loss over all sequences of the target, behind any prompt."""

    network: Predictor
    episodes: Episode
    chances: Float[Array, " sequence"]
    prompts: Int[np.ndarray, "candidate prompt"]

    @classmethod
    def of(cls, network: Predictor, measured: OnNetwork) -> "Judge":
        """Of a network, its target and its prompts."""
        read, probabilities = all_sequences(measured.target, network, measured.length)
        symbols, length = measured.target.symbols, measured.prompt_length
        places = symbols ** np.arange(length - 1, -1, -1)
        prompts = np.arange(symbols**length)[:, None] // places % symbols
        chances = np.asarray(probabilities, np.float32)
        return cls(network, Episode(on_device(read)), on_device(chances), prompts.astype(np.int32))

    def look(self, steered: Predictor) -> Mapping[str, float]:
        """The loss of a predictor as it stands, nats per sequence."""
        return {"loss": float(expected_loss(steered, self.episodes, self.chances))}

    def find_all_losses(self) -> Float[np.ndarray, " candidate"]:
        """The loss behind every prompt, nats per sequence. It takes longer than a search does, and
        all that is measured on one network asks for it: a process keeps those of the last ones."""
        leaves = jax.tree.leaves((self.network, self.episodes, self.chances, self.prompts))
        digest = hashlib.sha256(repr(jax.tree.structure(self.network)).encode())
        for leaf in leaves:
            digest.update(np.asarray(leaf).tobytes())
        name = digest.hexdigest()
        if name not in _LOSSES:
            while len(_LOSSES) >= MOST_NETWORKS:
                _LOSSES.pop(next(iter(_LOSSES)))
            given = on_device(self.prompts), self.episodes, self.chances
            _LOSSES[name] = np.asarray(_losses_behind(traced(self.network), *given), float)
        return _LOSSES[name]


@eqx.filter_jit
def _losses_behind(
    network: Predictor,
    prompts: Int[Array, "candidate prompt"],
    episodes: Episode,
    chances: Float[Array, " sequence"],
) -> Float[Array, " candidate"]:
    """The expected loss behind each prompt, one after the other."""

    def behind(prompt: Int[Array, " prompt"]) -> Float[Array, ""]:
        state, _ = network.advance(network.start(), prompt)
        _, prediction = network.advance_batch(state, episodes.inputs)
        losses = jnp.sum(network.outcome.log_loss(prediction, episodes), axis=-1)
        return jnp.sum(chances * losses)

    return jax.lax.map(behind, prompts)
