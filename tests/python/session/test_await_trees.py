"""Who waits for whom: forests from plain values, and from graphs of real tasks of asyncio."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest

from spprof._session.await_trees import ROOT, Forest, Stacks
from spprof._session.awaiting import awaiters_of, chain_of, may_wait_for_tasks


def forest_of(awaiters):
    forest = Forest()
    for task in awaiters:
        forest.add(task)
    for task, waiting in awaiters.items():
        forest.hang(task, waiting)
    return forest


def tree_of(awaiters):
    return forest_of(awaiters).parents


def leaves(parents):
    return set(parents) - set(parents.values())


def root_first(task, parents):
    return [*root_first(parents[task], parents), task] if task is not None else []


def test_a_task_is_below_the_one_that_waits_for_it() -> None:
    parents = tree_of({"main": [], "a": ["main"], "b": ["main"], "c": ["b"]})
    assert parents == {"main": None, "a": "main", "b": "main", "c": "b"}
    assert leaves(parents) == {"a", "c"}
    assert root_first("c", parents) == ["main", "b", "c"]


def test_a_task_that_several_wait_for_is_below_the_first_and_the_others_are_leaves() -> None:
    parents = tree_of({"x": [], "y": [], "shared": ["y", "x"]})
    assert parents["shared"] == "y"
    assert leaves(parents) == {"x", "shared"}


def test_a_diamond_counts_its_end_once() -> None:
    parents = tree_of({"top": [], "left": ["top"], "right": ["top"], "end": ["left", "right"]})
    assert root_first("end", parents) == ["top", "left", "end"]
    assert leaves(parents) == {"right", "end"}


def test_who_does_not_wait_is_nobodys_parent() -> None:
    assert tree_of({"a": ["running", "main"], "main": []})["a"] == "main"
    assert tree_of({"a": ["running"]}) == {"a": None}


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_a_circle_has_one_root_and_one_leaf(length) -> None:
    parents = tree_of({i: [(i + 1) % length] for i in range(length)})
    assert sum(parent is None for parent in parents.values()) == 1
    (leaf,) = leaves(parents)
    assert len(root_first(leaf, parents)) == length


def test_what_hangs_on_a_circle_stays_below_it() -> None:
    parents = tree_of({"a": ["b"], "b": ["a"], "c": ["a"], "d": ["c"]})
    assert root_first("d", parents)[-3:] == ["a", "c", "d"]


def test_who_is_removed_leaves_roots() -> None:
    forest = forest_of({"main": [], "a": ["main"], "b": ["a"], "c": ["a"]})
    assert forest.remove("a") == {"b", "c"}
    assert forest.parents == {"main": None, "b": None, "c": None}
    assert forest.children("main") == set()
    forest.hang("b", ["a", "main"])
    assert forest.children("main") == {"b"}
    forest.hang("b", [])
    assert forest.parents["b"] is None
    assert forest.children("main") == set()


def test_random_forests_are_forests() -> None:
    rng = random.Random(5)
    for _ in range(200):
        n = rng.randrange(1, 30)
        awaiters = {i: [rng.randrange(n + 3) for _ in range(rng.randrange(4))] for i in range(n)}
        parents = tree_of(awaiters)
        assert parents.keys() == awaiters.keys()
        shown = set()
        for task in leaves(parents):
            way = root_first(task, parents)
            assert len(way) == len(set(way))
            assert all(above in awaiters[below] for above, below in zip(way, way[1:]))
            shown.update(way)
        assert shown == awaiters.keys()


def test_equal_ways_down_are_one_stack() -> None:
    stacks = Stacks()
    f, g = ("f", "x.py", 1, 2), ("g", "x.py", 5, 6)
    above = stacks.below(ROOT, (f,))
    assert stacks.below(above, (g,)) == stacks.below(ROOT, (f, g))
    assert stacks.below(ROOT, (g,)) not in (above, stacks.below(above, (g,)))
    assert list(stacks) == [(ROOT, f), (above, g), (ROOT, g)]


# --- real tasks -----------------------------------------------------------------------------------


class Graph:
    """Tasks that wait for each other at random, and the edges that the program itself knows of."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.edges: set[tuple[str, str]] = set()  # who waits, for whom
        self.kinds = ["one", "gather", "nested gather", "wait", "wait_for", "shield", "completed"]
        if sys.version_info >= (3, 11):
            self.kinds.append("group")

    def spawn(self, depth: int, by: str | None, create=None) -> str:
        """Create a task that waits for `depth` levels of others; returns its name."""
        name = f"t{len(self.tasks)}"
        create = create or asyncio.get_running_loop().create_task
        self.tasks[name] = create(self.wait(name, depth))
        if by is not None:
            self.edges.add((by, name))
        return name

    async def wait(self, name: str, depth: int) -> None:
        kind = self.rng.choice(self.kinds)
        if depth == 0:
            await asyncio.get_running_loop().create_future()
        elif kind == "group":
            async with asyncio.TaskGroup() as group:
                for _ in range(self.rng.randrange(1, 4)):
                    self.spawn(depth - 1, name, group.create_task)
        else:
            await self.wait_for_some(kind, self.some(name, depth))

    def some(self, name: str, depth: int) -> list[asyncio.Task[None]]:
        """New tasks, and now and then one that somebody else may wait for already."""
        names = [self.spawn(depth - 1, name) for _ in range(self.rng.randrange(1, 4))]
        # One created after this task: so none waits for itself in the end.
        made = list(self.tasks)
        older = [one for one in made[made.index(name) + 1 :] if one not in names]
        if older and self.rng.random() < 0.4:
            names.append(self.rng.choice(older))
            self.edges.add((name, names[-1]))
        return [self.tasks[one] for one in names]

    async def wait_for_some(self, kind: str, some: list[asyncio.Task[None]]) -> None:
        rng = self.rng
        if len(some) > 1 and kind in ("one", "wait_for", "shield"):
            kind = "gather"
        if kind == "one":
            await some[0]
        elif kind == "gather":
            await asyncio.gather(*some)
        elif kind == "nested gather":
            await asyncio.gather(asyncio.shield(some[0]), asyncio.gather(*some[1:], some[0]))
        elif kind == "wait":
            when = rng.choice([asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED])
            await asyncio.wait(some, return_when=when, timeout=rng.choice([None, 1000]))
        elif kind == "wait_for":
            await asyncio.wait_for(some[0], 1000)
        elif kind == "shield":
            await asyncio.shield(some[0])
        else:
            for each in asyncio.as_completed(some):
                await each

    def seen(self) -> set[tuple[str, str]]:
        names = {task: name for name, task in self.tasks.items()}
        return {
            (names[by], name) for name, task in self.tasks.items() for by in awaiters_of(task, {})
        }


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_edges_of_random_graphs_are_those_of_the_program(first) -> None:
    async def build(seed: int) -> None:
        graph = Graph(seed)
        graph.spawn(3, None)
        for _ in range(20):
            await asyncio.sleep(0)
        assert graph.seen() == graph.edges, seed
        for above in {above for above, _ in graph.edges}:
            task = graph.tasks[above]
            assert may_wait_for_tasks(task._fut_waiter, chain_of(task.get_coro())), seed
        if hasattr(asyncio, "capture_call_graph"):
            assert captured(graph) == graph.edges, seed
        for task in graph.tasks.values():
            task.cancel()
        await asyncio.gather(*graph.tasks.values(), return_exceptions=True)

    def captured(graph: Graph) -> set[tuple[str, str]]:
        names = {task: name for name, task in graph.tasks.items()}
        edges = set()

        def below(name: str, calls) -> None:
            for call in calls:
                by = names.get(call.future)
                if by is not None:
                    edges.add((by, name))
                else:  # a future between tasks
                    below(name, call.awaited_by)

        for name, task in graph.tasks.items():
            below(name, asyncio.capture_call_graph(task).awaited_by)
        return edges

    for seed in range(first, first + 25):
        asyncio.run(build(seed))


def chain_in_task(coroutine) -> list[str]:
    async def main() -> list[str]:
        task = asyncio.ensure_future(coroutine)
        for _ in range(5):
            await asyncio.sleep(0)
        found = [name.rpartition(".")[2] for name, *_ in chain_of(task.get_coro())]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    return asyncio.run(main())


async def sleeper() -> None:
    await asyncio.sleep(1000)


def test_a_chain_goes_through_generators_of_all_kinds() -> None:
    class Awaitable:
        def __await__(self):
            yield from sleeper().__await__()

    async def numbers():
        await Awaitable()
        yield 1

    async def more():
        async for number in numbers():
            yield number

    async def outer() -> None:
        async for _ in more():
            pass

    assert chain_in_task(outer()) == ["outer", "more", "numbers", "__await__", "sleeper", "sleep"]


def test_a_chain_goes_through_what_closes_an_async_generator() -> None:
    async def numbers():
        try:
            yield 1
        finally:
            await sleeper()

    async def outer() -> None:
        generator = numbers()
        await generator.__anext__()
        await generator.aclose()

    assert chain_in_task(outer()) == ["outer", "numbers", "sleeper", "sleep"]


def test_lines_are_those_awaited_at() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(sleeper())
        await asyncio.sleep(0)
        name, file, first_line, line = chain_of(task.get_coro())[0]
        code = sleeper.__code__
        assert (file, first_line, line) == (code.co_filename, code.co_firstlineno, first_line + 1)
        assert name == "sleeper"
        task.cancel()

    asyncio.run(main())


def test_objects_of_the_program_are_not_asked() -> None:
    class Proxy:
        def __getattr__(self, name: str):
            raise AssertionError(f"asked for {name}")

    proxy = Proxy()

    async def main() -> None:
        task = asyncio.ensure_future(sleeper())
        task.add_done_callback(lambda _: proxy)
        await asyncio.sleep(0)
        assert awaiters_of(task, {}) == []
        task.cancel()

    class Odd:
        def __await__(self):
            return Steps()

    class Steps:
        def __getattr__(self, name: str):
            raise AssertionError(f"asked for {name}")

        def __iter__(self):
            return self

        def __next__(self):
            return None

        def close(self):
            pass

    async def odd() -> None:
        await Odd()

    coroutine = odd()
    coroutine.send(None)
    assert [name.rpartition(".")[2] for name, *_ in chain_of(coroutine)] == ["odd"]
    coroutine.close()
    asyncio.run(main())
