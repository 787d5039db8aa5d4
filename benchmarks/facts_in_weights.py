"""What weights take over from facts, prompts and contexts, beside exact Bayes.

    python benchmarks/facts_in_weights.py reckoning     # facts on coins, by inner steps
    python benchmarks/facts_in_weights.py interning     # a prompt, phased out while tuning
    python benchmarks/facts_in_weights.py grounding     # answers from contexts, or from weights
    python benchmarks/facts_in_weights.py capitals      # the same of a language model on capitals

Every part is a short run, and prints its numbers with their standard errors. The last one needs
SmolLM2-135M (`promptax lm fetch`) and the words (`pip install '.[lm,words]'`); all others are
on small networks.
"""

import argparse
import time

import jax
import numpy as np

import promptax as px
from promptax.analysis import grounding, own_answers
from promptax.fit import Reckoning
from promptax.language.tokenizer import Tokenizer
from promptax.language.word_tasks.contexts import ContextQuestions, apart
from promptax.language.word_tasks.pairs import capitals
from promptax.predictors import LSTM, Llama, Transformer
from promptax.steering import FullWeights, LowRank, intern_prompt
from promptax.tasks import Categorical, ContextFacts, DirichletCategorical, NamedCoins
from promptax.tasks.batches import sample_batch
from promptax.tasks.facts.context_facts import KINDS

KEY = jax.random.key(0)


def reckoning(facts=6, coins=2, steps=600, sequences=512):
    """The loss of an answer after `facts` facts on coins, of which others than the one that is
    asked for are distractors: exact Bayes, an LSTM that reads the facts, LSTMs that learned them by
    inner steps."""
    task, length = NamedCoins(coins), 2 * facts + 2
    settings = px.FitSettings(
        steps=steps, batch=32, length=length, learning_rate=5e-3, schedule="cosine"
    )
    network = LSTM(width=24)
    ways = {"second order": False, "first order": True}
    objectives = {
        name: Reckoning(inner_steps=4, inner_rate=0.5, support=2 * facts, first_order=first)
        for name, first in ways.items()
    }
    reader = px.pretrain(KEY, network, task, settings, callbacks=()).predictor
    tokens = sample_batch(task, jax.random.split(jax.random.key(1), sequences), length).tokens
    tokens = np.asarray(tokens)
    bayes = task.bayes()
    losses = {
        name: -np.array([px.predict(predictor, row)[-1, row[-1]] for row in tokens])
        for name, predictor in {"bayes": bayes, "in context": reader}.items()
    }
    losses["no facts"] = np.full(sequences, np.log(2.0))
    for name, objective in objectives.items():
        fitted = px.pretrain(KEY, network, task, settings, objective=objective, callbacks=())
        losses[name] = answers_after_steps(objective, fitted.predictor, tokens, 2 * facts)
    relevant = (tokens[:, :-2:2] == tokens[:, -2:-1]).sum(1)
    for name, loss in losses.items():
        regret = loss - losses["bayes"]
        groups = {"all": relevant >= 0} | {f"{n} relevant": relevant == n for n in (0, 1, 2, 3, 4)}
        parts = [
            f"{group}: {mean_and_error(regret[mask])}"
            for group, mask in groups.items()
            if mask.sum() > 1
        ]
        print(f"{name:13s} {loss.mean():.3f} nats; above bayes {', '.join(parts)}")


def mean_and_error(values):
    """The mean and its standard error, in words."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}"


def only(fitted):
    """The predictor of a fit of one repetition."""
    assert isinstance(fitted.predictor, px.Predictor)
    return fitted.predictor


def answers_after_steps(objective, predictor, tokens, facts):
    """The loss of each last symbol after inner steps on the facts, the question read alone."""
    adapted_losses = []
    for row in tokens:
        adapted = objective.adapt(predictor, row[:facts])
        adapted_losses.append(-px.predict(adapted, row[facts:])[-1, row[-1]])
    return np.array(adapted_losses)


def interning(steps=60, seeds=4):
    """Regret on a coin without a prompt: after phasing eight demonstrations out, and after direct
    tuning on as many tokens."""
    coins, coin = DirichletCategorical(), Categorical((0.2, 0.8))
    training = px.FitSettings(steps=500, batch=64, length=50, learning_rate=5e-3, schedule="cosine")
    base = only(px.pretrain(KEY, LSTM(width=24), coins, training, callbacks=()))
    demonstrations = [[1], [1], [0], [1], [1], [1], [0], [1], [1], [1]]
    settings = px.FitSettings(steps=steps, batch=8, length=50)
    tuner = LowRank(rank=2, learning_rate=2e-3)
    judged = {"untuned": [base] * seeds, "phased out": [], "direct": []}
    for key in jax.random.split(jax.random.key(2), seeds):
        interned = intern_prompt(key, tuner, base, demonstrations, coin, settings, callbacks=())
        tokens_of_update = settings.batch * 50
        direct = px.FitSettings(steps=round(interned.tokens / tokens_of_update), batch=8, length=50)
        judged["phased out"].append(interned.predictor)
        judged["direct"].append(only(tuner.tune(key, base, coin, direct, callbacks=())))
    print(f"tokens: {interned.tokens:,} phased out, {direct.steps * tokens_of_update:,} direct")
    judged["prompted"] = [px.condition(base, np.concatenate(demonstrations))] * seeds
    for name, predictors in judged.items():
        regrets = []
        for predictor in predictors:
            results = px.evaluate(
                jax.random.key(3), {"it": predictor}, coin, sequences=256, length=50, callbacks=()
            )
            regret = px.regret(results).regret.sel(predictor="it", repetition=0, time=50)
            regrets.append(float(regret))
        print(f"{name:11s} {mean_and_error(regrets)} nats of regret over 50 flips")


def evaluate_grounding(steps=300, seeds=2):
    """Controllability and robustness of a small Transformer that knows facts, then tuned."""
    ways = {
        "no context": {"shares": (0.0, 0.0, 0.0, 1.0)},
        "relevant contexts": {"shares": (1.0, 0.0, 0.0, 0.0)},
        "relevant, counterfactual (CINGS)": {"shares": (0.5, 0.5, 0.0, 0.0)},
        "the same, all scored": {"shares": (0.5, 0.5, 0.0, 0.0), "scored": "all"},
        "all four kinds (KAFT)": {},
    }
    numbers = {name: [] for name in ("untuned", *ways)}
    for seed in range(seeds):
        world = ContextFacts(seed=seed)
        key = jax.random.key(seed)
        # a model that knows most facts by heart, and has seen contexts that agree with them
        knows = ContextFacts(seed=seed, shares=(0.3, 0.0, 0.3, 0.4), scored="all")
        settings = px.FitSettings(steps=2 * steps, batch=64, length=4, learning_rate=3e-3)
        network = Transformer(width=32, depth=2, heads=2)
        base = only(px.pretrain(key, network, knows, settings, callbacks=()))
        answers = own_answers(base, world)
        numbers["untuned"].append(grounding(base, ContextFacts(answers=answers)))
        for name, fields in ways.items():
            task = ContextFacts(answers=answers, **fields)
            settings = px.FitSettings(steps=steps, batch=64, length=4, learning_rate=1e-3)
            tuned = only(FullWeights().tune(key, base, task, settings, callbacks=()))
            numbers[name].append(grounding(tuned, task))
    for name, rows in numbers.items():
        means, errors = np.mean(rows, 0), np.std(rows, 0, ddof=1) / np.sqrt(seeds)
        said = [
            f"{field} {mean:.2f} ± {error:.2f}"
            for field, mean, error in zip(rows[0]._fields, means, errors, strict=True)
        ]
        print(f"{name:34s} {', '.join(said)}")


def evaluate_capitals(steps=30, rate=1e-3, held_out=32, contexts=2):
    """Capitals behind contexts: SmolLM2 by itself, and tuned to other countries.

    Said before anything was measured, of held-out countries: C1, CINGS follows a counterfactual
    context more often than the untuned model by at least 0.3; C2, KAFT is as controllable as CINGS
    to within 0.1, and as robust as the untuned model to within 0.1; C3, CINGS loses at least 0.2 of
    the untuned model's robustness. Nothing was searched: one rate, one number of updates.
    """
    ways = {
        "relevant, counterfactual (CINGS)": ("relevant", "counterfactual"),
        "all four kinds (KAFT)": KINDS,
        "no context": ("empty",),
    }
    pairs = apart(capitals().pairs, Tokenizer.named("smollm2"))
    order = np.random.default_rng(0).permutation(len(pairs))
    candidates = [pair.answer for pair in pairs]
    to_tune, to_judge = (
        ContextQuestions([pairs[place] for place in places], candidates)
        for places in np.split(order, [len(pairs) - held_out])
    )
    network = Llama.smollm2_135m()
    known, answers = to_judge.own_answers(network), to_tune.own_answers(network)
    print_grounding("untuned", to_judge.grounding(network, known, contexts=contexts))
    for name, kinds in ways.items():
        task = to_tune.texts(answers, kinds)
        settings = px.FitSettings(
            steps=steps, batch=4, length=task.longest, schedule="cosine", warmup=steps // 20
        )
        tuner = LowRank(rank=4, learning_rate=rate)
        tuned = only(tuner.tune(KEY, network, task, settings, callbacks=()))
        print_grounding(name, to_judge.grounding(tuned, known, contexts=contexts))


def print_grounding(name, shares):
    """The means over held-out inputs, and their standard errors."""
    said = [f"{field} {mean_and_error(shares[field].values)}" for field in shares]
    print(f"{name:34s} {', '.join(said)}", flush=True)


PARTS = {
    "reckoning": reckoning,
    "interning": interning,
    "grounding": evaluate_grounding,
    "capitals": evaluate_capitals,
}


def main():
    """Run one part, and say what it took."""
    parser = argparse.ArgumentParser(description="What weights take over")
    parser.add_argument("part", choices=list(PARTS))
    started = time.process_time()
    PARTS[parser.parse_args().part]()
    print(f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
