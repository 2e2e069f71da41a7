"""Tells git where to fetch from through its environment, as everybody on a machine can read what programs are given."""

import re
from urllib.parse import unquote

# No name that anybody has a remote of in their own configuration.
REMOTE = "istio-build-source"
_USER, _PASSWORD = "ISTIO_BUILD_GIT_USER", "ISTIO_BUILD_GIT_PASSWORD"
# A credential helper in the shell's own words: printf is part of it, so no program is given the password either.
_HELPER = f"""!f() {{ test "$1" = get && printf 'username=%s\\npassword=%s\\n' "${_USER}" "${_PASSWORD}"; }}; f"""


def remote_environment(url: str) -> dict[str, str]:
    """Environment in which git knows this URL as the remote `REMOTE`.

    Git gives a URL on to programs of its own (git-remote-https), so a password is taken out of it and given when the
    server asks for it, to this server alone.
    """
    settings = [(f"remote.{REMOTE}.url", url)]
    variables: dict[str, str] = {}
    found = re.match(r"(https?://)([^/?#@:]+):([^/?#]*)@([^/?#@]+)(.*)", url)
    secrets = [unquote(found[2]), unquote(found[3])] if found else []
    # Git itself refuses credentials with line ends, and says so.
    if found and all(secret.isprintable() for secret in secrets):
        context = f"credential.{found[1]}{found[4]}.helper"
        # The empty one makes git forget the helpers before it: what the URL says goes first, and nobody stores it.
        settings = [(f"remote.{REMOTE}.url", found[1] + found[4] + found[5]), (context, ""), (context, _HELPER)]
        variables = dict(zip((_USER, _PASSWORD), secrets, strict=True))
    for number, (name, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return {**variables, "GIT_CONFIG_COUNT": str(len(settings))}
