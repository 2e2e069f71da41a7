"""The command that verifies hubs, in a module of its own for its many options."""

import json
from typing import TYPE_CHECKING, Any

import click

from builder.cli.options import all_of, collect_given, how, no_source, output_format, outputs, project_file, setting, setting_for
from builder.cli.recording import recorded
from builder.cli.session import open_adapters
from builder.cli.streams import printed_on
from builder.cli.themed_command import ThemedCommand
from builder.config.options import find_option
from builder.errors import VerifyError

if TYPE_CHECKING:
    from builder.config.settings import Job
    from builder.verify.verification import Verification

_MEANINGS = {
    "hub": "A hub to verify, such as docker.io/me: all that it should hold.",
    "istio": "The release that hubs should hold, such as 1.29.0; by default the one that the tag names.",
    "tag": "The tag that it should have there; by default the release.",
    "image": "An image or group (core, mesh, test, bases, all); all by default.",
    "variant": "A variant: debug, distroless; all by default.",
    "platform": "A wanted platform; linux/amd64 and linux/arm64 by default.",
}
_what = all_of(
    *(setting_for(name, meaning) for name, meaning in _MEANINGS.items()),
    setting(find_option("recipes")),
    setting(find_option("insecure_registry")),
    project_file,
)


_EXAMPLES = (
    ("istio-build verify --hub docker.io/me --istio 1.29.0", "all that a release should have there"),
    ("istio-build verify ghcr.io/me/tool:2 --fix-hint", "any image, and what mends it"),
)


@click.command(cls=ThemedCommand, examples=_EXAMPLES)
@click.argument("references", metavar="[REFERENCE]...", nargs=-1)
@_what
@how
@click.option("--deep", is_flag=True, help="Read every layer whole, also those that are known, and sum it.")
@click.option("--run", is_flag=True, help="Also start each image's program and ask for its version. Runs what is in the images.")
@click.option("--compare-with", metavar="HUB", default="", help="Where Istio's own images are; `none` for no comparison.")
@click.option("--fix-hint", is_flag=True, help="Say for each finding which command mends it.")
@output_format("table", "json", "junit", before="--format")
@outputs
@click.pass_context
def verify(context: click.Context, /, references: tuple[str, ...], output_format: str, **options: Any) -> None:  # noqa: ANN401
    """Look at images as a puller does, whoever pushed them: platforms, layers, programs, settings. Changes nothing."""
    from builder.pipeline.verify import VerifyRequest, plan_newest, plan_verification, run_verification

    job = _verify_job(context, references)
    request = VerifyRequest(references=references, compare_with=options["compare_with"], deep=options["deep"], run=options["run"])
    # What cannot be is told before anybody is asked.
    plan_verification(job, request)
    with recorded(context, job) as recording:
        with open_adapters(job, options["progress"], recording=recording) as adapters:
            plan = plan_newest(job, request, adapters)
            found = run_verification(plan, request, adapters)
        recording.verified(found, plan.release)
        _show(found, plan.release, output_format, fix=options["fix_hint"])


def _show(found: "Verification", release: str, view: str, *, fix: bool) -> None:
    """Print it. Raises VerifyError where the hub is not right, RegistryError where it could not be read."""
    from builder.cli.verify_view import verify_json, verify_junit, verify_table, verify_verdict

    show = {
        "table": lambda: verify_table(found, release, printed_on(), fix=fix),
        "json": lambda: json.dumps(verify_json(found, release), indent=2),
        "junit": lambda: verify_junit(found, release),
    }
    click.echo(show[view]())
    verdict = verify_verdict(found)
    if verdict:
        raise VerifyError(f"the hub is not right: {verdict}", hint="docs/verify.md says what each kind of finding means.")
    if found.failures:
        raise found.failures[0]


def _verify_job(context: click.Context, references: tuple[str, ...]) -> "Job":
    """Nothing is built, so no source is needed; a hub in the project file is not meant where images are named."""
    from builder.config.merged import Given
    from builder.config.project_file import find_project
    from builder.config.settings import make_job

    given, project = collect_given(context), find_project(context.params["project_file"] or "")
    if references and "hub" not in given:
        given["hub"] = Given(words=(), origin="REFERENCE")
    has_release = "istio" in given or (project and "istio" in (project.data or {}))
    return make_job(given if has_release else {**given, **no_source()}, project, needs_hub=False)
