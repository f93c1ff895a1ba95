"""`spprof completion`: what a shell needs to complete the command line."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import add_command


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "completion",
        "print a shell's completion script",
        'examples:\n  eval "$(spprof completion bash)"   in ~/.bashrc\n'
        '  eval "$(spprof completion zsh)"    in ~/.zshrc',
    )
    parser.add_argument("shell", choices=["bash", "zsh"])
    parser.set_defaults(command=completion, commands=commands)


_BASH = """\
_spprof() {
    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "%(commands)s --help --version" -- "$word"))
        return
    fi
    case $command in
%(cases)s
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -o filenames -F _spprof spprof
"""


def completion(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    cases = []
    for name, command in options.commands.choices.items():
        words = " ".join(s for action in command._actions for s in action.option_strings)
        cases.append(f'        {name}) local options="{words}" ;;')
    if options.shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    names = " ".join(options.commands.choices)
    print(_BASH % {"commands": names, "cases": "\n".join(cases)}, end="")
    return 0
