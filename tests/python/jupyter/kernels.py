"""A real kernel for tests, and what its cells show."""

from __future__ import annotations

import contextlib
import json
import textwrap

import pytest

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")

WIDGET = "application/vnd.jupyter.widget-view+json"


class Kernel:
    def __init__(self, manager, client):
        self._manager, self._client = manager, client
        self._replies = {}

    def run(self, cell, interrupt_at=None, cell_id=None, answer=None, timeout=60):
        """Run a cell, interrupted once it prints a text; return the reply and the outputs.

        What it asks for is answered, if there is an answer.
        """
        if cell_id is not None:
            return self._run_as(cell, cell_id)
        outputs = []

        def collect(message):
            outputs.append((message["msg_type"], message["content"]))
            if interrupt_at is not None and interrupt_at in message["content"].get("text", ""):
                self._manager.interrupt_kernel()

        reply = self._client.execute_interactive(
            textwrap.dedent(cell).strip(),
            allow_stdin=answer is not None,
            stdin_hook=lambda _: self._client.input(answer),
            output_hook=collect,
            timeout=timeout,
        )
        return reply["content"], outputs

    def _run_as(self, cell, cell_id):
        """Run a cell as a front end does that tells which it is."""
        return self.reply_to(self.send(cell, metadata={"cellId": cell_id})), []

    def send(self, cell, metadata=None, subshell=None):
        """Have a cell run, and return by which id its reply will be known."""
        session = self._client.session
        content = {"code": cell, "silent": False, "store_history": True, "stop_on_error": False}
        message = session.msg("execute_request", content, metadata=metadata)
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self._client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def reply_to(self, sent):
        """The reply to a cell, waited for; those to others are kept."""
        while sent not in self._replies:
            reply = self._client.get_shell_msg(timeout=60)
            self._replies[reply["parent_header"].get("msg_id")] = reply["content"]
        return self._replies.pop(sent)

    @contextlib.contextmanager
    def subshell(self):
        """A function that runs a cell beside what runs in the kernel, and returns its status."""
        control = self._client.control_channel
        control.send(self._client.session.msg("create_subshell_request"))
        made = self._client.get_control_msg(timeout=60)["content"]["subshell_id"]
        yield lambda cell: self.reply_to(self.send(cell, subshell=made))["status"]
        content = {"subshell_id": made}
        control.send(self._client.session.msg("delete_subshell_request", content))
        self._client.get_control_msg(timeout=60)

    def profile(self):
        """What the last profile says: its threads, stacks (root first) and total weight."""
        _, outputs = self.run("described()")
        return json.loads("".join(c["text"] for kind, c in outputs if kind == "stream"))


@contextlib.contextmanager
def running_kernel(folder):
    """A kernel that works in a folder of its own, with settings of its own."""
    manager = jupyter_client.KernelManager(kernel_name="python3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder))
        manager.start_kernel(cwd=str(folder))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@contextlib.contextmanager
def prepared_kernel(tmp_path_factory, cell):
    """A kernel that has run a cell."""
    with running_kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        reply, outputs = kernel.run(cell)
        assert reply["status"] == "ok", outputs
        yield kernel


def kinds(outputs):
    """What was shown, in order; the widgets' own traffic left out."""
    shown = []
    for kind, content in outputs:
        if kind == "display_data":
            shown.append("widget" if WIDGET in content["data"] else "picture")
        elif kind in ("execute_result", "error", "stream"):
            shown.append(kind)
    return shown


def printed(outputs):
    """What was printed."""
    return "".join(content["text"] for kind, content in outputs if kind == "stream")
