"""Facts that a language model may know, asked for in sentences behind contexts.

What `ContextFacts` and `analysis.grounding` are for symbols, this is for words: the capital of a
country behind a sentence that agrees with the model, contradicts it, or speaks of another country.
Tuned are answers alone; contexts and questions are read (CINGS, Lee et al. 2025). Contradicted
answers are the context's, all others the model's own (KAFT, Li et al. 2022, arXiv 2211.05110).

An answer is the likeliest first token among those of all answers, so that no two answers may begin
with the same token, and one reading of a question compares them all.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from promptax.axes import labelled
from promptax.language.texts import Texts
from promptax.language.tokenizer import SMOLLM2, Tokenizer
from promptax.language.word_tasks.pairs import Pair
from promptax.protocol.predictor import Predictor
from promptax.specs import Spec, check, check_whole_numbers
from promptax.streaming import stepping
from promptax.tasks.facts.context_facts import KINDS
from promptax.tasks.recorded import PAD, as_rows

QUESTIONS_AT_ONCE = 16  # rows of log probabilities over a large alphabet: 50 MB

Known = Mapping[str, str]  # what the model answers by itself to each input


class Sentences(Spec):
    """How a fact is said in a context, and how it is asked for; the answer follows behind a
    space."""

    said: str = "The capital of {} is {}. "
    asked: str = "The capital of {} is"

    def __check_init__(self) -> None:
        for name, holes in (("said", 2), ("asked", 1)):
            text = getattr(self, name)
            check(
                text.count("{}") == text.count("{") == text.count("}") == holes,
                f"Expected {name} with {holes} times {{}}, for the input"
                f"{' and the answer' if holes == 2 else ''}, and no other braces; got {text!r}.",
            )

    def prompt(self, given: str, context: Pair | None) -> str:
        """All before the answer. `context`: the fact that is said first (None: nothing)."""
        said = "" if context is None else self.said.format(*context)
        return said + self.asked.format(given)


class ContextQuestions:
    """Pairs of a word task, asked for behind contexts about the same pairs.

    | context | what it says | the answer |
    |---|---|---|
    | relevant | the pair, with the answer that is known | that answer |
    | counterfactual | the pair, with an answer of another pair | the context's |
    | irrelevant | another pair | the answer that is known |
    | empty | nothing | the answer that is known |

    What is known is what the model says before it is tuned (`own_answers`), right or wrong.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        candidates: Sequence[str] | None = None,
        tokenizer: str = SMOLLM2,
        sentences: Sentences = Sentences(),
    ) -> None:
        """`candidates`: all answers that may be given, those of `pairs` among them (None: those
        alone). `apart` leaves out pairs whose answers begin alike."""
        self.pairs = tuple(Pair(*pair) for pair in pairs)
        self.name, self.sentences = tokenizer, sentences
        self.tokenizer = Tokenizer.named(tokenizer)
        self.answers = tuple(pair.answer for pair in self.pairs)
        self.candidates = self.answers if candidates is None else tuple(candidates)
        firsts = first_tokens(self.candidates, self.tokenizer)
        check(
            len(set(firsts)) == len(firsts) and set(self.answers) <= set(self.candidates),
            "Expected candidates that begin with different tokens, all answers among them; got "
            f"{self.candidates!r:.80}. Leave pairs out: apart(pairs, tokenizer).",
        )
        check(
            len(self.pairs) >= 3,
            "Expected at least 3 pairs, so that a context can speak of another answer than the "
            f"right one and the model's; got {len(self.pairs)}.",
        )
        given = [pair.given for pair in self.pairs]
        again = sorted({word for word in given if given.count(word) > 1})
        check(not again, f"Expected each input once; got again: {again!r:.80}.")
        self.firsts = np.array(firsts, np.int32)

    def own_answers(self, predictor: Predictor) -> dict[str, str]:
        """What a predictor answers to each input without a context."""
        prompts = [self.sentences.prompt(pair.given, None) for pair in self.pairs]
        given = [pair.given for pair in self.pairs]
        return dict(zip(given, self._answers(predictor, prompts), strict=True))

    def texts(
        self, known: Known, kinds: Sequence[str] = KINDS, *, copies: int = 4, seed: int = 0
    ) -> Texts:
        """Questions behind contexts as a task to tune to; answers alone are scored.

        Args:
            known: each input's answer (`own_answers`).
            kinds: of contexts, all equally frequent: relevant and counterfactual are CINGS, all
                four KAFT, empty alone the control.
            copies: how many contexts of a kind each pair has.
        """
        written = [
            {"prompt": prompt, "completion": f" {answer}"}
            for prompt, answer, _ in self._questions(known, kinds, copies, seed)
        ]
        return Texts(sequences=written, tokenizer=self.name, end=False)

    def grounding(
        self, predictor: Predictor, known: Known, *, contexts: int = 4, seed: int = 0
    ) -> xr.Dataset:
        """Ask each pair behind nothing, and behind `contexts` contexts of every other kind.

        Variables [sequence], shares of a pair's questions from 0 to 1, named as in
        `promptax.analysis.Grounding`: `own`, `relevant`, `controllability`, `robustness`. Also
        `right`, without a context: the task's answer; and `distracted`, behind an irrelevant
        context: answered as that context says.
        """
        check_whole_numbers(contexts=contexts)
        questions = list(self._questions(known, KINDS, contexts, seed))
        given = self._answers(predictor, [prompt for prompt, _, _ in questions])
        answers = np.reshape(given, (len(self.pairs), len(KINDS), contexts))
        wanted, said = (
            np.reshape([question[column] for question in questions], answers.shape)
            for column in (1, 2)
        )
        as_wanted, as_said = ((answers == text).mean(axis=2) for text in (wanted, said))
        by_itself = answers[:, KINDS.index("empty"), 0]
        shares = {
            "own": as_wanted[:, KINDS.index("empty")],
            "relevant": as_wanted[:, KINDS.index("relevant")],
            "controllability": as_wanted[:, KINDS.index("counterfactual")],
            "robustness": as_wanted[:, KINDS.index("irrelevant")],
            "distracted": as_said[:, KINDS.index("irrelevant")],
            "right": (by_itself == np.array(self.answers)).astype(float),
        }
        return labelled(
            {name: ("sequence", share) for name, share in shares.items()},
            {"sequence": [pair.given for pair in self.pairs]},
        )

    def _questions(
        self, known: Known, kinds: Sequence[str], copies: int, seed: int
    ) -> Iterator[tuple[str, str, str]]:
        """Of each pair, kind and copy: what is read, the answer, and what the context says."""
        unknown = [kind for kind in kinds if kind not in KINDS]
        check(len(kinds) > 0 and not unknown, f"Expected kinds from {KINDS}; got {kinds!r}.")
        check_whole_numbers(copies=copies, seed=seed)
        check(
            copies >= 1 and seed >= 0,
            f"Expected copies of at least 1, and a seed of at least 0; got {copies} and {seed}.",
        )
        for index, pair in enumerate(self.pairs):
            check(pair.given in known, f"Expected a known answer to each input; {pair} has none.")
            answer, rng = known[pair.given], np.random.default_rng((seed, index))
            check(
                answer in self.candidates,
                f"Expected known answers among the candidates; got {answer!r} for {pair.given!r}.",
            )
            others = [other for other in self.pairs if other != pair]
            # another pair that says neither what is right nor what is known
            wrong = [other for other in others if other.answer != answer]
            for kind in kinds:
                order = rng.permutation(len(wrong))  # one after the other, so that few repeat
                for copy in range(copies):
                    other = wrong[order[copy % len(wrong)]]
                    context = {
                        "relevant": Pair(pair.given, answer),
                        "counterfactual": Pair(pair.given, other.answer),
                        "irrelevant": other,
                        "empty": None,
                    }[kind]
                    follows = other.answer if kind == "counterfactual" else answer
                    said = "" if context is None else context.answer
                    yield self.sentences.prompt(pair.given, context), follows, said

    def _answers(self, predictor: Predictor, prompts: Sequence[str]) -> list[str]:
        """The likeliest candidate behind each prompt."""
        predictor = stepping.ready(predictor)
        check(
            predictor.symbols == self.tokenizer.symbols,
            f"Expected a predictor over the tokenizer's {self.tokenizer.symbols} symbols; got "
            f"{predictor.symbols}. Name its own tokenizer.",
        )
        places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        rows = as_rows([self.tokenizer.encode(prompt) for prompt in places])
        missing = (0, -len(rows) % QUESTIONS_AT_ONCE), (0, 0)
        rows = np.pad(rows, missing, constant_values=0)
        lengths = (rows != PAD).sum(axis=1)
        pieces = rows.reshape(-1, QUESTIONS_AT_ONCE, rows.shape[1])
        with jax.default_matmul_precision("float32"):  # accelerators round otherwise
            log_probs = _last_rows(
                predictor,
                jnp.asarray(np.maximum(pieces, 0)),
                jnp.asarray(lengths.reshape(pieces.shape[:2]) - 1),
                jnp.asarray(self.firsts),
            )
        likeliest = np.asarray(log_probs).reshape(len(rows), -1).argmax(axis=1)
        return [self.candidates[likeliest[places[prompt]]] for prompt in prompts]


def first_tokens(answers: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    """The first token of each answer, behind a space."""
    return [int(tokenizer.encode(f" {answer}")[0]) for answer in answers]


def apart(pairs: Sequence[Pair], tokenizer: Tokenizer) -> tuple[Pair, ...]:
    """The pairs whose answers begin with another token than every earlier one's."""
    kept: dict[int, Pair] = {}
    firsts = first_tokens([pair.answer for pair in pairs], tokenizer)
    for first, pair in zip(firsts, pairs, strict=True):
        kept.setdefault(first, pair)
    return tuple(kept.values())


@eqx.filter_jit
def _last_rows(
    predictor: Any,
    tokens: Int[Array, "piece sequence time"],
    last: Int[Array, "piece sequence"],
    firsts: Int[Array, " candidate"],
) -> Float[Array, "piece sequence candidate"]:
    """Log probabilities, in nats, of what may follow after all of a question.

    A row predicts the token of its own place, so questions are read one place further."""

    def read(piece: tuple[Array, Array]) -> Array:
        tokens, last = piece
        further = jnp.pad(tokens, ((0, 0), (0, 1)))
        _, prediction = predictor.advance_batch(predictor.start(), further)
        rows = prediction.log_probs[:, :, firsts]
        return jnp.take_along_axis(rows, last[:, None, None] + 1, axis=1)[:, 0]

    return jax.lax.map(read, (tokens, last))
