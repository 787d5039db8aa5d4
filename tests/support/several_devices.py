"""What one device, several, and several processes must give alike: a network and a tuning."""

import jax
import jax.numpy as jnp

import promptax as px
from promptax.predictors import Transformer
from promptax.steering import GradientSearch, PromptMixture, SoftPrompt
from promptax.tasks import Categorical, DirichletCategorical

SETTINGS = px.FitSettings(steps=4, batch=8, length=6)
REPEATED = px.FitSettings(steps=4, batch=8, length=5, repetitions=2)


class Even(px.Predictor):
    """The same chance for each symbol; their number is no array."""

    symbols: int = 2

    def start(self, capacity=None):
        return jnp.zeros(())

    def advance(self, state, inputs):
        rows = jnp.zeros((len(inputs), self.symbols)) - jnp.log(float(self.symbols))
        return state, px.Prediction(rows)


def work():
    """Losses and leaves of a pretraining, of a tuning and a search in two repetitions each, and of
    an evaluation."""
    key, coin = jax.random.key(3), Categorical()
    network, prior = Transformer(width=8, heads=2), DirichletCategorical()
    pretrained = px.pretrain(key, network, prior, SETTINGS, callbacks=())
    tuner = PromptMixture(SoftPrompt(length=2))
    tuned = tuner.tune(key, pretrained.predictor, coin, REPEATED, callbacks=())
    searched = GradientSearch(length=3).tune(
        key, pretrained.predictor, coin, REPEATED, callbacks=()
    )
    judged = {"tuned": tuned.predictor, "even": Even()}
    losses = px.evaluate(key, judged, coin, sequences=24, length=9)
    return {
        "pretrained": [pretrained.loss, pretrained.predictor],
        "tuned": [tuned.loss, tuned.predictor],
        "searched": [searched.loss, searched.predictor],
        "losses": jnp.asarray(losses.log_loss.values),
    }
