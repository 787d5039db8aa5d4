"""What the commands do, language models aside (`language`)."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
from rich.markup import escape
from rich.table import Table

from promptax import files, platforms, specs, store
from promptax.analysis import diagnose
from promptax.axes import NATS
from promptax.cli import diagnosis, saved
from promptax.cli.flags import (
    Bench,
    Demo,
    Diagnose,
    Evaluate,
    Fitting,
    List,
    Pretrain,
    Report,
    RunStudy,
    Tune,
)
from promptax.cli.printing import console, print_rows, say
from promptax.evaluation.control_variates import regret
from promptax.evaluation.evaluate import evaluate
from promptax.experiments import bench, experiment_folder, run_folder
from promptax.experiments.conditions import Measurements, matching
from promptax.experiments.demo import demo_experiment
from promptax.experiments.executors import by_ray
from promptax.experiments.sweeps import sweep
from promptax.fit.fitted import Fitted
from promptax.fit.loop import pretrain
from promptax.language import text_model
from promptax.language.adapters import save_adapter
from promptax.predictors import Architecture
from promptax.progress import Bar
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.report import table
from promptax.specs import check
from promptax.steering import Tuner
from promptax.studies import Study, study_folder
from promptax.studies.judging import in_words
from promptax.tasks import Task

OPEN = {"tasks": Task, "networks": Architecture, "tuners": Tuner, "studies": Study}


def demo(args: Demo, command: str) -> None:
    """The main job."""
    experiment = demo_experiment(
        args.network, args.pretraining_steps, args.steps, args.repetitions, args.sequences
    )
    folder = files.new_run_folder(args.out or _fresh("runs/demo"), args.overwrite)
    bar = lambda what: (Bar(what),)  # noqa: E731
    workers = platforms.tunings_at_once()
    run = experiment_folder.run(experiment, args.seed, folder, command, bar, say, workers)
    for results in run:
        _show(results)
    if not platforms.leads():
        return
    page = experiment_folder.report(folder)
    say(f"\n{page}  ← open this in a browser", style="bold")


def _show(results: Any) -> None:
    """Print the table of one target."""
    rows = table(results)
    lengths = [key.split("_")[1] for key in rows[0] if key.startswith("regret_")]
    reference = results.attrs.get("reference", "oracle")
    what = f"regret in {NATS}" if reference == "oracle" else f"{NATS} above {reference}"
    title = f"{results.attrs['target']}: {what} (median; quartiles or ± 2 errors)"
    shown = Table(title=title, title_justify="left")
    for heading in ("", "predictor", *(f"{n} steps" for n in lengths)):
        shown.add_column(heading, justify="left" if heading in ("", "predictor") else "right")
    for row in rows:
        cells = [
            f"{row[f'regret_{n}']:.3f}  ({row[f'low_{n}']:.3f} … {row[f'high_{n}']:.3f})"
            for n in lengths
        ]
        shown.add_row(str(row["group"]), str(row["predictor"]), *cells)
    console.print(shown)


def list_members(args: List, command: str) -> None:
    """Members and their fields."""
    del args, command
    for title, base in OPEN.items():
        shown = Table(title=title, title_justify="left", show_lines=False)
        for heading in ("name", "what it is", "fields"):
            shown.add_column(heading)
        for name, member in specs.members(base).items():
            fields = [f.name for f in dataclasses.fields(member) if not f.name.startswith("_")]
            summary = " ".join((member.__doc__ or "").split("\n\n")[0].split())
            shown.add_row(name, escape(summary), ", ".join(fields))
        console.print(shown)


def pretrain_run(args: Pretrain, command: str) -> None:
    """Train and keep a network."""
    folder, checkpoint = _run_folder(args)
    what = {"network": args.network, "task": args.task, "fit": args.fit}
    if not args.resume:
        run_folder.write_spec(folder, command, args.seed, **what)
    fitted = pretrain(
        jax.random.key(args.seed),
        args.network,
        args.task,
        args.fit,
        checkpoint=checkpoint,
        callbacks=(Bar("pretraining"),),
    )
    _keep(folder, fitted)


def tune_run(args: Tune, command: str) -> None:
    """Steer and keep a predictor."""
    base = _first(args.predictor)
    args.tuner.verify(base, args.target, args.fit)
    folder, checkpoint = _run_folder(args)
    what = {"predictor": args.predictor, "tuner": args.tuner, "target": args.target}
    if not args.resume:
        run_folder.write_spec(folder, command, args.seed, **what, fit=args.fit)
    if plan := args.tuner.plan(args.target.symbols):
        say(f"trying {plan}")
    fitted = args.tuner.tune(
        jax.random.key(args.seed),
        base,
        args.target,
        args.fit,
        checkpoint=checkpoint,
        callbacks=None,
    )
    _keep(folder, fitted, small=text_model.is_named(args.predictor))


def evaluate_run(args: Evaluate, command: str) -> None:
    """Measure predictors."""
    check(len(args.predictors) > 0, "Expected predictors to evaluate: promptax evaluate RUN …")
    paths = saved.named(args.predictors)
    predictors = {name: saved.predictor(path) for name, path in paths.items()}
    prior = specs.parse(Task)(args.prior) if args.prior else None
    single = [name for name, each in predictors.items() if not isinstance(each, Repeated)]
    check(
        args.target.has_oracle or len(single) > 0,
        f"Expected a predictor without repetitions to compare with, such as the untuned one: "
        f"{type(args.target).__name__} has no oracle.",
    )
    folder = files.new_run_folder(args.out, args.overwrite) if args.out else None
    longest = args.target.longest
    usual, length = (2048, 200) if longest is None else (256, longest)
    length = length if args.length is None else args.length
    losses = evaluate(
        jax.random.key(args.seed),
        predictors,
        args.target,
        usual if args.sequences is None else args.sequences,
        length,
        prior=prior,
        prior_prompt_length=args.prior_prompt_length,
        callbacks=(Bar("evaluation"),),
    )
    reference = "oracle" if args.target.has_oracle else single[0]
    results = regret(losses, reference)
    results = results.assign_coords(group=("predictor", [""] * results.sizes["predictor"]))
    tuning = min(50, length)
    results = results.assign_attrs(target=type(args.target).__name__, tuning_length=tuning)
    _show(results)
    if reference != "oracle":
        each = losses["log_loss"].sel(predictor=reference).isel(repetition=0).sum("time")
        drawn = f"mean of {each.size} drawn"
        say(f"{reference}: log loss {float(each.mean()):.3f} nats per sequence ({drawn})")
    if folder is not None:
        run_folder.write_spec(folder, command, args.seed, target=args.target, predictors=paths)
        store.save(folder / "results.nc", results)
        files.write_text(folder / "table.csv", experiment_folder.csv([results]))
        say(f"written to {folder}")


def diagnose_run(args: Diagnose, command: str) -> None:
    """Say what prompts can do."""
    paths = saved.named(args.predictor)
    predictors = {name: _first(path) for name, path in paths.items()}
    diagnosis.check_alphabets(predictors, args.prior, args.target)
    folder = files.new_run_folder(args.out, args.overwrite) if args.out else None
    sizes = (args.length, args.steps, args.longest, args.mixture, args.tolerance)
    found = diagnose(args.prior, args.target, *sizes).table
    print_rows(*diagnosis.by_length(found))
    say(f"the best prompt's regret {found.attrs['limit']}")
    tuned = {name for name, path in paths.items() if diagnosis.has_tuned_weights(Path(path))}
    about = args.prior, args.target, args.steps, args.trained_length, args.sequences, args.longest
    judged = []
    for each in diagnosis.judge(jax.random.key(args.seed), predictors, tuned, *about):
        print_rows(*diagnosis.by_term(each))
        say(f"{each.name}, as a prior: {each.prior.words()}")
        judged.append(each)
    say(found.attrs["verdict"], style="bold")
    if folder is not None:
        run_folder.write_spec(folder, command, args.seed, prior=args.prior, target=args.target)
        diagnosis.write(folder, found, judged)
        say(f"written to {folder}")


def report_run(args: Report, command: str) -> None:
    """Draw again."""
    del command
    folder = Path(args.folder)
    study = "study" in json.loads(files.read_text(folder / "spec.json"))
    say(str(study_folder.report(folder)[0] if study else experiment_folder.report(folder)))


def study_run(args: RunStudy, command: str) -> None:
    """Measure a study's conditions."""
    if args.scale == "smoke":
        platforms.compile_quickly()
    everything = args.study.conditions(args.scale)
    chosen = matching(everything, args.only)
    name = type(args.study).__name__.lower()
    folder = Path(args.out or f"runs/{name}-{args.scale}")
    plugins = tuple(specs.plugins)
    executor = by_ray(args.address, plugins, args.cores) if args.executor == "ray" else None
    study_folder.begin(folder, command, args.study, args.scale)
    study_folder.write_index(folder, everything)
    bar = lambda what: (Bar(what),)  # noqa: E731

    def told(done: int, total: int, note: str) -> bool:
        if note:
            say(f"{done} of {total}: {note}")
        return False

    failed = sweep(chosen, folder, executor, announce=bar, callbacks=(told,))
    for name, failure in failed.items():
        say(f"failed: {name}: {failure.reason}", style="red")
    there = len(Measurements(chosen, folder))
    say(f"{there} of {len(chosen)} conditions are in {folder}")
    if platforms.leads():
        page, claims = study_folder.report(folder)
        rows = [(claim.name, in_words(claim), claim.text) for claim in claims]
        print_rows("claims", ("claim", "verdict", "text"), rows, words=("verdict", "text"))
        say(f"\n{page}  ← open this in a browser", style="bold")
    if failed:
        raise SystemExit(1)


def bench_run(args: Bench, command: str) -> None:
    """Measure speed."""
    del command
    if args.growth:
        for size, contenders in bench.growth(args.network).items():
            found = bench.in_turns({str(n): c for n, c in contenders.items()}, 5, args.rounds)
            first = next(iter(found.values()))
            rows = [(n, f"{1e3 * t:.1f}", f"{t / first:.2f}") for n, t in found.items()]
            print_rows(f"one update, by {size}", (size, "milliseconds", "ratio"), rows)
        return
    peak = bench.matrix_product_peak()
    jobs = {job: bench.ours(args.network, job) for job in bench.JOBS}
    found = bench.in_turns(jobs, args.updates, args.rounds)
    rows = []
    for job, seconds in found.items():
        work = bench.work(args.network, job)
        rate = None if work is None else work / seconds
        share = ("–", "–") if rate is None else (f"{rate / 1e9:.0f}", f"{rate / peak:.0%}")
        rows.append((job, f"{1e3 * seconds:.1f}", *share))
    title = f"{type(args.network).__name__}: matrix products here reach {peak / 1e9:.0f} GFLOP/s"
    print_rows(title, ("one update of", "milliseconds", "GFLOP/s", "of the peak"), rows)


def _fresh(stem: str) -> str:
    """A folder name that is not taken: stem, stem-2, …"""
    number = 1
    while Path(stem if number == 1 else f"{stem}-{number}").exists():
        number += 1
    return stem if number == 1 else f"{stem}-{number}"


def _run_folder(args: Fitting) -> tuple[Path, store.Checkpoint]:
    path = Path(args.out)
    saved = path / "checkpoint.safetensors"
    if args.resume:
        check(
            saved.exists(),
            f"Expected the checkpoint of an earlier run at {saved} to resume; there is none. Start "
            "anew: --overwrite in place of --resume.",
        )
    else:
        path = files.new_run_folder(path, args.overwrite)
    return path, store.Checkpoint(saved)


def _keep(folder: Path, fitted: Fitted, small: bool = False) -> None:
    """Keep the predictor and its losses; `small`: of the predictor only what was tuned, if that has
    the form of an adapter."""
    if not (small and _as_adapter(folder / saved.ADAPTER, fitted.predictor)):
        store.save(folder / "predictor.safetensors", fitted.predictor)
    store.save(folder / "results.nc", fitted.losses.to_dataset(name="loss"))
    last = fitted.loss[:, -20:]
    if last.size:
        say(f"loss over the last {last.shape[1]} steps: {last.mean():.3f} {NATS} per sequence")
    if hasattr(fitted.predictor, "prompt") and fitted.scores is not None:
        say(f"prompt: {fitted.prompt}")
    say(f"written to {folder}")


def _as_adapter(folder: Path, predictor: Predictor | Repeated) -> bool:
    """Save an adapter; whether there is a form for it."""
    if isinstance(predictor, Repeated):
        return False
    try:
        save_adapter(folder, predictor)
    except (ValueError, TypeError) as error:
        say(f"saving the whole predictor, because no adapter can hold it: {error}")
        return False
    return True


def _first(path: str) -> Predictor:
    """A saved predictor, of repetitions the first."""
    found = saved.predictor(path)
    if isinstance(found, Repeated):
        say(f"{path} holds {len(found)} repetitions; taking the first")
        return found[0]
    return found
