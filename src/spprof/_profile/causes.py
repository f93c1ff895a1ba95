"""Why threads wait, by where they do: which Python code is known to wait for what.

What the engine knows (the system call that a thread was in) is in the `sample.state` already; this
adds what only the stack tells. Pure, and must not know how samples are taken. `start` imports
this, so that `stop` need not.
"""

from __future__ import annotations

from array import array
from itertools import compress

from .tables import CAUSE_SHIFT, CAUSES, NATIVE, STATE_WITHOUT_CAUSE, WAITING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tables import StackIndex, Tables

UNKNOWN, LOCK, SOCKET, FILE = (CAUSES.index(name) for name in ("unknown", "lock", "socket", "file"))
CHILD, THREAD, SLEEP = CAUSES.index("process"), CAUSES.index("thread"), CAUSES.index("sleep")
# The frame above a job of a pool of threads, in the stack of the task that waits for it.
WORKER = "[worker thread]"

# Functions of the standard library that wait, by the end of their file and the last part of their
# name, and what for.
_KNOWN: dict[str, dict[str, int]] = {
    "threading.py": {
        "join": THREAD,
        "_wait_for_tstate_lock": THREAD,
        "_shutdown": THREAD,
        "wait": LOCK,
        "wait_for": LOCK,
        "acquire": LOCK,
        "__enter__": LOCK,
    },
    "queue.py": {"get": LOCK, "put": LOCK, "join": LOCK},
    "concurrent/futures/_base.py": {"result": LOCK, "exception": LOCK, "wait": LOCK},
    "concurrent/futures/thread.py": {"shutdown": THREAD},
    "selectors.py": {"select": SOCKET},
    "socket.py": {"accept": SOCKET, "readinto": SOCKET, "create_connection": SOCKET},
    "ssl.py": {
        name: SOCKET
        for name in ("read", "write", "recv", "recv_into", "send", "sendall", "do_handshake")
    },
    "subprocess.py": {
        name: CHILD for name in ("wait", "_wait", "_try_wait", "communicate", "_communicate", "run")
    },
    "multiprocessing/popen_fork.py": {"poll": CHILD, "wait": CHILD},
    "multiprocessing/process.py": {"join": CHILD},
    "multiprocessing/pool.py": {
        name: CHILD for name in ("get", "wait", "next", "join", "_help_stuff_finish")
    },
    "concurrent/futures/process.py": {"shutdown": CHILD},
    "multiprocessing/connection.py": {
        name: SOCKET for name in ("wait", "poll", "_poll", "_recv", "_recv_bytes", "_send")
    },
    # Of suspended tasks.
    "asyncio/tasks.py": {"sleep": SLEEP},
    "asyncio/locks.py": {
        name: LOCK for name in ("acquire", "wait", "wait_for", "__aenter__", "_block")
    },
    "asyncio/queues.py": {"get": LOCK, "put": LOCK, "join": LOCK},
    "asyncio/streams.py": {
        name: SOCKET
        for name in (
            *("read", "readline", "readuntil", "readexactly", "_wait_for_data"),
            *("drain", "_drain_helper", "open_connection", "wait_closed"),
        )
    },
    "asyncio/base_events.py": {"create_connection": SOCKET, "_sock_connect": SOCKET},
    **{
        f"asyncio/{kind}_events.py": {
            f"sock_{name}": SOCKET
            for name in (
                *("recv", "recv_into", "recvfrom", "recvfrom_into"),
                *("sendall", "sendto", "sendfile", "connect", "accept"),
            )
        }
        for kind in ("selector", "proactor")
    },
    "asyncio/subprocess.py": {name: CHILD for name in ("wait", "communicate", "_read_stream")},
    "asyncio/base_subprocess.py": {"_wait": CHILD},
}
# A pool of threads waits by the same functions as one of processes; its threads run this one.
_POOL, _OF_THREADS = "multiprocessing/pool.py", "worker"
# Of functions on top of each other the cause that says most.
_SAYS_MORE = {
    cause: place for place, cause in enumerate((CHILD, THREAD, SOCKET, FILE, LOCK, SLEEP))
}


def _known_functions(tables: Tables) -> list[int]:
    """For each function what it is known to wait for; -1 where it is none of the table's."""
    found = [-1] * len(tables.func_name)
    known_file: dict[int, str] = {}
    of_pools: list[int] = []
    pools_of_threads = False
    for func, file in enumerate(tables.func_file):
        if file not in known_file:
            path = tables.strings[file].replace("\\", "/")
            ends = (end for end in _KNOWN if path == end or path.endswith("/" + end))
            known_file[file] = next(ends, "")
        if known_file[file]:
            name = tables.strings[tables.func_name[func]].rpartition(".")[2]
            found[func] = _KNOWN[known_file[file]].get(name, UNKNOWN)
            if known_file[file] == _POOL:
                of_pools.append(func)
                pools_of_threads |= name == _OF_THREADS
    if pools_of_threads:
        for func in of_pools:
            found[func] = LOCK if found[func] == CHILD else found[func]
    return found


def by_stack(tables: Tables, stacks: Sequence[StackIndex]) -> dict[StackIndex, int]:
    """What these stacks wait for, as far as they tell: rows of `CAUSES`.

    The innermost functions count, as long as they are ones that are known to wait, or of the same
    files.
    """
    known = _known_functions(tables)
    jobs = {func for func, name in enumerate(tables.func_name) if tables.strings[name] == WORKER}
    causes: dict[StackIndex, int] = {}
    for stack in stacks:
        cause = UNKNOWN
        row = stack
        while row >= 0:
            func = tables.frame_func[tables.stack_frame[row]]
            here = known[func]
            if here < 0 and not tables.func_flags[func] & NATIVE:
                # A task that waits for a job waits for its future.
                above = tables.stack_parent[row]
                if jobs and above >= 0 and tables.frame_func[tables.stack_frame[above]] in jobs:
                    cause = LOCK
                break
            if here > 0 and (cause == UNKNOWN or _SAYS_MORE[here] < _SAYS_MORE[cause]):
                cause = here
            row = tables.stack_parent[row]
        causes[stack] = cause
    return causes


def both(by_call: int, by_functions: int) -> int:
    """The cause that the system call tells, refined by what the functions tell."""
    if by_call == UNKNOWN:
        return by_functions
    if by_call == LOCK and by_functions == THREAD:
        return THREAD
    if by_call in (LOCK, SOCKET, FILE) and by_functions == CHILD:
        return CHILD
    return by_call


# What a `sample.state` becomes by translation: 1 where it waits.
_WAITS = bytes(state & WAITING for state in range(256))


def refined(tables: Tables) -> Tables:
    """The same samples; those that wait say what for, as far as their stacks tell."""
    # Without a loop of Python's over the samples: stop() waits for it.
    mask = bytes(tables.sample_state).translate(_WAITS)
    waiting = set(compress(zip(tables.sample_stack, tables.sample_state), mask))
    if not waiting:
        return tables
    causes = by_stack(tables, [*{stack for stack, _ in waiting}])
    changed = {
        (stack, state): state & STATE_WITHOUT_CAUSE
        | both(state >> CAUSE_SHIFT, causes[stack]) << CAUSE_SHIFT
        for stack, state in waiting
    }
    if all(state == new for (_, state), new in changed.items()):
        return tables
    states = array("B", tables.sample_state)
    for row in compress(range(len(states)), mask):
        states[row] = changed[tables.sample_stack[row], states[row]]
    return tables.same_stacks(sample_state=states)


def rows_waiting_for(tables: Tables, cause: int) -> list[bool]:
    """For each row of samples whether it waits for this, a row of `CAUSES`.

    Also in profiles whose samples do not say it, as far as their stacks do.
    """
    waiting = {
        stack for stack, state in zip(tables.sample_stack, tables.sample_state) if state & WAITING
    }
    told = by_stack(tables, [*waiting])
    return [
        bool(state & WAITING) and both(state >> CAUSE_SHIFT, told[stack]) == cause
        for stack, state in zip(tables.sample_stack, tables.sample_state)
    ]


def waits(tables: Tables) -> dict[str, int]:
    """See `Profile.waits`."""
    sums = [0] * len(CAUSES)
    for state, weight in zip(tables.sample_state, tables.sample_weight):
        if state & WAITING:
            sums[state >> CAUSE_SHIFT] += weight
    found = [(name, ns) for name, ns in zip(CAUSES, sums) if ns]
    return dict(sorted(found, key=lambda cause: -cause[1]))
