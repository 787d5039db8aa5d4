"""What specs and doors refuse, in which words: a table of calls, all run in one other process."""

import json

from support.warm import run_code

HELD = "what is finite and held by float32"

SPECS = {
    "px.FitSettings(steps=1.5)": "Expected a whole number as FitSettings.steps; got 1.5.",
    "px.FitSettings(steps='9')": "Expected a whole number as FitSettings.steps; got '9'.",
    "px.FitSettings(batch=True)": "Expected a whole number as FitSettings.batch; got True.",
    "px.FitSettings(length=2.5)": "Expected a whole number or None as FitSettings.length; got 2.5",
    "px.FitSettings(learning_rate=inf)": f"Expected {HELD} as FitSettings.learning_rate",
    "px.FitSettings(learning_rate=(.1, inf), repetitions=2)": f"Expected {HELD} as FitSettings.le",
    "px.FitSettings(learning_rate=1e-50)": f"Expected {HELD} as FitSettings.learning_rate",
    "px.FitSettings(steps=3, warmup=4)": "Expected a warmup of at most the 3 steps; got 4, after",
    "SoftPrompt(learning_rate=inf)": f"Expected {HELD} as SoftPrompt.learning_rate: 0, or from",
    "SoftPrompt(1.5)": "Expected a whole number as SoftPrompt.length; got 1.5",
    "LSTM(width='a')": "Expected a whole number as LSTM.width; got 'a'.",
    "Transformer(heads=2.0)": "Expected a whole number as Transformer.heads; got 2.0.",
    "LowRank(rank=None)": "Expected a whole number as LowRank.rank; got None.",
    "HardPrompt(2, sequences=2.5)": "Expected a whole number as HardPrompt.sequences; got 2.5",
    "Annealing(start_temperature=inf)": f"Expected {HELD} as Annealing.start_temperature",
    "VariationalPrompt(prior_scale=1e-50)": f"Expected {HELD} as VariationalPrompt.prior_scale",
    "MAML(inner_rate=inf)": f"Expected {HELD} as MAML.inner_rate",
    "Symbols(2.7)": "Expected a whole number as Symbols.count; got 2.7.",
    "Points(1.5, Symbols(2))": "Expected a whole number as Points.features; got 1.5.",
    "KnownTree(((1,), (0.5, 0), (1, 0)))": "Expected a tuple of tuples of whole numbers as KnownTr",
    "LinearRegression(1.5)": "Expected a whole number as LinearRegression.dimensions; got 1.5.",
    "MarkovChain(symbols=2.5)": "Expected a whole number as MarkovChain.symbols; got 2.5.",
    "Categorical((1e-50, 1))": f"Expected {HELD} as Categorical.probabilities",
    "Categorical(('a', 1))": "Expected a tuple of numbers as Categorical.probabilities; got",
    "CategoricalMixture(weights=(1e-45, 1.0))": f"Expected {HELD} as CategoricalMixture.weights",
    "KnownChain(((1e-45, 1.0), (0.5, 0.5)))": f"Expected {HELD} as KnownChain.transition",
    "DirichletCategorical((2e-38, 2e-38))": "Expected concentrations of 0 or at least 1e-36",
    "DirichletCategorical((3e38, 3e38))": "Expected concentrations of 0 or at least 1e-36",
    "MarkovChain(concentration=(2e-38, 1.0))": "Expected concentrations of 0 or at least 1e-36",
    "BernoulliBandit(arms=1.5)": "Expected a whole number as BernoulliBandit.arms; got 1.5.",
    "BernoulliBandit(prior=(2e-38, 1.0))": "Expected a prior of 0 or at least 1e-36",
    "EpsilonGreedy(nan)": "Expected a number as EpsilonGreedy.exploration; got nan.",
    "Recorded(sequences=[[2**30, 0]])": "Expected tokens below 1,048,576",
    "px.regret(len)": "Expected a Dataset, such as promptax.evaluate(key, {'name': predictor}",
    "px.evaluate(key, {}, COINS, 4.5)": "Expected sequences, a whole number; got 4.5.",
    "px.evaluate(0, {}, COINS)": "Expected one random key, such as jax.random.key(0); got int 0.",
    "px.pretrain(key, LSTM, COINS)": "Expected an architecture such as Transformer(width=128); got "
    "the class LSTM.",
    "px.pretrain(key, LSTM(width=2), 'coins')": "Expected a Task, such as DirichletCategorical(); ",
    "px.pretrain(key, LSTM(width=2), COINS, 10)": "Expected a FitSettings, such as FitSettings(",
    "HardPrompt().tune(key, COINS.bayes(), Symbols)": "Expected a Task, such as Categorical((0."
    "2, 0.8)); got the class",
    "play(key, {'ucb': UCB1()}, BernoulliBandit(), 3.5)": "Expected rounds, a whole number; got",
    "px.FitSettings(repetitions=10**8)": "Expected at most 10,000 repetitions, and 67,108,864",
    "px.FitSettings(steps=10**8, repetitions=3)": "Expected at most 10,000 repetitions, and 67,10",
    "px.FitSettings(batch=2**31)": "Expected batch of at most 2,147,483,647; got 2147483648.",
    "px.evaluate(key, {}, COINS, 10**8, 3)": "Expected at most 268,435,456 losses; got losses of 2",
    "px.evaluate(key, {}, COINS, 4, 10**9)": "Expected at most 268,435,456 losses; got losses of 2",
    "px.evaluate(key, {}, COINS, 4, 3, callbacks=[1, 2])": "Expected callbacks, functions of (don",
    "LSTM(depth=10**8)": "Expected a depth of at most 1,000 layers; got 100000000.",
    "Transformer(depth=10**8)": "Expected a depth of at most 1,000 layers; got 100000000.",
    "Transformer(width=2**70 + 1)": "Expected heads that divide the width 1180591620717411303425",
    "SoftPrompt(10**8)": "Expected a prompt length of at most 1,048,576 rows; got 100000000.",
    "HardPrompt(10**8)": "Expected a prompt length of at most 1,048,576 rows; got 100000000.",
    "RandomPrompt(10**8)": "Expected a prompt length of at most 1,048,576 rows; got 100000000.",
    "play(key, {'ucb': UCB1()}, BernoulliBandit(), 10**8)": "Expected at most 16,777,216 rounds of",
    "px.generate(key, COINS.bayes(), 10**8)": "Expected a length of at most 67,108,864 tokens; got",
    "Expectations(COINS, 10**8)": "Expected a length of at most 1,048,576 steps to sum exactly",
    "diagnose(COINS, Categorical(), steps=10**8)": "Expected a length of at most 1,048,576 steps",
    "Expectations(COINS, 2).best_prompt(COINS.bayes(), 10**8)": "Expected at most 5,000,000 prompt",
    "KnownTree(3)": "Expected a tuple of tuples of whole numbers as KnownTree.suffixes; got 3.",
    "KnownTree((1, 2))": "Expected a tuple of tuples of whole numbers as KnownTree.suffixes; got (",
    "Recorded(np.ones((9, 50)))": "Expected text as Recorded.path; got an array of shape (9, 50), "
    "float64. For data in memory write Recorded(sequences=...).",
    "Recorded(['01'] * 99)": "Expected text as Recorded.path; got ['01', '01', '01', '01',",
    "Recorded(sequences=[[1, 2]], alphabet=range(2))": "Expected tokens from 0 to 1 (and -1 past "
    "the end); got 1 to 2. If yours count from 1, subtract 1; else give the whole alphabet.",
    "Recorded(sequences=3)": "Expected sequences, a row of whole numbers each; got 3.",
    "px.FitSettings(learning_rate=np.zeros((0, 2)))": "Expected learning_rate above zero or None",
    "px.FitSettings(learning_rate=True)": "Expected a number or a tuple of numbers or None as FitS",
    "SoftPrompt(learning_rate=np.full(2, .1))": "Expected a number or None as SoftPrompt.learning_",
    "SoftPrompt(learning_rate=np.array(nan))": f"Expected {HELD} as SoftPrompt.learning_rate",
    "Experiment(targets={'a': 3})": "Expected a dict from words to instances of Task as Exper",
    "px.pretrain(key, LSTM(width=2), COINS, px.FitSettings(batch=10**8, length=5))": "Expected at "
    "most 268,435,456 numbers in the sequences of an update; got 500,000,000. Choose",
    "Annealing(2).tune(key, COINS.bayes(), COINS, px.FitSettings(batch=10**8))": "Expected at most "
    "268,435,456 numbers in the sequences of a step; got",
    "px.analysis.algorithm_distances({1: COINS.bayes()}, {2: COINS.bayes()}, COINS, key, length="
    "9, sequences=10**8)": "Expected at most 268,435,456 numbers in the sequences, and what",
    "px.analysis.order_sensitivity(COINS.bayes(), [[0, 1]], key, orders=10**8)": "Expected 2 to 10",
    "px.analysis.order_sensitivity(COINS.bayes(), [0, 1], key)": "Expected tokens [sequence, time]",
    "px.analysis.relative_position([.1], [.2], None)": "Expected numbers as between; got None.",
    "px.analysis.mean_cosine([[1.0]], ['a'])": "Expected numbers as theirs; got a list.",
    "px.analysis.principal_components([['a']])": "Expected numbers as states of principal_compon",
    "diagnose(MarkovChain(), Categorical((0.2, 0.8)), 1000)": "Expected prompts of at most 128 sym",
    "promptability(HiddenMarkov(), Categorical((0.2, 0.8)), 129)": "Expected prompts of at mo",
    "LSTM(width=10**11)": "Expected a width of at most 16,777,216; got 10",
    "GRU(width=10**9)": "Expected a width of at most 16,777,216; got 1000000000 in G",
    "px.pretrain(key, LSTM(width=10**7), COINS)": "Expected a predictor, and the sequences of an u",
    "promptability(COINS, Categorical((0.2, 0.8)), 10**7)": "Expected at most 5,000,000 prompts to",
    "diagnose(COINS, Categorical((0.2, 0.8)), 10**7)": "Expected at most 5,000,000 prompts to try",
    "px.evaluate(key, {}, COINS, 4, 3, prior=1j)": "Expected an instance of Task or None as prior ",
    "px.mix(COINS.bayes(), [[0], [1]], 'word')": "Expected a Sequence or None as weights of mix; g",
    "px.generate(key, COINS.bayes(), 3, stop=10)": "Expected a list of tokens as stop, each of",
    "px.generate(key, COINS.bayes(), 3, temperature={})": "Expected numbers as temperature",
    "px.compress(COINS.bayes(), [0], callbacks=3)": "Expected callbacks, functions of (done, total",
    "px.decompress(COINS.bayes(), b'', callbacks=[3])": "Expected callbacks, functions of (done, t",
    "px.analysis.effective_priors({}, COINS, callbacks='ab')": "Expected callbacks, functions of (",
    "SoftPrompt().tune(key, 3, COINS, probes=3)": "Expected probes, a sequence of Probe; got int.",
    "px.pretrain(key, LSTM(width=2), COINS, probes=[print])": "Expected a Probe, such as Probe(100",
    "px.compress(COINS.bayes(), [0], context=dict)": "Expected a whole number or None as context o",
    "px.analysis.principal_components(px.FitSettings())": "Expected numbers as states of principal",
    "SoftPrompt().tune(key, 3, COINS, checkpoint='a')": "Expected a checkpoint, such as promptax.C",
    "HardPrompt().tune(key, 3, COINS, callbacks=3)": "Expected callbacks, a sequence of functions ",
    "px.predict(COINS.bayes())": "predict() missing 1 required positional argument: 'tokens'",
    "sampled(key, 2.5)": "Expected length, a whole number of at least 0; got 2.5.",
    "Genewein2025(pretraining_seeds=10**8)": "Expected pretraining_seeds of at most 10,000; got",
    "Genewein2025(repetitions=0)": "Expected repetitions of at least 1; got 0.",
    "Genewein2025(methods=['soft'])": "Expected methods, each once, from ('hard prompt', 'simplex",
    "CoinsInLanguage(tuning_seeds=0)": "Expected tuning_seeds of at least 1; got 0.",
    "OfAPlugin(pretraining_seeds=0)": "Expected pretraining_seeds of at least 1; got 0.",
    "Reddy2023(seeds=0)": "Expected seeds of at least 1; got 0.",
    "Adapting('lstm', MAML())": "Expected a Predictor, such as LSTM(width=8).build(key, 2);",
    "Adapting(COINS.bayes(), None)": "Expected an InnerSteps, such as MAML(); got NoneType.",
    "ledger(key, NETWORK, COINS, Categorical(), sequences=10**8)": "Expected at",
    "effective_prior(NETWORK, Categorical(), 10**8, key=key)": "Expected at most",
    "induction_heads(HEADS, key, 10**8)": "Expected at most",
    "induction_heads(HEADS, key, 1, 10**8)": "Expected at most",
    "replay(key, NETWORK, COINS, ONE_STEP, rates=2**70)": "Expected numbers or ",
    "replay(key, NETWORK, COINS, ONE_STEP, rates=[nan])": "Expected a finite rat",
    "replay(key, NETWORK, COINS, ONE_STEP, weights=object())": "Expected numbers",
    "timber(NETWORK, NETWORK, rest='a')": "Expected a number as rest of timber; got 'a'.",
    "timber(NETWORK, NETWORK, rest=np.zeros(2))": "Expected a number as rest of timber; got a nda",
    "timber(NETWORK, NETWORK, rest=True)": "Expected rest, a number between 0 and 1; got True.",
    "own_answers(NETWORK, COINS)": "Expected a ContextFacts, such as ContextFacts(); got Dirichlet",
    "grounding(3, ContextFacts())": "Expected a predictor to steer; got int.",
    "order_and_choice(NETWORK, 3, 2)": "Expected an Exam, such as Exam(task, task.split()); got in",
    "summarise_spread(SCORES.astype(str))": "Expected scores of order_and_choice; got a Dataset of",
    "summarise_spread(SCORES.mean('draw'))": "Expected scores of order_and_choice; got a Dataset",
    "summarise_spread(SCORES.isel(draw=[0]))": "Expected scores of at least 2 draws, 2 orders and",
    "summarise_spread(xr.Dataset())": "Expected scores of order_and_choice; got a Dataset of .",
    "forgetting(key, NETWORK, OML(support=3), Categorical((.2, .3, .5)))": "Expected a task over t",
    "MetaSPO(sequences=10**8).search(key, NETWORK, [COINS])": "Expected at most 268,435,456 number",
    "MetaSPO(candidates=10**9).search(key, NETWORK, [COINS])": "Expected at most 268,435,456 numbe",
    "MetaSPO().search(key, NETWORK, [COINS], shared=[[0], [0, 1]])": "Expected one array, or lists",
    "minimise(lambda x, _: x * x, 1.0, None, steps=2**70)": "Expected at least 1 step, and 1 of th",
    "minimise(lambda x, _: x * x, 1.0, None, solver_steps=2**70)": "Expected at least 1 step, and",
    "ImplicitMAML(solver_steps=2**70)": "Expected at least 1 solver step, and at most 1,000,000; g",
    "MAML(inner_steps=2**70)": "Expected at least 1 inner step, and at most 1,000,000; got 1180591",
    "MetagradientDescent(runs=10**8)": "Expected at least 1 run, and at most 100,000; got 10000000",
    "MetagradientDescent().descend(sum, 'word')": "Expected arrays of floats to start from; got no",
    "MetagradientDescent().descend(sum, [2**70])": "Expected arrays of floats to start from; got n",
    "MetagradientDescent().descend(sum, [nan])": "Expected finite numbers to start from; got NaN",
    "MetagradientDescent().descend(np.shape, 1.0)": "Expected a loss that returns one float, such",
    "effective_ranks(None, NETWORK)": "Expected a predictor to steer; got NoneType.",
    "sampled(key, -1)": "Expected length, a whole number of at least 0; got -1.",
    "sampled(key, None)": "Expected length, a whole number of at least 0; got None.",
    "sampled(key, 2**70)": "Expected length of at most 67,108,864; got 11805916207174",
    "sampled(0, 3)": "Expected one random key, such as jax.random.key(0); got int 0.",
    "px.generate(key, COINS.bayes(), 2.5)": "Expected length, a whole number; got 2.5.",
    "COINS.sample(key, 2.5)": "Expected length, a whole number of at least 0; got 2.5.",
    "COINS.sample(key, -1)": "Expected length, a whole number of at least 0; got -1.",
    "COINS.sample(key, True)": "Expected length, a whole number of at least 0; got True.",
    "COINS.sample(key, None)": "Expected length, a whole number of at least 0; got None.",
    "COINS.sample(3, 2)": "Expected one random key, such as jax.random.key(0); got int 3.",
    "COINS.sample(jax.random.split(key), 2)": "Expected one random key, such as jax.random.key(0)",
    "COINS.sample(length='2', key=key)": "Expected length, a whole number of at least 0; got '2'.",
    "MarkovChain().sample(key, 1.0)": "Expected length, a whole number of at least 0; got 1.0.",
    "LinearRegression().sample(key, np.float32(2))": "Expected length, a whole number of at least",
    "Recorded(sequences=[[0, 1]]).sample(key, [2])": "Expected length, a whole number of at least",
    "COINS.oracle_entropy(2.5)": "Expected length, a whole number of at least 0; got 2.5.",
    "COINS.log_evidence([0, 2])": "Expected tokens from 0 to 1; got 0 to 2. The task's alphabet",
    "COINS.log_evidence([0.5])": "Expected tokens of shape [time] (int); got shape (1,), float64.",
    "COINS.log_evidence([2**33])": "Expected tokens from 0 to 1; got 8589934592 to 8589934592",
    "COINS.oracle(np.array([.5, .5]), [0, -1])": "Expected tokens from 0 to 1; got -1 to 0. The",
    "Categorical((0.2, 0.8)).oracle(None, 'ab')": "Expected tokens of shape [time] (int); got sh",
    "LinearRegression().oracle(None, [[nan] * 6])": "Expected ",
    "LSTM(width=2).build(0, 2)": "Expected one random key, such as jax.random.key(0); got int 0.",
    "px.predict(COINS.bayes(), [[0], [0, 1]])": "Expected one array, or lists of equal lengths",
    "px.condition(COINS.bayes(), 'ab')": "Expected tokens of shape [time] (int) or weights [time,",
    "px.compress(COINS.bayes(), [[0], [0, 1]])": "Expected one array, or lists of equal lengths",
    "px.predict(COINS.bayes(), MASKED)": "Expected an array without masked entries as tokens of pr",
    "px.condition(COINS.bayes(), prompt=MASKED)": "Expected an array without masked entries as pro",
    "px.code_length(COINS.bayes(), MASKED)": "Expected an array without masked entries as tokens",
    "px.generate(key, COINS.bayes(), 3, MASKED)": "Expected an array without masked entries as pro",
    "COINS.log_evidence(MASKED)": "Expected an array without masked entries; got 1 of 2 masked.",
    "DirichletCategorical(MASKED)": "Expected an array without masked entries; got 1 of 2 masked.",
    "px.condition(COINS.bayes(), prompt=[MASKED, [1, 2]])": "Expected an array without masked entr",
    "px.condition(COINS.bayes(), [[0, MASKED[1]], [1, 2]])": "Expected an array without masked",
    "px.predict(COINS.bayes(), [0, MASKED[:0].sum()])": "Expected an array without masked entries",
    "px.analysis.mean_cosine([MASKED], [[1]])": "Expected an array without masked entries as ours",
    "px.save('it', {'a': MASKED})": "Expected an array without masked entries; got 1 of 2 masked.",
    "px.save('it', {'a': np.array([1, None], object)})": "Expected arrays of bool, int8, ",
    "px.save('it', {'a': jax.numpy.zeros(1, 'float8_e4m3fn')})": "Expected arrays of bool, int8,",
    "Recorded(sequences=[[0, 1]], alphabet=('R', 'R'))": "Expected an alphabet that names each sy",
    "TWICE[0.9]": "Expected the number of one repetition, such as repeated[0]; got 0.9.",
    "TWICE[True]": "Expected the number of one repetition, such as repeated[0]; got True.",
    "TWICE[0:1]": "Expected the number of one repetition, such as repeated[0]; got slice(0, 1",
    'specs.parse(Task)(\'{"class": "Categorical", "class": 1}\')': "Expected JSON such as",
    'specs.parse(Task)(\'{"class": "Mixture", "parts": \' + 900 * "[" + 900 * "]" + "}")': "Exp",
    "px.compress(COINS.bayes(), [0], context=2**31)": "Expected a context of at most 2,147,483,647",
    "px.generate(key, COINS.bayes(), 3, top_p=1e-40)": "Expected top_p above 0 and at most 1, or",
    "px.generate(key, COINS.bayes(), 3, temperature=1e38)": "Expected a temperature of at least 0",
    "px.generate(key, COINS.bayes(), 3, prompt=[0.5])": "Expected tokens of shape [time] (int) o",
}
HEAD = """
import json, jax, numpy as np, promptax as px, xarray as xr
from promptax import specs
from promptax.analysis import diagnose, effective_prior, induction_heads, ledger, promptability
from promptax.analysis import forgetting, grounding, own_answers
from promptax.decisions import *
from promptax.evaluation import Expectations
from promptax.experiments.experiment import Experiment
from promptax.fit import MAML, OML, Adapting, ImplicitMAML, MetagradientDescent, minimise, replay
from promptax.language.word_tasks.spread import order_and_choice, summarise_spread
from promptax.predictors import *
from promptax.steering import *
from promptax.studies import *
from promptax.tasks import *
inf, nan, key, COINS = float("inf"), float("nan"), jax.random.key(0), DirichletCategorical()
NETWORK, HEADS = (spec.build(key, 2) for spec in (LSTM(width=2), Transformer(width=2, heads=1)))
AXES = ("draw", "order", "sequence")
SCORES = xr.Dataset({name: (AXES, np.ones((2, 2, 2))) for name in ("log_loss", "correct")})
ONE_STEP = px.FitSettings(steps=1, batch=2, length=3)
def said(source):
    return said_by(lambda: eval(source))
def said_by(deed):
    try:
        return "accepted " + repr(deed())
    except (TypeError, ValueError) as error:
        return str(error)
def sampled(*given):
    "What every task says, if that is one and the same."
    tasks = [task.examples()[0] for task in specs.members(Task).values()]
    messages = {said_by(lambda task=task: task.sample(*given)) for task in tasks}
    raise ValueError(*messages)
MASKED = np.ma.array([0, 1], mask=[0, 1])
TWICE = px.pretrain(key, LSTM(width=2), COINS, px.FitSettings(1, 2, 3, repetitions=2)).predictor
THREE = np.int64(3)  # such as lengths.max()
assert px.generate(key, COINS.bayes(), THREE).shape == (3,)
assert px.compress(COINS.bayes(), [0, 1], context=THREE)
assert px.evaluate(key, {}, COINS, THREE, THREE, chunk=THREE).sizes["time"] == 3
assert px.FitSettings(steps=np.int64(3), learning_rate=np.float32(0.5)).steps == 3
assert Symbols(np.int32(3)) == Symbols(3)
class OfAPlugin(Genewein2025):
    width: int = 20_000
    first_seed: int = 0
assert OfAPlugin().width == 20_000  # not every whole number counts seeds
"""


def test_doors_refuse_what_they_cannot_hold(tmp_path):
    """In a process of its own: the types that tests check would refuse some of it first."""
    code = f"{HEAD}\nprint(json.dumps(list(map(said, {list(SPECS)!r}))))\n"
    messages = json.loads(run_code(tmp_path, code))
    for (source, text), message in zip(SPECS.items(), messages, strict=True):
        assert message.startswith(text), f"{source} says {message!r}, not {text!r}"
