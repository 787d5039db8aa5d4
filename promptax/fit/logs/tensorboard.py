"""A log for TensorBoard, by tensorboardX, which needs neither TensorFlow nor PyTorch."""

import os
from typing import Any

from promptax import files
from promptax.fit.logs.base import Log, Metrics, package_of


class TensorBoard(Log):
    """Writes means over repetitions to a folder of TensorBoard: `tensorboard --logdir FOLDER`.

    A resumed run writes all of its steps again; TensorBoard shows the later ones alone. So another
    fit needs another folder.

    Raises:
        ImportError: tensorboardX is not installed.

    Example: `px.pretrain(key, network, task, callbacks=(TensorBoard("runs/tensorboard"),))`.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.module = package_of("tensorboardX", "tensorboard")
        self.folder = files.path_of(folder)
        self.writer: Any = None

    def hear(self, metrics: Metrics) -> None:
        if self.writer is None:  # what an earlier run wrote from step 1 on is hidden
            self.writer = self.module.SummaryWriter(str(self.folder), purge_step=1)
        for step, numbers in metrics.means():
            for name, number in numbers.items():
                self.writer.add_scalar(name, number, step)
        self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None
