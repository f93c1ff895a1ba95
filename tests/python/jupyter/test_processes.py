"""`%%spprof --processes` in a real kernel: the workers of a cell are in its profile."""

from __future__ import annotations

import json

import pytest
from kernels import kinds, printed, running_kernel

BEGIN = """
import multiprocessing, os, time
%load_ext spprof

def burn(seconds):
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass

def work():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(burn, [0.2, 0.2], chunksize=1)
"""

LOOK = """
of_workers = [t for t in _spprof.threads if t.thread_name.startswith("ForkPoolWorker-")]
roots = {s.frames[-1].filename for s in _spprof.samples
         if s.thread_name.startswith("ForkPoolWorker-")}
total = sum(t.weight_ns for t in of_workers) / 1e9
print(len(of_workers), *roots, 0.25 < total < 0.45, *_spprof.notes)
"""


def test_workers_are_in_the_profile_of_their_cell(tmp_path) -> None:
    with running_kernel(tmp_path) as kernel:
        kernel.run(BEGIN)
        reply, outputs = kernel.run("%%spprof -i 1 --processes\nwork()")
        assert kinds(outputs) == ["widget", "picture"]
        # Stacks begin at the cell, in a forked worker as well.
        cell = f"In [{reply['execution_count']}]"
        said = printed(kernel.run(LOOK)[1])
        assert said.startswith(f"2 {cell} True"), said
        kernel.run("%%spprof -i 1 -q\nwork()")
        said = printed(kernel.run(LOOK)[1])
        assert said.startswith("0 False"), said
        assert "that is not in this profile: %%spprof --processes" in said


def in_each(kernel, pattern: str) -> list[list[object]]:
    """Of the processes of the last profile whose name begins so: name, function, seconds, share."""
    code = f"""
    import json
    print(json.dumps([
        (p.name, [f.function_name for f in _spprof.filter(process=p.pid).top(1)],
         p.profile_ns / 1e9, p.profile_ns / p.cpu_ns)
        for p in _spprof.processes() if p.name.startswith({pattern!r})
    ]))
    """
    return sorted(json.loads(printed(kernel.run(code)[1])))


LOADER = """
class Loader:
    '''What a loader of batches does: workers that take indices from a queue each, and are told
    when there are no more.'''

    def __init__(self, workers, batches):
        context = multiprocessing.get_context("fork")
        self._batches, self._done = batches, context.Queue()
        self._wanted = [context.Queue() for _ in range(workers)]
        self._workers = [
            context.Process(target=self._load, args=(wanted,), daemon=True)
            for wanted in self._wanted
        ]

    def _load(self, wanted):
        while (index := wanted.get()) is not None:
            self._done.put(self._read(index))

    def _read(self, index):
        burn(0.05)
        return index

    def __iter__(self):
        for worker in self._workers:
            worker.start()
        for index in range(self._batches):
            self._wanted[index % len(self._wanted)].put(index)
        for _ in range(self._batches):
            yield self._done.get()
        for wanted, worker in zip(self._wanted, self._workers):
            wanted.put(None)
            worker.join()
"""


@pytest.mark.slow
def test_workers_of_a_loader_of_batches(tmp_path) -> None:
    with running_kernel(tmp_path) as kernel:
        kernel.run(BEGIN + LOADER)
        cell = "%%spprof -i 1 --processes\nread = sorted(Loader(2, 8))"
        assert kinds(kernel.run(cell)[1]) == ["widget", "picture"]
        found = in_each(kernel, "ForkProcess-")
        assert [worker[0] for worker in found] == ["ForkProcess-1", "ForkProcess-2"]
        for _, function, seconds, share in found:
            assert function == ["burn"]
            assert 0.15 < seconds < 0.3
            assert share > 0.8


@pytest.mark.slow
def test_workers_of_a_grid_search(tmp_path) -> None:
    """loky starts new interpreters, which import scikit-learn before they fit anything."""
    pytest.importorskip("sklearn")
    with running_kernel(tmp_path) as kernel:
        kernel.run(
            """
            %load_ext spprof
            from sklearn.datasets import make_classification
            from sklearn.ensemble import RandomForestClassifier
            from sklearn.model_selection import GridSearchCV
            points, classes = make_classification(500, random_state=0)
            search = GridSearchCV(RandomForestClassifier(20), {"max_depth": [4, 8]}, n_jobs=2)
            """
        )
        cell = "%%spprof -i 5 --processes\nsearch.fit(points, classes);"
        # The imports take a while on a busy machine.
        assert kinds(kernel.run(cell, timeout=200)[1]) == ["widget", "picture"]
        found = in_each(kernel, "LokyProcess-")
        assert len(found) == 2
        assert min(share for *_, share in found) > 0.8
        said = printed(
            kernel.run("print({s.thread_name for s in _spprof.filter(function='*fit').samples})")[1]
        )
        assert "LokyProcess-" in said


ENGINE = """
class Worker:
    def __init__(self):
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        self.process = context.Process(target=self._serve, args=(theirs,), daemon=True)
        self.process.start()

    def _serve(self, pipe):
        while True:
            function, args = pipe.recv()
            try:
                pipe.send(function(*args))
            except Exception as error:
                pipe.send(error)

    def ask(self, function, *args):
        self._ours.send((function, args))

    def answer(self):
        return self._ours.recv()

class Client:
    '''The smallest engine: what spprof.cluster asks for.'''

    def __init__(self, count):
        self.workers = {f"worker {n}": Worker() for n in range(count)}

    def run(self, function, *args):
        for worker in self.workers.values():
            worker.ask(function, *args)
        return {name: worker.answer() for name, worker in self.workers.items()}

client = Client(4)
"""


@pytest.mark.slow
def test_workers_of_a_cluster_are_in_the_profile_of_their_cell(tmp_path) -> None:
    with running_kernel(tmp_path) as kernel:
        kernel.run(BEGIN + ENGINE)
        cell = "%%spprof -i 1 --cluster client\nclient.run(burn, 0.1);"
        assert kinds(kernel.run(cell)[1]) == ["widget", "picture"]
        found = in_each(kernel, "worker ")
        assert [worker[0] for worker in found] == [f"worker {n}" for n in range(4)]
        for _, function, seconds, _ in found:
            assert function == ["burn"]
            assert 0.05 < seconds < 0.15
        said = kernel.run("import spprof\nprint(*_spprof.notes, client.run(spprof.is_active))")[1]
        assert printed(said).startswith("{'worker 0': False"), said
