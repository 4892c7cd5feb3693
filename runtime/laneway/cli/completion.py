"""``laneway completion``: scripts by which shells complete its commands."""

from __future__ import annotations

import click

from laneway.cli.exits import Exit

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Write the script by which a shell completes commands, options and the names of contexts.

    \b
    Examples:
      source <(laneway completion bash)     (in ~/.bashrc)
      source <(laneway completion zsh)      (in ~/.zshrc)
      laneway completion fish | source      (in ~/.config/fish/config.fish)
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None, shell
    click.echo(made(ctx.find_root().command, {}, "laneway", "_LANEWAY_COMPLETE").source())
    return Exit.OK
