"""What hidden Markov models share as tasks, one known model or several candidates."""

import abc

from jaxtyping import Array, Float, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode
from promptax.tasks.base import Task
from promptax.tasks.hidden.forward import ForwardFilter, Models, Path


class HiddenTask(Task):
    """A task whose latent is a path of hidden states. A member owes its fields and `models()`."""

    @abc.abstractmethod
    def models(self) -> Models:
        """The candidates, as arrays."""

    @property
    def symbols(self) -> int:
        return self.models().emission.shape[2]

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        tokens, path = self.models().sample(key, length)
        return Episode(tokens, latent=path)

    def oracle(self, latent: Path, tokens: Tokens) -> LogProbs:
        return self.models().oracle(latent, tokens)

    def bayes(self) -> ForwardFilter:
        return ForwardFilter(*self.models())

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return self.models().oracle_entropy(length)

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        return self.models().log_evidence(tokens)
