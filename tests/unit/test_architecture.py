"""The house: arrows point one way, what must not touch the world does not, and nothing grows too long."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import builder

ROOT = Path(builder.__file__).parent
PAGE = ROOT.parent / "docs" / "architecture.md"

# Used by everybody, and not rooms of the house themselves.
EVERYWHERE = {"errors", "ports", "__init__"}
ADAPTERS = {"registry", "net", "engine", "host"}
# Who besides an adapter may import one: what puts them together, for runs and for the doctor, and who shows the bake file
# that would be fed.
PICKS_ADAPTERS = {"pipeline.wiring", "pipeline.clients", "pipeline.probing", "cli.plan_view"}
# Decide and render: no clock, no environment, no disk, no network.
PURE = {
    "cache.choice",
    "cache.entry",
    "cli.availability_view",
    "cli.cache_view",
    "cli.comparison_view",
    "cli.doctor_view",
    "cli.lock_view",
    "cli.explain_view",
    "cli.plan_view",
    "cli.record_view",
    "cli.report_view",
    "cli.run_view",
    "cli.screen",
    "cli.verify_view",
    "config.amounts",
    "config.counted_tag",
    "config.go_options",
    "config.go_version",
    "config.request",
    "config.variables",
    "config.written_project",
    "doctor.finding",
    "engine.bake",
    "errors",
    "explain.bases",
    "explain.configuration",
    "explain.evidence",
    "explain.fact",
    "explain.files",
    "explain.image",
    "explain.packages",
    "explain.programs",
    "explain.tags",
    "explain.template_lines",
    "oci.image_config",
    "oci.layer_format",
    "oci.manifest",
    "oci.reference",
    "pipeline.report",
    "pipeline.verdict",
    "plan.archives",
    "plan.assembly",
    "plan.compile",
    "plan.dockerfile",
    "plan.fingerprint",
    "plan.go_build",
    "plan.lock",
    "plan.made",
    "plan.model",
    "plan.noted",
    "plan.planner",
    "plan.rendered",
    "plan.rootfs_step",
    "plan.selection",
    "plan.shards",
    "plan.tags",
    "plan.user",
    "plan.users_step",
    "publish.noted_changes",
    "publish.reasons",
    "recipe.availability",
    "recipe.istio_release",
    "recipe.release_wish",
    "recipe.template",
    "report.lanes",
    "report.message",
    "report.metrics",
    "report.page",
    "report.record",
    "report.trace",
    "rootfs.passwd",
    "runtime.text",
    "verify.expectation",
    "verify.files",
    "verify.findings",
    "verify.inspect",
}

# Libraries that speak to people or to the world, and who may.
SPOKESMEN = {
    "apprise": {"cli.notify"},
    "click": {
        "cli.cache_command",
        "cli.commands",
        "cli.completion_command",
        "cli.doctor_command",
        "cli.explain_command",
        "cli.failure",
        "cli.init_command",
        "cli.lock_command",
        "cli.main",
        "cli.nightly_command",
        "cli.options",
        "cli.program",
        "cli.push_command",
        "cli.recording",
        "cli.release_commands",
        "cli.releases_run",
        "cli.result",
        "cli.schedule_command",
        "cli.themed_command",
        "cli.value_completion",
        "cli.verify_command",
        "cli.voice",
    },
    "deflate": {"images.compress"},
    "docker": {"engine.docker", "registry.keychain"},
    "requests": {"net.download", "net.failure", "net.session", "registry.connection"},
    "urllib3": {"net.download", "net.failure", "net.live_connections", "net.session", "registry.connection"},
    "tenacity": {"runtime.retry"},
    "subprocess": {"host.process"},
    "socket": {"net.live_connections"},
    "rich": {"cli.display"},
    "pydantic": {
        "recipe.yaml_file",
        "recipe.schema",
        "recipe.rootfs_schema",
        "config.project_schema",
        "config.settings",
        "resolve.lock_file",
    },
    # Files are read by the one, and the lock is written by the other.
    "yaml": {"recipe.yaml_file", "resolve.lock_file"},
    "jinja2": {"recipe.template", "recipe.bounded_template", "report.page", "schedule.schedule_files"},
    "elftools": {"oci.elf"},
}
WORLD = {"os", "shutil", "subprocess", "time", "socket", "tempfile", "threading", "requests", "docker", "fcntl", "random", "glob"}

LONGEST_MODULE = 330
LONGEST_FUNCTION = 40
MOST_PARAMETERS = 6


def modules() -> dict[str, ast.Module]:
    """Every module by its dotted path below `builder`; a package is its `__init__`."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))
    }


def allowed_arrows() -> dict[str, set[str]]:
    """The table of the architecture page: each package with those it may use."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|([^|]*)\|$", PAGE.read_text(), re.MULTILINE)
    return {package: set(re.findall(r"\w+", uses)) for package, uses in rows}


MODULES = modules()
ARROWS = allowed_arrows()
PACKAGES = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}


def package_of(name: str) -> str:
    """The room that a module is in: `publish` of `publish.tags`."""
    return name.partition(".")[0]


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
    assert (PICKS_ADAPTERS | PURE | set().union(*SPOKESMEN.values())) - set(MODULES) == set()


def test_the_page_shows_every_package() -> None:
    assert set(ARROWS) == PACKAGES
    assert set().union(*ARROWS.values()) <= PACKAGES


@pytest.mark.parametrize("name", sorted(name for name in MODULES if "." in name))
def test_a_module_uses_what_the_page_allows(name: str) -> None:
    own = package_of(name)
    used = {package_of(other) for other in ours(name)} - EVERYWHERE - {own}
    assert used <= ARROWS[own], f"builder/{name.replace('.', '/')}.py; see docs/architecture.md"


@pytest.mark.parametrize("name", sorted(EVERYWHERE - {"__init__"}))
def test_what_everybody_uses_stands_on_values_alone(name: str) -> None:
    assert {package_of(other) for other in ours(name)} <= {"oci"}


def test_no_package_is_allowed_what_would_close_a_circle() -> None:
    list(graphlib.TopologicalSorter(ARROWS).static_order())


def test_no_arrow_is_on_the_page_that_nobody_needs() -> None:
    used = {own: {package_of(other) for name in MODULES if package_of(name) == own for other in ours(name)} for own in PACKAGES}
    assert {own: ARROWS[own] - used[own] for own in PACKAGES if ARROWS[own] - used[own]} == {}


def test_wiring_alone_picks_adapters() -> None:
    picking = {
        name for name in MODULES if package_of(name) not in ADAPTERS and {package_of(other) for other in ours(name)} & ADAPTERS
    }
    assert picking == PICKS_ADAPTERS
    assert {other for other in ours("cli.plan_view") if package_of(other) in ADAPTERS} == {"engine.bake"}


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_touch_nothing(name: str) -> None:
    assert libraries(name) & WORLD == set()
    calls = {node.func.id for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert calls & {"open", "print", "input", "eval", "exec"} == set()
    touching = {"read_text", "read_bytes", "write_text", "write_bytes", "exists", "is_file", "resolve", "now", "today", "cwd"}
    attributes = {node.attr for node in ast.walk(MODULES[name]) if isinstance(node, ast.Attribute)}
    assert attributes & touching == set()


@pytest.mark.parametrize("name", sorted(name for name in PURE if package_of(name) == "plan"))
def test_the_plan_is_made_of_pure_modules_only(name: str) -> None:
    # Recipes come in as values, ports as the types that a lock is made of.
    assert ours(name) <= PURE | {"recipe.schema", "recipe.book", "recipe.rootfs_schema", "ports", "__init__"}


@pytest.mark.parametrize("library", sorted(SPOKESMEN))
def test_a_library_of_the_world_is_spoken_to_by_few(library: str) -> None:
    assert {name for name in MODULES if library in libraries(name)} <= SPOKESMEN[library]


def test_what_is_looked_up_does_not_depend_on_how_it_is_planned() -> None:
    used = {other for name in MODULES if package_of(name) == "resolve" for other in ours(name) if package_of(other) == "plan"}
    # The values that come of it, and which recipes are meant.
    assert used == {"plan.lock", "plan.selection"}


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


def parameters(function: ast.FunctionDef) -> list[str]:
    """Their names, whether they are given by place or by name; the object itself is none of them."""
    given = function.args
    return [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs) if each.arg not in ("self", "cls")]


def test_functions_take_few_parameters() -> None:
    many = {
        f"{name}.{function.name}"
        for name, tree in MODULES.items()
        for function in functions(tree)
        if len(parameters(function)) > MOST_PARAMETERS
    }
    assert many == set()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_are_short(name: str) -> None:
    length = len((ROOT / f"{name.replace('.', '/')}.py").read_text().splitlines())
    assert length <= LONGEST_MODULE


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_and_public_things_say_what_they_are(name: str) -> None:
    tree = MODULES[name]
    assert ast.get_docstring(tree)
    things = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")]
    assert [thing.name for thing in things if not ast.get_docstring(thing)] == []


def test_names_say_what_a_module_is_about() -> None:
    vague = r"(^|_)(utils?|helpers?|common|manager|handler|misc|base|impl|core)($|_)"
    assert [name for name in MODULES if re.search(vague, name.rpartition(".")[2])] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nobody_sleeps_where_an_interruption_cannot_wake_them(name: str) -> None:
    """A wait is that of the run's Cancellation, or of what is handed in for it."""
    attributes = {ast.unparse(node) for node in ast.walk(MODULES[name]) if isinstance(node, ast.Attribute)}
    assert "time.sleep" not in attributes
    assert "sleep" not in {
        alias.name for node in ast.walk(MODULES[name]) if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_values_are_frozen() -> None:
    for name in (name for name in MODULES if package_of(name) not in ADAPTERS and name != "runtime.progress"):
        for node in ast.walk(MODULES[name]):
            if not isinstance(node, ast.ClassDef):
                continue
            for decorator in node.decorator_list:
                text = ast.unparse(decorator)
                assert not text.startswith("dataclass") or "frozen=True" in text, f"{name}.{node.name}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_in_a_frozen_value_can_be_changed(name: str) -> None:
    """Tuples, and Mapping where something is looked up by its key: that has no method that would change it."""
    changeable = [
        f"{node.name}.{ast.unparse(field.target)}"
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.ClassDef) and is_frozen(node)
        for field in node.body
        if isinstance(field, ast.AnnAssign)
        if {part.id for part in ast.walk(field.annotation) if isinstance(part, ast.Name)} & {"list", "dict", "set", "bytearray"}
    ]
    assert changeable == []


def is_frozen(node: ast.ClassDef) -> bool:
    """Whether it is a frozen dataclass or one of what is read from YAML, which pydantic freezes."""
    return any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list) or any(
        ast.unparse(base) == "Schema" for base in node.bases
    )
