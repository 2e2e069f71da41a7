"""`istio-build schedule`: writes what has a scheduler run `istio-build nightly`."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder import __version__
from builder.cli.options import project_file
from builder.errors import RequestError

if TYPE_CHECKING:
    from builder.config.settings import Job
    from builder.schedule.nightly_job import NightlyJob, ProjectPart
    from builder.schedule.schedule_files import ScheduleFile

_KINDS = ("cron", "systemd", "kubernetes", "github", "gitlab")
_HOSTED = ("github", "gitlab")
_CREDENTIALS = {"systemd": "/etc/istio-build/config.json", "kubernetes": "istio-build-registry"}


@click.command()
@click.argument("kind", type=click.Choice(_KINDS))
@project_file
@click.option(
    "--at",
    "--time",
    "at",
    metavar="HH:MM",
    default="03:17",
    show_default=True,
    help="When, in UTC (cron: the machine's zone).",
)
@click.option("--image", metavar="REFERENCE", default="", help="An image with istio-build to run in; kubernetes needs one.")
@click.option(
    "--install",
    metavar="WHAT",
    default="",
    help="github and gitlab without --image: what pip installs, such as a wheel; this very version by default.",
)
@click.option("--program", metavar="PATH", default="", help="cron and systemd: where istio-build is; this one by default.")
@click.option("--user", metavar="NAME", default="", help="systemd: the user it runs as; one made for it by default.")
@click.option(
    "--credentials",
    metavar="WHERE",
    default="",
    help=f"systemd: a Docker config.json ({_CREDENTIALS['systemd']}); kubernetes: a Secret ({_CREDENTIALS['kubernetes']}).",
)
@click.option("--namespace", metavar="NAME", default="", help="kubernetes: the namespace.")
@click.option("--output", metavar="PATH", default="", help="A file, or of systemd's two a directory; stdout by default.")
def schedule(kind: str, output: str, **options: Any) -> None:  # noqa: ANN401 - click
    """Write a job that runs `istio-build nightly` each night with this project file. Holds no credentials."""
    from builder.schedule.schedule_files import write_schedule

    files = write_schedule(kind, _job(kind, options))
    if not output:
        click.echo("\n".join(file.text.rstrip("\n") if len(files) == 1 else _titled(file) for file in files))
        return
    _write(files, Path(output))


def _job(kind: str, options: dict[str, Any]) -> "NightlyJob":
    from builder.config.project_file import PROJECT_FILE, find_project
    from builder.config.settings import make_job
    from builder.schedule.nightly_job import NightlyJob, TimeOfDay
    from builder.schedule.project_parts import refuse_credentials

    document = find_project(options["project_file"] or "")
    if document is None:
        raise RequestError(
            f"there is no {PROJECT_FILE} here, and a job has all its settings from there", hint="--file names another."
        )
    # What the job would stumble over each night.
    wanted = make_job({}, document)
    refuse_credentials(options["install"], "--install")
    program = _program(options["program"]) if kind in ("cron", "systemd") else "istio-build"
    return NightlyJob(
        project=_as_found(kind, document.path),
        program=program,
        time=TimeOfDay.parse(options["at"]),
        path=_search_path(program),
        image=_image(kind, options["image"]),
        install=options["install"] or _this_version(wanted),
        credentials=_name(kind, "--credentials", options["credentials"]) or _CREDENTIALS.get(kind, ""),
        namespace=_name(kind, "--namespace", options["namespace"]),
        user=options["user"],
        files=_parts(document.path, wanted) if kind == "kubernetes" else (),
        variables=tuple(sorted(wanted.outputs.variables)),
    )


def _this_version(wanted: "Job") -> str:
    extras = "go,notify" if wanted.outputs.notify else "go"
    return f"istio-build[{extras}]=={__version__}"


def _parts(project: Path, wanted: "Job") -> "tuple[ProjectPart, ...]":
    from builder.schedule.project_parts import read_parts

    return read_parts(project, wanted)


def _as_found(kind: str, project: Path) -> str:
    """A checkout of the repository is where a pipeline runs, so there it is relative."""
    if kind not in _HOSTED:
        return str(project.absolute())
    if project.is_absolute() or ".." in project.parts:
        raise RequestError(
            f"--file {project} is not below the working directory", hint="Run this at the top of the repository that has it."
        )
    return str(project)


def _program(named: str) -> str:
    found = named or shutil.which("istio-build") or _this_one()
    if not found:
        raise RequestError("istio-build is not in PATH", hint="--program says where it is on the machine that runs the job.")
    return str(Path(found).absolute())


def _this_one() -> str:
    """The program that is running, where it was called by its path."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "istio-build" and called.is_file() else ""


def _search_path(program: str) -> str:
    """Cron's own is short: this one has what is found now, a Go and a git of the user's among it."""
    found = (program, *(shutil.which(name) for name in ("go", "git")))
    places = [str(Path(path).parent) for path in found if path and os.path.isabs(path)]
    return os.pathsep.join(dict.fromkeys([*places, "/usr/local/bin", "/usr/bin", "/bin"]))


def _name(kind: str, flag: str, name: str) -> str:
    """RFC 1123, as Kubernetes has it of names."""
    if kind == "kubernetes" and name and not re.fullmatch(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", name):
        raise RequestError(f"{flag} {name!a} is no name in Kubernetes", hint="It has small letters, digits and dashes.")
    return name


def _image(kind: str, named: str) -> str:
    from builder.oci.reference import ImageReference

    if kind == "kubernetes" and not named:
        raise RequestError(
            "a CronJob needs an image with istio-build",
            hint="--image registry.corp.example/istio-build:1; `make image` in its source builds one.",
        )
    return str(ImageReference.parse(named)) if named else ""


def _titled(file: "ScheduleFile") -> str:
    return f"# ---- {file.name}\n{file.text}"


def _write(files: "tuple[ScheduleFile, ...]", output: Path) -> None:
    from builder.runtime.atomic_file import whole_file

    into_directory = len(files) > 1 or output.is_dir()
    for file in files:
        path = output / file.name if into_directory else output
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(file.text, encoding="utf-8")
        click.echo(str(path))
