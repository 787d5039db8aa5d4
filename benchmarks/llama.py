"""A language model of 135 million weights: ours beside `transformers` on PyTorch, in turns.

    python benchmarks/llama.py --peak-memory          # our start-up, and memory of a soft prompt
    python benchmarks/llama.py --transformers FOLDER  # FOLDER: the same weights in the Hugging Face
                                                      # format, which --write FOLDER makes

Jobs: reading 512 tokens; 32 greedy tokens after a prompt of 64; and one step of a soft prompt of 6
rows, 8 sequences of 64 tokens. transformers, torch 2.13.0 and accelerate are not installed by any
extra.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

import promptax as px
from promptax.experiments import bench
from promptax.formats.llama import LAYER, OUTSIDE
from promptax.language import Texts
from promptax.predictors import Llama, Network
from promptax.steering import SoftPrompt
from promptax.streaming import stepping

PROMPT, NEW, READ, BATCH, TIME, ROWS = 64, 32, 512, 8, 64, 6
WEIGHTS, EMBEDDINGS = 106.2e6, 28.3e6  # in layers; in the embedding, which also unembeds
Job = Callable[[int], float]  # how often → seconds each


def some_tokens(*shape: int) -> np.ndarray:
    """Ordinary words, at random."""
    return np.random.default_rng(0).integers(100, 40_000, shape)


def timed(once: Callable[[], object]) -> Job:
    """A contender for `bench.in_turns`."""

    def run(times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            jax.block_until_ready(once())
        return (time.perf_counter() - started) / times

    return run


def ours(network: Network) -> dict[str, Job]:
    """The jobs through the front door."""
    long, short = some_tokens(READ), some_tokens(PROMPT)
    texts = Texts(sequences=some_tokens(64, TIME), vocabulary=network.symbols)
    tuner = SoftPrompt(length=ROWS, initial="tokens")

    def read() -> object:
        return stepping.after(network, 2 * READ, long)

    def generate() -> object:
        return px.generate(jax.random.key(0), network, NEW, short, temperature=0.0)

    def steps(count: int) -> float:
        stamps = []
        callback = lambda done, total, note: stamps.append(time.perf_counter())  # noqa: E731
        more = px.FitSettings(batch=BATCH, length=TIME, steps=count + 1)
        tuner.tune(jax.random.key(0), network, texts, more, callbacks=(callback,))
        return (stamps[-1] - stamps[0]) / count

    return {"read": timed(read), "generate": timed(generate), "soft prompt": steps}


def theirs(folder: Path) -> dict[str, Job]:
    """The jobs as a careful user of `transformers` writes them, who has to give the begin token
    that ours reads by itself."""
    import torch
    from transformers import AutoModelForCausalLM

    only = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **only)
    model.train(False)
    model.requires_grad_(False)
    begin = [model.config.bos_token_id]
    long, short = (torch.tensor([*begin, *some_tokens(n)])[None] for n in (READ, PROMPT))
    batches = torch.tensor(some_tokens(64, TIME))
    rows = torch.nn.Parameter(model.get_input_embeddings()(torch.arange(ROWS))[None].clone())
    adam = torch.optim.Adam([rows], 5e-3)

    @torch.no_grad()
    def read() -> object:
        return model(long, use_cache=True, logits_to_keep=1)

    @torch.no_grad()
    def generate() -> object:
        return model.generate(short, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False)

    def step() -> object:
        some = batches[torch.randint(0, 64, (BATCH,))]
        embedded = model.get_input_embeddings()(some)
        given = torch.cat([rows.expand(BATCH, -1, -1), embedded], 1)
        logits = model(inputs_embeds=given, use_cache=False).logits[:, ROWS - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), some.flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
        return None

    return {"read": timed(read), "generate": timed(generate), "soft prompt": timed(step)}


def work(job: str) -> float:
    """Floating-point operations of a job's products, each matrix once forward and, where gradients
    go through it, once backward; attention aside."""
    if job == "read":
        return 2 * WEIGHTS * READ
    if job == "generate":
        return 2 * (WEIGHTS * (PROMPT + NEW) + EMBEDDINGS * NEW)
    return 2 * 2 * (WEIGHTS * (BATCH * TIME + ROWS) + EMBEDDINGS * BATCH * TIME)


def write(network: Network, folder: Path) -> None:
    """The weights in the Hugging Face format."""
    spec, layers = network.torso.spec, network.torso.layers  # pyright: ignore
    outside = {"embedding": network.embedding.weight, "norm": network.torso.norm}  # pyright: ignore
    arrays = {f"{OUTSIDE[ours][1]}.weight": array for ours, array in outside.items()}
    for ours_, (_, theirs_) in LAYER.items():
        stacked = getattr(layers, ours_)
        for i, array in enumerate(getattr(stacked, "weight", stacked)):
            arrays[f"model.layers.{i}.{theirs_}.weight"] = array
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": network.symbols,
        "hidden_size": spec.width,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.key_heads,
        "head_dim": spec.head_width,
        "intermediate_size": spec.hidden,
        "rms_norm_eps": spec.epsilon,
        "rope_theta": spec.rotary_base,
        "max_position_embeddings": 8192,
        "bos_token_id": spec.opens_with,
        "eos_token_id": 2,
        "tie_word_embeddings": spec.tied,
        "dtype": "float32",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    named = {name: np.asarray(array) for name, array in arrays.items()}
    safetensors.numpy.save_file(named, folder / "model.safetensors", {"format": "pt"})


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--transformers", type=Path, default=None)
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--peak-memory", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    started = time.perf_counter()
    network = Llama.smollm2_135m()
    jax.block_until_ready(jnp.sum(network.embedding.weight))
    megabytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # noqa: E731
    print(f"weights in memory after {time.perf_counter() - started:.1f} s, {megabytes():.0f} MiB")
    if given.write is not None:
        write(network, given.write)
        return
    jobs = ours(network)
    if given.peak_memory:
        jobs["soft prompt"](2)
        print(f"peak with a soft prompt's steps: {megabytes():.0f} MiB")
        return
    others = theirs(given.transformers) if given.transformers else {}
    peak = bench.matrix_product_peak()
    print(f"matrix products here reach {peak / 1e9:.0f} GFLOP/s\n")
    print("| job | ours, s | of the peak | transformers, s | ratio |\n|---|---|---|---|---|")
    for job, mine in jobs.items():
        both = {"ours": mine} | ({"theirs": others[job]} if others else {})
        found = bench.in_turns(both, 1, given.rounds)
        again = max(peak, bench.matrix_product_peak())
        share = work(job) / found["ours"] / again
        rest = f"{found['theirs']:.3f} | {found['theirs'] / found['ours']:.2f}" if others else "|"
        print(f"| {job} | {found['ours']:.3f} | {share:.0%} | {rest} |", flush=True)


if __name__ == "__main__":
    main()
