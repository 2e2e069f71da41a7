"""The error tree: one exit code for each class, and a docstring that draws it as it is."""

import inspect
import re

from builder import errors
from builder.errors import AccessDenied, BuilderError, RegistryError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BuilderError)]


def test_every_error_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(codes) == len(set(codes)) > 10
    # 0 means success; from 128 on shells mean signals, and 130 is the one of Ctrl-C.
    assert all(0 < code < 126 or kind is errors.Interrupted for kind, code in zip(KINDS, codes, strict=True))
    assert errors.Interrupted.exit_code == 128 + 2


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn = re.findall(r"^    ([│├└─ ]*)(\w+) +(\d+)   ", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for _, name, code in drawn} == {kind.__name__: kind.exit_code for kind in KINDS}
    depths = {name: len(lines) // 4 for lines, name, _ in drawn}
    assert depths == {kind.__name__: len(kind.__mro__) - len(BuilderError.__mro__) for kind in KINDS}


def test_an_error_with_several_parents_has_no_place_in_a_tree() -> None:
    assert all(len(kind.__bases__) == 1 for kind in KINDS)


def test_an_error_says_what_and_what_next() -> None:
    error = BuilderError("it broke", hint="Mend it.")
    assert (str(error), error.message, error.hint) == ("it broke", "it broke", "Mend it.")
    assert BuilderError("it broke").hint == ""


def test_an_error_of_a_registry_says_whether_trying_again_may_help() -> None:
    error = AccessDenied("no", hint="Log in.", status=403)
    assert isinstance(error, RegistryError)
    assert (error.status, error.temporary) == (403, False)
    assert RegistryError("busy", status=503, temporary=True).temporary
