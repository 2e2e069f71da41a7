"""What a rendered Dockerfile says that the values of a plan do not say: only an engine that follows it can build that. Pure."""

from builder.ports import AssemblyTarget
from builder.recipe.template import exec_form, quoted


def unlike_values(target: AssemblyTarget) -> str:
    """The first instruction that the values of the target do not say, or that they say and the Dockerfile does not.

    "" where the two say the same, which the built-in templates do. A template of a user's own may write an instruction
    otherwise than these do, and is then taken to say something else.
    """
    expected = set(_instructions(target))
    written = [line for line in target.dockerfile.splitlines() if line.strip() and not line.startswith("#")]
    extra = [line for line in written if line not in expected]
    missing = sorted(expected - set(written))
    return (extra or missing or [""])[0]


def _instructions(target: AssemblyTarget) -> list[str]:
    config = target.config
    words = {"USER": config.user, "WORKDIR": config.working_dir}
    lists = {"ENTRYPOINT": config.entrypoint, "CMD": config.command}
    return [
        f"FROM {target.base.reference if target.base else 'scratch'}",
        *(f"ADD --link {archive} /" for archive in target.layers),
        *(f"ENV {name}={quoted(value)}" for name, value in config.env),
        *(f"LABEL {name}={quoted(value)}" for name, value in config.labels),
        *(f"{name} {value}" for name, value in words.items() if value),
        *(f"{name} {exec_form(value)}" for name, value in lists.items() if value),
    ]
