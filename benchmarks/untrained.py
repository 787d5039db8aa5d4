"""How much an untrained network's regret depends on its initial values.

    python benchmarks/untrained.py

Cumulative regret on two coins, in nats, of ten networks of each kind at the paper's size.
"""

import jax

import promptax as px
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.tasks import CategoricalMixture

SEEDS, LENGTHS = range(10), (50, 200)


def regrets(architecture: Architecture) -> dict[int, list[float]]:
    """By length, of each initialisation, from the least up."""
    networks = {str(seed): architecture.build(jax.random.key(seed), 2) for seed in SEEDS}
    losses = px.evaluate(
        jax.random.key(0), networks, CategoricalMixture(), sequences=512, length=max(LENGTHS)
    )
    regret = px.regret(losses).regret.sel(predictor=list(networks), repetition=0)
    return {length: sorted(regret.sel(time=length).values.tolist()) for length in LENGTHS}


def main() -> None:
    """Print a Markdown table."""
    px.use_cores()
    print("| untrained, two coins | steps | regret of ten initialisations | median |")
    print("|---|---|---|---|")
    for architecture in (Transformer(), LSTM()):
        for length, values in regrets(architecture).items():
            each = " ".join(f"{value:.1f}" for value in values)
            median = (values[4] + values[5]) / 2
            print(f"| {type(architecture).__name__} | {length} | {each} | {median:.1f} |")


if __name__ == "__main__":
    main()
