"""The training loop both networks share: one single-threaded process a core, one set of weights.

Each worker computes gradients on its own samples; then each updates its share of the parameters
and all read the result. Workers meet only at two sleeping barriers a step, so training keeps its
speed while other programs use the machine (threads inside an operator would spin instead).

Weights, EMA and moments live in shared memory as float; the workers' copies are bfloat16.
Matrices and convolutions are updated by Muon (orthogonalised momentum, scaled to the size of an
Adam update: Jordan et al. 2024, Liu et al. 2025), everything else by Adam.

The learning rate follows a budget of minutes, not a count of steps: warm-up, flat, cosine to 1%.
A checkpoint is written every few minutes and when the budget ends; a run continues from it.
"""
import json
import math
import os
import pathlib
import time

import torch
import torch.multiprocessing as mp

ADAM_ONLY = ("embed", "conv_in", "conv_out", "quant_conv")


def _as_rows(t):
    """The view of a parameter or gradient in the order its memory has (convolutions: NHWC)."""
    return t.permute(0, 2, 3, 1) if t.dim() == 4 else t


def _is_matrix(name, p):
    rows = p.shape[0]
    columns = p.numel() // rows
    return (p.dim() >= 2 and min(rows, columns) >= 16
            and not any(word in name for word in ADAM_ONLY))


def _orthogonalise(g, steps=5):
    """Newton-Schulz iteration towards the nearest orthogonal matrix, in bfloat16."""
    x = g.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.T if tall else x).float()


class SharedState:
    """Weights, EMA, moments and gradients of one model in shared memory."""

    def __init__(self, model, workers):
        self.slots = []
        offset = 0
        for name, p in model.named_parameters():
            shape = _as_rows(p).shape
            self.slots.append((name, offset, p.numel(), shape, _is_matrix(name, p)))
            offset += p.numel()
        new = lambda *size, dtype=torch.float32: torch.zeros(*size, dtype=dtype).share_memory_()
        self.weights, self.ema, self.m, self.v = (new(offset) for _ in range(4))
        self.grads = new(workers, offset, dtype=torch.bfloat16)
        self.progress = new(4, dtype=torch.float64)  # step, seconds spent
        for (_, at, size, _, _), p in zip(self.slots, model.parameters()):
            self.weights[at:at + size] = _as_rows(p.detach()).reshape(-1).float()
        self.ema.copy_(self.weights)
        self.shares = [[] for _ in range(workers)]
        load = [0] * workers
        cost = lambda s: s[2] * (1 + (min(s[3][0], s[2] // s[3][0]) / 8 if s[4] else 0))
        for slot in sorted(self.slots, key=cost, reverse=True):
            worker = load.index(min(load))
            load[worker] += cost(slot)
            self.shares[worker].append(slot)

    TENSORS = ("weights", "ema", "m", "v", "progress")

    def save(self, path):
        tmp = pathlib.Path(str(path) + ".tmp")
        torch.save({k: getattr(self, k) for k in self.TENSORS}, tmp)
        os.replace(tmp, path)

    def load(self, path):
        for key, value in torch.load(path, weights_only=True).items():
            getattr(self, key).copy_(value)

    def into(self, model, source="ema"):
        """Copies the EMA (or `weights`) into a model, in the model's own dtype."""
        flat = getattr(self, source)
        with torch.no_grad():
            for (_, at, size, shape, _), p in zip(self.slots, model.parameters()):
                _as_rows(p).copy_(flat[at:at + size].view(shape))
        return model

    def put_gradients(self, worker, model):
        for (_, at, size, shape, _), p in zip(self.slots, model.parameters()):
            target = self.grads[worker, at:at + size].view(shape)
            target.zero_() if p.grad is None else target.copy_(_as_rows(p.grad))
            p.grad = None

    def update(self, worker, lr, ema_decay, decay):
        step = int(self.progress[0]) + 1
        for _, at, size, shape, is_matrix in self.shares[worker]:
            g = self.grads[:, at:at + size].float().mean(0)
            w, m = self.weights[at:at + size], self.m[at:at + size]
            if is_matrix:
                m.lerp_(g, 0.05)
                nesterov = g.lerp(m, 0.95).view(shape[0], -1)
                u = _orthogonalise(nesterov).view(-1) * (0.2 * math.sqrt(max(nesterov.shape)))
                w.mul_(1 - lr * decay)
            else:
                v = self.v[at:at + size]
                m.lerp_(g, 0.1)
                v.lerp_(g * g, 0.02)
                u = (m / (1 - 0.9**step)) / ((v / (1 - 0.98**step)).sqrt() + 1e-8)
            w.sub_(u, alpha=lr)
            self.ema[at:at + size].lerp_(w, 1 - ema_decay)


def learning_rate(peak, step, done, warmup=100, flat=0.3):
    """`done` is the share of the minutes already spent."""
    x = min(1.0, max(0.0, (done - flat) / (1 - flat)))
    return peak * min(1.0, (step + 1) / warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * x)))


def _worker(rank, options, make_task, state, barrier):
    torch.set_num_threads(1)
    torch.manual_seed(options["seed"])
    task = make_task(options, rank)
    model = task.model.to(torch.bfloat16).to(memory_format=torch.channels_last)
    checkpoint = pathlib.Path(options["out"]) / "checkpoint.pt"
    budget = options["minutes"] * 60
    last_save = last_log = time.time()
    seconds_before, sums, since = float(state.progress[1]), {}, 0
    started = time.time()
    while True:
        step, done = int(state.progress[0]), float(state.progress[1]) / budget
        if done >= 1:
            break
        state.into(model, "weights")
        generator = torch.Generator().manual_seed(
            options["seed"] * 1000003 + step * options["workers"] + rank)
        loss, figures = task.loss(generator, done)
        loss.backward()
        state.put_gradients(rank, model)
        barrier.wait()
        ema_decay = min(options["ema"], (1 + step) / (10 + step))
        state.update(rank, learning_rate(options["lr"], step, done), ema_decay, options["decay"])
        barrier.wait()
        for key, value in figures.items():
            sums[key] = sums.get(key, 0.0) + float(value)
        since += 1
        if rank == 0:
            state.progress[0] = step + 1
            state.progress[1] = seconds_before + time.time() - started
            now = time.time()
            if now - last_log > 20:
                line = {"step": step + 1, "minutes": round(float(state.progress[1]) / 60, 2),
                        "steps_per_s": round(since / (now - last_log), 2),
                        **{k: round(v / since, 5) for k, v in sums.items()}}
                print(json.dumps(line), flush=True)
                last_log, sums, since = now, {}, 0
            if now - last_save > options["save_s"]:
                state.save(checkpoint)
                last_save = now
        barrier.wait()
    if rank == 0:
        state.save(checkpoint)


def train(make_task, **options):
    """Trains `make_task(options, rank).model` and returns its SharedState.

    options: out, minutes, lr, ema, decay (weight decay of matrices), workers, seed, save_s.
    A task has .model and .loss(generator, share_done) -> (loss, {name: figure}).
    """
    out = pathlib.Path(options["out"])
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options["seed"])
    state = SharedState(make_task(options, 0).model, options["workers"])
    if (out / "checkpoint.pt").exists():
        state.load(out / "checkpoint.pt")
        print(f"continuing at step {int(state.progress[0])}", flush=True)
    context = mp.get_context("fork")
    barrier = context.Barrier(options["workers"])
    workers = [context.Process(target=_worker, args=(rank, options, make_task, state, barrier))
               for rank in range(options["workers"])]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
        if w.exitcode:
            raise SystemExit(f"a training worker ended with status {w.exitcode}")
    return state
