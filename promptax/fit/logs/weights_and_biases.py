"""A log for Weights & Biases."""

from typing import Any

from promptax.fit.logs.base import Log, Metrics, package_of


class WeightsAndBiases(Log):
    """Logs means over repetitions to a run of Weights & Biases, which lasts as long as the fit;
    another fit makes another run.

    `settings`: what `wandb.init` takes, such as project, name, dir, and mode="offline", which keeps
    the run on disk for `wandb sync`. With `id` and resume="allow", a resumed fit goes on in the run
    of that id, which takes only steps that it does not have.

    Raises:
        ImportError: wandb is not installed.

    Example: `px.pretrain(key, network, task, callbacks=(WeightsAndBiases(project="coins"),))`.
    """

    def __init__(self, **settings: Any) -> None:
        self.module = package_of("wandb", "wandb")
        self.settings = settings
        self.run: Any = None

    def hear(self, metrics: Metrics) -> None:
        if self.run is None:
            self.run = self.module.init(**self.settings)
        for step, numbers in metrics.means():
            if step >= self.run.step:  # a resumed run has the earlier ones
                self.run.log(numbers, step=step)

    def close(self) -> None:
        self._finish(0)

    def fail(self) -> None:
        self._finish(1)

    def _finish(self, exit_code: int) -> None:
        """End the run; with an exit code other than 0 it is shown as failed."""
        if self.run is not None:
            self.run.finish(exit_code=exit_code)
            self.run = None
