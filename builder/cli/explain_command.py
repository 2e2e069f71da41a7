"""`istio-build explain`: where each thing in an image comes from."""

import json
from typing import Any

import click

from builder.cli.options import collect_given, how, output_format, what, where
from builder.cli.session import open_adapters
from builder.cli.streams import printed_on
from builder.cli.themed_command import ThemedCommand
from builder.cli.value_completion import complete_value

# Where stdout is no terminal.
_WIDTH = 100


@click.command(
    cls=ThemedCommand,
    examples=(
        ("istio-build explain proxyv2 --istio 1.29.0", "both variants of an image"),
        ("istio-build explain pilot-distroless --source ../istio --recipes recipes", "one, with recipes of your own"),
        ("istio-build explain proxyv2 --istio 1.29.0 --output-format json", "for programs"),
    ),
)
@where
@what
@how
@output_format("text", "json")
@click.argument("names", metavar="[IMAGE]...", nargs=-1, shell_complete=complete_value)
@click.pass_context
def explain(context: click.Context, /, names: tuple[str, ...], output_format: str, **options: Any) -> None:  # noqa: ANN401
    """Say where each file, flag, base and tag of an image comes from: line of a recipe, range of releases, setting.

    IMAGE may have its variant behind it (proxyv2-distroless). Reads the source and the recipes alone: no hub and no registry
    is asked, no Docker and no Go is run.
    """
    from builder.cli.explain_view import explanation_json, explanation_text
    from builder.config.project_file import find_project
    from builder.config.settings import make_job
    from builder.pipeline.explain import explain_job
    from builder.pipeline.find_releases import find_one_release
    from builder.pipeline.moving_tags import share_tags

    job = make_job(collect_given(context), find_project(options["project_file"] or ""), needs_hub=False)
    with open_adapters(job, options["progress"]) as adapters:
        [one] = share_tags((find_one_release(job, adapters),))
        explanation = explain_job(one, adapters, names)
    if output_format == "json":
        click.echo(json.dumps(explanation_json(explanation), indent=2))
    else:
        click.echo(explanation_text(explanation, printed_on().width or _WIDTH))
