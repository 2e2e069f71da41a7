"""The house: arrows point one way, what must not touch the world does not, and nothing grows too long."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import builder

ROOT = Path(builder.__file__).parent

# Modules in layers; each imports only from its own layer or those before it.
VALUES = {
    "__init__",
    "errors",
    "reference",
    "oci",
    "lock",
    "request",
    "ports",
    "istio_release",
    "progress",
    "interruption",
    "trust",
    "regular_file",
    "tree_links",
    "elf",
    "file_lock",
    "json_document",
    "whole_file",
}
# Decide and render: no clock, no environment, no disk, no network.
PURE = {
    "accounts",
    "bounded_template",
    "errors",
    "istio_release",
    "json_document",
    "reference",
    "oci",
    "lock",
    "request",
    "plan",
    "render",
    "bake",
    "compile_plan",
    "go_build",
    "go_version",
    "layer_format",
    "plan_view",
    "report",
    "rootfs_step",
    "support",
    "users_step",
}
ADAPTERS = {
    "blob_pull",
    "apt",
    "buildx",
    "container_compiler",
    "docker_credentials",
    "docker_engine",
    "download",
    "git",
    "git_description",
    "git_remote",
    "git_view",
    "go",
    "live_connections",
    "machine_compiler",
    "partial_file",
    "patience",
    "process",
    "registry",
    "registry_answer",
    "registry_auth",
    "registry_checks",
    "registry_connection",
    "retry",
    "transport",
}
EDGE = {"__main__", "cli", "signals", "wiring"}

# Libraries that speak to people or to the world, and who may.
SPOKESMEN = {
    "click": {"cli"},
    "docker": {"docker_engine", "docker_credentials"},
    "requests": {"download", "registry_connection", "transport"},
    "urllib3": {"download", "live_connections", "registry_connection", "transport"},
    "tenacity": {"retry", "git", "buildx"},
    "subprocess": {"process"},
    "socket": {"live_connections"},
    "rich": {"progress_display"},
    "pydantic": {"yaml_document", "recipe", "rootfs_recipe", "settings"},
    "yaml": {"yaml_document"},
    "jinja2": {"render", "bounded_template"},
    "elftools": {"elf"},
}
WORLD = {"os", "shutil", "subprocess", "time", "socket", "tempfile", "threading", "requests", "docker", "fcntl", "random", "glob"}

# Long, and why that is better than what two halves would be.
LONG_MODULES = {
    "plan": "one decision after the other, read from top to bottom",
    "cli": "all flags of all commands, which are data more than code",
}
LONGEST_MODULE = 320
LONGEST_FUNCTION = 40


def modules() -> dict[str, ast.Module]:
    return {path.stem: ast.parse(path.read_text()) for path in sorted(ROOT.glob("*.py"))}


MODULES = modules()
STAGES = set(MODULES) - ADAPTERS - EDGE


def imports(tree: ast.AST) -> Iterator[str]:
    """The full names that are imported anywhere, within functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write builder.x, so that this test can read it"
            assert node.module
            # `from builder import oci` names a module, `from builder import __version__` does not.
            is_package = node.module == "builder"
            yield from (f"builder.{name.name}" if is_package else node.module for name in node.names)


def ours(name: str) -> set[str]:
    """The modules of ours that a module imports."""
    found = {imported.removeprefix("builder.") for imported in imports(MODULES[name]) if imported.startswith("builder.")}
    return found & set(MODULES)


def libraries(name: str) -> set[str]:
    """The top-level packages of others that a module imports."""
    return {imported.partition(".")[0] for imported in imports(MODULES[name])} - {"builder"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_module_that_is_listed_here_exists() -> None:
    named = VALUES | PURE | ADAPTERS | EDGE | set(LONG_MODULES) | set().union(*SPOKESMEN.values())
    assert named <= set(MODULES)
    assert list(ROOT.glob("*/*.py")) == [], "the house is flat"


@pytest.mark.parametrize("name", sorted(STAGES))
def test_stages_and_values_know_no_adapter_and_no_edge(name: str) -> None:
    assert ours(name) & (ADAPTERS | EDGE) == set()


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_know_no_stage(name: str) -> None:
    assert ours(name) <= VALUES


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_adapters_know_values_and_each_other(name: str) -> None:
    # What an adapter is given: the bake definition is made by a pure function, a layout is what the engine loads.
    assert ours(name) <= VALUES | ADAPTERS | {"bake", "layout"}


def test_wiring_alone_picks_adapters() -> None:
    assert {name for name in MODULES if name not in ADAPTERS and ours(name) & ADAPTERS} == {"wiring"}
    assert {name for name in MODULES if "wiring" in ours(name)} == {"cli"}
    assert {name for name in MODULES if "cli" in ours(name)} == {"__main__"}


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_touch_nothing(name: str) -> None:
    assert libraries(name) & WORLD == set()
    calls = {node.func.id for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert calls & {"open", "print", "input", "eval", "exec"} == set()
    touching = {"read_text", "read_bytes", "write_text", "write_bytes", "exists", "is_file", "resolve", "now", "today", "cwd"}
    attributes = {node.attr for node in ast.walk(MODULES[name]) if isinstance(node, ast.Attribute)}
    assert attributes & touching == set()


@pytest.mark.parametrize("name", sorted(PURE - {"plan_view", "report", "support"}))
def test_pure_modules_import_pure_modules_only(name: str) -> None:
    # Recipes come in as values, ports as the types that a lock is made of.
    assert ours(name) <= PURE | {"recipe", "recipe_book", "rootfs_recipe", "ports", "__init__"}


@pytest.mark.parametrize("library", sorted(SPOKESMEN))
def test_a_library_of_the_world_is_spoken_to_by_few(library: str) -> None:
    assert {name for name in MODULES if library in libraries(name)} <= SPOKESMEN[library]


def test_no_module_imports_itself_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name in done:
            return
        for other in sorted(ours(name)):
            visit(other, (*way, name))
        done.add(name)

    for name in MODULES:
        visit(name, ())
    assert done == set(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_functions_fit_on_a_screen(name: str) -> None:
    long = {
        function.name: length
        for function in functions(MODULES[name])
        if (length := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    }
    assert long == {}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_are_short_or_say_why_not(name: str) -> None:
    length = len((ROOT / f"{name}.py").read_text().splitlines())
    assert (length > LONGEST_MODULE) == (name in LONG_MODULES), f"{name} has {length} lines"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_and_public_things_say_what_they_are(name: str) -> None:
    tree = MODULES[name]
    assert ast.get_docstring(tree)
    things = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")]
    assert [thing.name for thing in things if not ast.get_docstring(thing)] == []


def test_names_say_what_a_module_is_about() -> None:
    vague = r"(^|_)(utils?|helpers?|common|manager|handler|misc|base|impl|core)($|_)"
    assert [name for name in MODULES if re.search(vague, name)] == []


def test_values_are_frozen() -> None:
    for name in (VALUES | PURE | STAGES) - {"progress", "interruption"}:
        for node in ast.walk(MODULES[name]):
            if not isinstance(node, ast.ClassDef):
                continue
            for decorator in node.decorator_list:
                text = ast.unparse(decorator)
                assert not text.startswith("dataclass") or "frozen=True" in text, f"{name}.{node.name}"
