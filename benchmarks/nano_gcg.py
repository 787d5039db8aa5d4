"""The other side of `gcg.py`, which starts it: nanoGCG on PyTorch, in a process of its own. It
collects garbage after every reading, which would take longer among the objects of JAX.

    pip install torch==2.13.0 transformers==4.47.1 nanogcg==0.3.0
"""

import itertools
import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from nanogcg.gcg import GCG, GCGConfig
from transformers import AutoModelForCausalLM

BEGIN = 1  # the token that opens every sequence, which ours reads by itself


class Numbers:
    """A tokenizer whose texts are numbers of tokens, so that both sides read the same tokens. What
    nanoGCG asks of a tokenizer, and no more."""

    chat_template = "numbers"
    bos_token = None

    def apply_chat_template(self, messages: Sequence[dict], **options: Any) -> str:
        """The begin token, and what the user says."""
        del options
        return f"{BEGIN} {messages[-1]['content']}"

    def __call__(self, texts: str | Sequence[str], **options: Any) -> dict[str, torch.Tensor]:
        del options
        rows = [texts] if isinstance(texts, str) else texts
        tokens = [[int(word) for word in row.split()] for row in rows]
        return {"input_ids": torch.tensor(tokens, dtype=torch.int64)}

    def batch_decode(self, rows: torch.Tensor) -> list[str]:
        """The texts of rows of tokens."""
        return [in_words(row.tolist()) for row in rows]


class Stamped(GCG):
    """nanoGCG that looks at the clocks before every step."""

    def compute_token_gradient(self, optim_ids: torch.Tensor) -> torch.Tensor:
        """A step begins with the gradient."""
        self.stamps.append(clocks())
        return super().compute_token_gradient(optim_ids)


def clocks() -> tuple[float, float]:
    """Seconds that passed, and seconds that all cores worked for this process."""
    return time.perf_counter(), time.process_time()


def in_words(tokens: Sequence[int]) -> str:
    """Tokens as `Numbers` reads them."""
    return " ".join(map(str, tokens))


def main() -> None:
    """Answer questions of the other process, one a line: the name of a function below, and its
    arguments, as JSON."""
    logging.getLogger("nanogcg").setLevel("ERROR")
    only = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=torch.float32, **only)
    model.train(False)
    model.requires_grad_(False)
    answers = {"search": search, "losses": losses}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(answers[name](model, **arguments)), flush=True)


def search(
    model: Any,
    start: Sequence[int],
    target: Sequence[int],
    steps: int,
    candidates: int,
    top: int,
    keep: int,
    at_once: int | None,
    seed: int,
) -> tuple[list[tuple[float, float]], list[float]]:
    """Seconds of every step by both clocks, and the best loss of every step, nats per sequence.

    `keep`: size of the buffer; 0 always moves to the best candidate, 1 keeps the best prompt so
    far, as ours does.
    """
    config = GCGConfig(
        num_steps=steps,
        optim_str_init=in_words(start),
        search_width=candidates,
        topk=top,
        buffer_size=keep,
        batch_size=at_once,
        allow_non_ascii=True,  # ours searches the whole alphabet, too
        filter_ids=False,
        seed=seed,
    )
    searcher = Stamped(model, Numbers(), config)
    searcher.stamps = []
    result = searcher.run("", in_words(target))
    stamps = [*searcher.stamps, clocks()]
    seconds = [
        (after[0] - before[0], after[1] - before[1]) for before, after in itertools.pairwise(stamps)
    ]
    return seconds, [loss * len(target) for loss in result.losses]


@torch.no_grad()
def losses(
    model: Any, prompts: Sequence[Sequence[int]], target: Sequence[int], at_once: int | None
) -> list[float]:
    """The loss behind each prompt as nanoGCG reads it, nats per sequence."""
    searcher = GCG(model, Numbers(), GCGConfig(use_prefix_cache=False, allow_non_ascii=True))
    embed = model.get_input_embeddings()
    rows = torch.tensor([[BEGIN, *prompt, *target] for prompt in prompts])
    searcher.target_ids = torch.tensor([target])
    means = searcher._compute_candidates_loss_original(at_once or len(rows), embed(rows))
    return (means * len(target)).tolist()


if __name__ == "__main__":
    main()
