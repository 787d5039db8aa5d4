"""A language model of 135 million weights: ours beside `transformers` on PyTorch and llama.cpp, in
turns.

    python benchmarks/llama.py --peak-memory          # our start-up, and memory of a soft prompt
    python benchmarks/llama.py --transformers FOLDER  # FOLDER: the same weights in the Hugging Face
                                                      # format, which --write FOLDER makes

    python benchmarks/llama.py --llama-cpp            # the same GGUF file, in 4 bits

Jobs: reading 512 tokens; 32 greedy tokens after a prompt of 64; one step of a soft prompt of 6
rows, 8 sequences of 64 tokens; and reading 8 prompts of 24 to 126 tokens at once, or 32 greedy
tokens after each of them. transformers, torch, accelerate and llama-cpp-python are not installed
by any extra. On a machine with other work, `--processor-time` counts that of one thread;
say `XLA_FLAGS=--xla_cpu_multi_thread_eigen=false` before it.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

import promptax as px
from promptax.formats import fetch
from promptax.formats.llama import LAYER, OUTSIDE
from promptax.language import Texts
from promptax.predictors import Llama, Network
from promptax.steering import SoftPrompt
from promptax.streaming import batches, stepping

LENGTHS = (24, 31, 40, 52, 64, 79, 96, 126)  # of the prompts of a batch
PROMPT, NEW, READ, BATCH, TIME, ROWS = 64, 32, 512, 8, 64, 6
WEIGHTS, EMBEDDINGS = 106.2e6, 28.3e6  # in layers; in the embedding, which also unembeds
Job = Callable[[int], float]  # how often → seconds each


def some_tokens(*shape: int) -> np.ndarray:
    """Ordinary words, at random."""
    return np.random.default_rng(0).integers(100, 40_000, shape)


def some_prompts() -> list[np.ndarray]:
    """A batch of prompts of different lengths."""
    return [some_tokens(sum(LENGTHS))[sum(LENGTHS[:i]) :][:n] for i, n in enumerate(LENGTHS)]


class Clock(NamedTuple):
    """What is measured: seconds on all cores, or processor time of one thread."""

    processor_time: bool

    def now(self) -> float:
        return time.process_time() if self.processor_time else time.perf_counter()

    @property
    def threads(self) -> int:
        return 1 if self.processor_time else len(os.sched_getaffinity(0))

    def timed(self, once: Callable[[], object]) -> Job:
        """A contender for `in_turns`."""

        def run(times: int) -> float:
            started = self.now()
            for _ in range(times):
                jax.block_until_ready(once())
            return (self.now() - started) / times

        return run


def ours(network: Network, clock: Clock) -> dict[str, Job]:
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
        callback = lambda done, total, note: stamps.append(clock.now())  # noqa: E731
        more = px.FitSettings(batch=BATCH, length=TIME, steps=count + 1)
        tuner.tune(jax.random.key(0), network, texts, more, callbacks=(callback,))
        return (stamps[-1] - stamps[0]) / count

    def read_8() -> object:
        return batches.states_after(stepping.ready(network), 128, some_prompts())

    def generate_8() -> object:
        return px.generate_batch(jax.random.key(0), network, NEW, some_prompts(), temperature=0.0)

    jobs = {"read": clock.timed(read), "generate": clock.timed(generate), "soft prompt": steps}
    return jobs | {"read 8": clock.timed(read_8), "generate 8": clock.timed(generate_8)}


def theirs(folder: Path, clock: Clock) -> dict[str, Job]:
    """The jobs as a careful user of `transformers` writes them, who has to give the begin token
    that ours reads by itself."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(clock.threads)
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

    longest = max(LENGTHS) + 1  # shorter prompts stand behind padding, which is not attended to
    rows_of = [[0] * (longest - 1 - len(p)) + begin + p.tolist() for p in some_prompts()]
    several = torch.tensor(rows_of)
    mask = torch.tensor([[0] * (longest - 1 - n) + [1] * (n + 1) for n in LENGTHS])

    @torch.no_grad()
    def read_8() -> object:
        return model(several, attention_mask=mask, use_cache=True, logits_to_keep=1)

    @torch.no_grad()
    def generate_8() -> object:
        lengths = {"max_new_tokens": NEW, "min_new_tokens": NEW, "pad_token_id": 0}
        return model.generate(several, attention_mask=mask, do_sample=False, **lengths)

    jobs = {
        "read": clock.timed(read),
        "generate": clock.timed(generate),
        "soft prompt": clock.timed(step),
    }
    return jobs | {"read 8": clock.timed(read_8), "generate 8": clock.timed(generate_8)}


def in_4_bits(clock: Clock) -> dict[str, Job]:
    """The jobs in llama.cpp, but for the soft prompt: it takes no gradients. Its products are of
    weights of 4 bits and rows of 8, where ours are of float32. Its C functions, as
    llama-cpp-python names them: the class that it puts around them reads one text at a time."""
    import llama_cpp

    print(f"llama.cpp: {llama_cpp.llama_print_system_info().decode().strip()}")
    whole = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(str(fetch.smollm2_path()).encode(), whole)
    symbols = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx, settings.n_seq_max, settings.n_batch = 1024 * len(LENGTHS), len(LENGTHS), 1024
    settings.n_threads = settings.n_threads_batch = clock.threads
    context = llama_cpp.llama_init_from_model(model, settings)
    batch = llama_cpp.llama_batch_init(1024, 0, 1)

    def read(texts: list[list[int]], begin: list[int]) -> list[int]:
        """The likeliest token after each text, whose first one stands at its place in `begin`."""
        rows, last = 0, []
        for text, (tokens, place) in enumerate(zip(texts, begin, strict=True)):
            for i, token in enumerate(tokens):
                batch.token[rows], batch.pos[rows] = token, place + i
                batch.seq_id[rows][0], batch.n_seq_id[rows] = text, 1
                batch.logits[rows] = i == len(tokens) - 1
                rows += 1
            last.append(rows - 1)
        batch.n_tokens = rows
        assert llama_cpp.llama_decode(context, batch) == 0, "llama.cpp could not read"
        logits = [llama_cpp.llama_get_logits_ith(context, row) for row in last]
        return [int(np.argmax(np.ctypeslib.as_array(row, (symbols,)))) for row in logits]

    def go_on(prompts: list[np.ndarray], new: int) -> Job:
        def complete() -> object:
            llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
            texts, begin = [[1, *prompt.tolist()] for prompt in prompts], [0] * len(prompts)
            for _ in range(new):
                following = read(texts, begin)
                begin = [place + len(text) for place, text in zip(begin, texts, strict=True)]
                texts = [[token] for token in following]
            return None

        return clock.timed(complete)

    several, short = some_prompts(), [some_tokens(PROMPT)]
    jobs = {"read": go_on([some_tokens(READ)], 1), "generate": go_on(short, NEW)}
    return jobs | {"read 8": go_on(several, 1), "generate 8": go_on(several, NEW)}


def work(job: str) -> float:
    """Floating-point operations of a job's products, each matrix once forward and, where gradients
    go through it, once backward; attention aside."""
    if job == "read":
        return 2 * WEIGHTS * READ
    if job == "read 8":
        return 2 * WEIGHTS * sum(LENGTHS)
    if job == "generate 8":
        return 2 * (WEIGHTS * (sum(LENGTHS) + 8 * NEW) + EMBEDDINGS * 8 * NEW)
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
    parser.add_argument("--llama-cpp", action="store_true")
    parser.add_argument("--jobs", nargs="+", default=(), help="some of the table's rows")
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--peak-memory", action="store_true")
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    clock = Clock(given.processor_time)
    started = time.perf_counter()
    network = Llama.smollm2_135m()
    jax.block_until_ready(jnp.sum(network.embedding.weight))
    megabytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # noqa: E731
    print(f"weights in memory after {time.perf_counter() - started:.1f} s, {megabytes():.0f} MiB")
    if given.write is not None:
        write(network, given.write)
        return
    jobs = ours(network, clock)
    if given.peak_memory:
        jobs["soft prompt"](2)
        print(f"peak with a soft prompt's steps: {megabytes():.0f} MiB")
        return
    others: dict[str, dict[str, Job]] = {}
    if given.transformers:
        others["transformers"] = theirs(given.transformers, clock)
    if given.llama_cpp:
        others["llama.cpp"] = in_4_bits(clock)
    peak = product_peak(clock)
    print(f"matrix products here reach {peak / 1e9:.0f} GFLOP/s\n")
    columns = [f" {name}, s | ratio (quartiles) |" for name in others]
    print("| job | ours, s | of the peak |" + "".join(columns))
    print("|" + "---|" * (3 + 2 * len(others)))
    for job, mine in jobs.items():
        if given.jobs and job not in given.jobs:
            continue
        contenders = {name: other[job] for name, other in others.items() if job in other}
        turns = in_turns({"ours": mine} | contenders, given.rounds)
        peak = max(peak, product_peak(clock))
        seconds = np.median(turns["ours"])
        row = f"| {job} | {seconds:.3f} | {work(job) / seconds / peak:.0%} |"
        for name in others:
            row += f" {compared(turns['ours'], turns[name])} |" if name in turns else " | |"
        print(row, flush=True)


def product_peak(clock: Clock, size: int = 2048) -> float:
    """Floating-point operations a second of a large product, the fastest of some."""
    product, matrix = jax.jit(lambda a: a @ a), jnp.ones((size, size))
    job = clock.timed(lambda: product(matrix))
    return 2 * size**3 / min(job(1) for _ in range(6))


def in_turns(jobs: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """Seconds of each job in each round, after one that is not counted; the order alternates."""
    for job in jobs.values():
        job(1)
    turns: dict[str, list[float]] = {name: [] for name in jobs}
    for i in range(rounds):
        for name in list(jobs)[:: 1 if i % 2 else -1]:
            turns[name].append(jobs[name](1))
    return turns


def compared(ours: list[float], others: list[float]) -> str:
    """The others' median, and quartiles of the ratios of each round."""
    low, middle, high = np.quantile(np.array(others) / np.array(ours), (0.25, 0.5, 0.75))
    return f"{np.median(others):.3f} | {middle:.2f} ({low:.2f} … {high:.2f})"


if __name__ == "__main__":
    main()
