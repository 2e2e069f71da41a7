"""`istio-build completion`: the script that has a shell complete commands, options and their values."""

import click

_SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "istio-build"


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that has a shell complete commands, options, images, variants and platforms.

    \b
    bash, in ~/.bashrc:
      eval "$(istio-build completion bash)"
    zsh, in ~/.zshrc, after compinit:
      eval "$(istio-build completion zsh)"
    fish, once:
      istio-build completion fish > ~/.config/fish/completions/istio-build.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind, "click knows these shells"
    # The name is that of the installed program, which the script calls, not the one that it was started by just now.
    script = kind(context.find_root().command, {}, _PROGRAM, f"_{_PROGRAM.replace('-', '_').upper()}_COMPLETE")
    click.echo(script.source())
