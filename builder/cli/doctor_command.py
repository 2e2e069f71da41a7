"""`istio-build doctor`: whether a push would find all that it needs."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.options import cache, collect_given, how, no_source, output_format, what, where
from builder.cli.streams import printed_on, show_for_now
from builder.cli.themed_command import ThemedCommand
from builder.errors import NotReady

if TYPE_CHECKING:
    from builder.config.merged import Given
    from builder.recipe.yaml_file import YamlDocument


@click.command(cls=ThemedCommand)
@where
@what
@how
@cache
@click.option("--output", metavar="DIR", default="istio-images", show_default=True, help="Where `build` would put layouts.")
@click.option("--run", is_flag=True, help="Also look at what `verify --run` needs.")
@click.option(
    "--limit", metavar="SECONDS", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="For how long each check."
)
@output_format("table", "json")
@click.pass_context
def doctor(context: click.Context, /, output: str, run: bool, limit: float, **options: Any) -> None:  # noqa: ANN401 - click
    """Look at all that a push with these settings will need, before one is needed. Changes nothing."""
    from builder.cli.doctor_view import doctor_json, doctor_table, doctor_verdict
    from builder.cli.signals import heard
    from builder.config.project_file import find_project
    from builder.config.settings import make_job
    from builder.pipeline.doctor import DoctorRequest, examine_job
    from builder.runtime.cancellation import Cancellation

    given, project = collect_given(context), find_project(options["project_file"] or "")
    has_source = _names_source(given, project)
    job = make_job(given if has_source else {**given, **no_source()}, project, needs_hub=False)
    request = DoctorRequest(output=Path(output), starts=run, has_source=has_source, limit=limit)
    cancellation = Cancellation()
    with heard(cancellation, as_json=options["progress"] == "json"):
        checked = examine_job(job, request, os.environ, cancellation)
    show_for_now("")
    as_json = options["output_format"] == "json"
    click.echo(json.dumps(doctor_json(checked), indent=2) if as_json else doctor_table(checked, printed_on()))
    verdict = doctor_verdict(checked)
    if verdict:
        raise NotReady(f"a run would fail: {verdict}", hint="docs/doctor.md says what each check looks at.")


def _names_source(given: "dict[str, Given]", project: "YamlDocument | None") -> bool:
    """Whether anything says which Istio; without, what needs no source is looked at all the same."""
    data = (project.data or {}) if project else {}
    return any(name in given or data.get(name) for name in ("source", "istio")) or Path("istio.deps").is_file()
