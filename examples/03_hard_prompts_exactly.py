"""How far can a prompt of real symbols go? For exact predictors the answer is exact: no sampling.

    python examples/03_hard_prompts_exactly.py            # some seconds
    python examples/03_hard_prompts_exactly.py --quick    # shorter prompts

`promptability` tries every prompt on the exact predictor of random coins and counts every sequence
of the target. Expected (regret in nats over 50 symbols after the best prompt of exactly that
length, and that prompt's number of zeros):

    length  one coin  zeros  two coins  zeros
         0    1.4772      0     1.4772      0
         1    1.0242      0     1.6985      0
         3    0.7959      0     1.7338      1
         6    0.5711      1     1.9580      3
        10    0.4473      2     2.4210      5
        25    0.2097      5     3.8442     12
        50    0.0963     10     5.2795     25

One coin is a single task inside the prior: prompts that are long enough suffice (Genewein et al.
2025, Eq. 9). Two coins are a mixture: of all these prompts the empty one is best, and it leaves
0.784 nats between the prior and the target's own Bayes predictor, whose regret is log 2 = 0.693.
"""

import sys

from promptax.analysis import promptability
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

lengths = [0, 1, 2, 3, 4, 5, 6, 10, 25, 50]
if "--quick" in sys.argv:
    lengths = lengths[:7]

coins = DirichletCategorical((1.0, 1.0))
one = promptability(coins, Categorical((0.2, 0.8)), length=max(lengths), steps=50)
two = promptability(coins, CategoricalMixture(((0.2, 0.8), (0.8, 0.2))), max(lengths), steps=50)

print("length  one coin  zeros  two coins  zeros")
for length in lengths:
    rows = [each.table.sel(prompt_length=length) for each in (one, two)]
    cells = [f"{float(row.regret):9.4f}  {int(row.counts[0]):5d}" for row in rows]
    print(f"{length:6d} {'  '.join(cells)}")

print(f"best length for one coin: {one.best_length}; for two coins: {two.best_length}")
golden = {0: (1.4772, 1.4772), 1: (1.0242, None), 6: (0.5711, 1.9580)}
for length, expected in golden.items():
    for found, number in zip((one, two), expected, strict=True):
        regret = float(found.table.regret.sel(prompt_length=length))
        assert number is None or abs(regret - number) < 1e-4, (length, regret, number)
assert two.best_length == 0
