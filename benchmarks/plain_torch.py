"""The other side of the comparison in PyTorch, eager and compiled. An optional extra:

    pip install torch==2.13.0

The networks are the main paper's, with torch's own LSTM and scaled dot-product attention.
"""

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, HIDDEN = 128, 4, 512


class Transformer(nn.Module):
    """One block."""

    def __init__(self) -> None:
        super().__init__()
        dense = lambda n, m: nn.Linear(n, m, bias=False)  # noqa: E731
        self.query, self.key, self.value, self.mix = (dense(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = dense(WIDTH, HIDDEN), dense(HIDDEN, WIDTH)
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(3)])
        self.query_norm, self.key_norm = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Outputs [sequence, time, width]."""
        batch, length, _ = rows.shape
        rates = 1e4 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
        angles = torch.arange(length)[:, None] * rates
        rows = rows + torch.cat([angles.sin(), angles.cos()], -1)
        normed = self.norms[0](rows)
        heads = lambda x: x.view(batch, length, HEADS, -1).transpose(1, 2)  # noqa: E731
        query = heads(self.query_norm(self.query(normed)))
        key, value = heads(self.key_norm(self.key(normed))), heads(self.value(normed))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        rows = rows + self.mix(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        inner = F.gelu(self.up(self.norms[1](rows)), approximate="tanh")
        return self.norms[2](rows + self.down(inner))


class Model(nn.Module):
    """Embedding, torso, unembedding, and perhaps a soft prompt."""

    def __init__(self, network: str, prompt: bool) -> None:
        super().__init__()
        self.embed, self.unembed = nn.Linear(2, WIDTH), nn.Linear(WIDTH, 2)
        lstm = network == "LSTM"
        self.torso = nn.LSTM(WIDTH, WIDTH, batch_first=True) if lstm else Transformer()
        self.prompt = nn.Parameter(torch.eye(6, WIDTH)) if prompt else None
        if prompt:
            for name, each in self.named_parameters():
                each.requires_grad = name == "prompt"

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Losses in nats [sequence, time]."""
        batch, length = tokens.shape
        one_hot = F.one_hot(tokens, 2).float()
        rows = self.embed(F.pad(one_hot[:, :-1], (0, 0, 1, 0)))
        if self.prompt is not None:
            prompt = self.prompt.expand(batch, -1, -1)
            rows = torch.cat([rows[:, :1], prompt, rows[:, 1:]], 1)
        outputs = self.torso(rows)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        log_probs = F.log_softmax(self.unembed(outputs[:, -length:]), -1)
        return -(log_probs * one_hot).sum(-1)


def evaluation(network: str, compiled: bool, sequences: int = 2048, length: int = 200) -> Callable:
    """Losses of all sequences, in chunks of 256; returns seconds."""
    model = Model(network, False)
    loss = torch.compile(model) if compiled else model

    def run(updates: int) -> float:
        started = time.perf_counter()
        with torch.no_grad():
            for _ in range(updates):
                for _ in range(sequences // 256):
                    loss((torch.rand(256, length) < 0.8).long()).numpy()
        return (time.perf_counter() - started) / updates

    return run


def update(network: str, job: str, length: int, compiled: bool) -> Callable[[int], float]:
    """A job as a function of how many updates to run, which returns seconds per update."""
    torch.manual_seed(0)
    model = Model(network, job == "soft prompt")
    tuned = [each for each in model.parameters() if each.requires_grad]
    adam = torch.optim.Adam(tuned, lr=1e-3)
    loss = torch.compile(model) if compiled else model

    def run(updates: int) -> float:
        started = time.perf_counter()
        for _ in range(updates):
            bias = torch.rand(256, 1) if job == "pretraining" else 0.8
            tokens = (torch.rand(256, length) < bias).long()
            adam.zero_grad()
            (loss(tokens).sum() / 256).backward()
            nn.utils.clip_grad_norm_(tuned, 1.0)
            adam.step()
        return (time.perf_counter() - started) / updates

    return run
