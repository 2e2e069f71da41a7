"""Patches: applied to a copy, in order, by git, which runs nothing and writes nowhere else; and a push of what comes of it."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.errors import PatchError, SourceError
from builder.host.git import Git
from builder.oci.reference import ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests.process.test_git import PLANTS, _git, content_by_git, make_git, marker, program
from tests.process.test_without_docker import RECIPE, TEMPLATE, hub_with_a_base
from tests.real.program import Ended, istio_build

__all__ = ("marker", "program")

TEXT = "".join(f"{number}\n" for number in range(1, 41))


@dataclass
class Site:
    """A checkout with one file of forty lines, and a place for patched copies of it."""

    directory: Path
    git: Git

    @property
    def tree(self) -> Path:
        return self.directory / "tree"

    @property
    def copies(self) -> Path:
        return self.directory / "patched"

    def patch(self, *patches: tuple[str, bytes]) -> tuple[Path, str]:
        return self.git.patch(self.tree, patches, self.copies)

    def refuses(self, *patches: tuple[str, bytes]) -> PatchError:
        """The error; neither the checkout nor anything else is another for it."""
        before = everything(self.directory)
        with pytest.raises(PatchError) as raised:
            self.patch(*patches)
        assert everything(self.directory) == before
        return raised.value


def everything(directory: Path) -> dict[str, bytes]:
    """All files below a directory, git's own and what locks are held by left out."""
    files = (path for path in directory.rglob("*") if path.is_symlink() or path.is_file())
    return {
        str(path): os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        for path in files
        if ".git" not in path.parts and path.name != "lock"
    }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    tree = tmp_path / "tree"
    tree.mkdir()
    _git(tree, "init", "--quiet")
    (tree / "file").write_text(TEXT)
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "link").symlink_to("below")
    (tree / "below").mkdir()
    (tree / "below" / "other").write_text("other\n")
    _git(tree, "add", ".")
    _git(tree, "commit", "--quiet", "--message", "one")
    _git(tree, "tag", "1.29.0")
    return Site(tmp_path, make_git(tmp_path))


def made(tree: Path, change: Callable[[Path], object], *options: str) -> bytes:
    """What `git diff` says of a change of a clean checkout, which is as it was afterwards."""
    change(tree)
    _git(tree, "add", "--all", "--force")
    patch = subprocess.run(["git", "diff", "--cached", "--binary", *options], cwd=tree, check=True, capture_output=True).stdout
    _git(tree, "reset", "--quiet", "--hard")
    assert patch
    return patch


def line(number: int, text: str) -> Callable[[Path], object]:
    """Has another text in a line of the file."""

    def change(tree: Path) -> None:
        lines = (tree / "file").read_text().splitlines()
        lines[number - 1] = text
        (tree / "file").write_text("".join(f"{each}\n" for each in lines))

    return change


def new_file(path: str, text: str) -> bytes:
    return f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{text}\n".encode()


class TestApplied:
    def test_in_order_to_a_copy_which_is_what_git_would_commit(self, site: Site) -> None:
        first = made(site.tree, line(3, "three"))
        second = first.replace(b"+three", b"+drei").replace(b"-3", b"-three")
        before = everything(site.tree)
        copy, content = site.patch(("1.patch", first), ("2.patch", second))
        assert (copy / "file").read_text() == TEXT.replace("3\n", "drei\n", 1)
        assert everything(site.tree) == before
        assert _git(site.tree, "status", "--porcelain") == ""
        line(3, "drei")(site.tree)
        assert content == content_by_git(site.tree)

    def test_files_that_are_added_removed_renamed_made_executable_and_of_bytes(self, site: Site) -> None:
        def change(tree: Path) -> None:
            (tree / "below" / "other").rename(tree / "renamed")
            (tree / "file").unlink()
            (tree / "run.sh").chmod(0o755)
            (tree / "a dir").mkdir()
            (tree / "a dir" / "bytes").write_bytes(bytes(range(256)))

        copy, _ = site.patch(("a.patch", made(site.tree, change, "-M")))
        assert (copy / "renamed").read_text() == "other\n"
        assert not (copy / "file").exists()
        assert os.access(copy / "run.sh", os.X_OK)
        assert (copy / "a dir" / "bytes").read_bytes() == bytes(range(256))
        assert os.readlink(copy / "link") == "below"

    def test_a_mail_of_format_patch_which_applies_elsewhere_in_the_file(self, site: Site) -> None:
        line(30, "thirty")(site.tree)
        _git(site.tree, "commit", "--quiet", "--all", "--message", "Subject\n\nbody\n--- a/none\n+++ b/none")
        mail = _git(site.tree, "format-patch", "--stdout", "-1") + "\n"
        _git(site.tree, "reset", "--quiet", "--hard", "HEAD~")
        (site.tree / "file").write_text(f"0\n{TEXT}")
        copy, _ = site.patch(("mail", mail.encode()))
        assert (copy / "file").read_text() == "0\n" + TEXT.replace("30\n", "thirty\n")

    def test_what_is_not_committed_is_in_the_copy_and_what_git_ignores_is_not(self, site: Site) -> None:
        patch = made(site.tree, line(3, "three"))
        (site.tree / "untracked").write_text("u")
        (site.tree / ".git" / "info" / "exclude").write_text("ignored*\n")
        (site.tree / "ignored.bin").write_text("i")
        (site.tree / "ignored.go").write_text("package x")
        copy, _ = site.patch(("a.patch", patch))
        assert sorted(path.name for path in copy.iterdir()) == ["below", "file", "ignored.go", "link", "run.sh", "untracked"]

    def test_a_directory_of_a_repository(self, site: Site) -> None:
        patch = made(site.tree, lambda tree: (tree / "below" / "other").write_text("new\n"))
        copy, _ = site.git.patch(site.tree / "below", [("a.patch", patch)], site.copies)
        assert [path.name for path in copy.iterdir()] == ["other"]
        assert (copy / "other").read_text() == "new\n"

    def test_lines_end_as_the_repository_has_them_for_everybody(self, site: Site, tmp_path: Path) -> None:
        patch = made(site.tree, line(3, "three"))
        copy, content = site.patch(("a.patch", patch))
        home = tmp_path / "home"
        home.mkdir()
        (home / ".gitconfig").write_text("[core]\n\tautocrlf = true\n")
        other, same = make_git(tmp_path, HOME=str(home)).patch(site.tree, [("a.patch", patch)], tmp_path / "elsewhere")
        assert same == content
        assert (other / "file").read_bytes() == (copy / "file").read_bytes()


class TestTheCopy:
    def test_is_made_once_and_again_where_somebody_has_changed_it(self, site: Site) -> None:
        patch = ("a.patch", made(site.tree, line(3, "three")))
        copy, _ = site.patch(patch)
        written = (copy / "file").stat().st_ino
        assert site.patch(patch)[0] == copy
        assert (copy / "file").stat().st_ino == written
        whole = everything(copy)
        (copy / "file").write_text("another\n")
        assert site.patch(patch)[0] == copy
        assert everything(copy) == whole
        (copy / "new.go").write_text("package x")
        site.patch(patch)
        assert everything(copy) == whole

    def test_what_a_killed_run_left_and_what_is_old_goes(self, site: Site) -> None:
        patches = [(f"{number}.patch", made(site.tree, line(number, "x"))) for number in (3, 4)]
        old, _ = site.patch(patches[0])
        month_ago = time.time() - 31 * 24 * 3600
        os.utime(old.parent, (month_ago, month_ago))
        (site.copies / ("f" * 40 + ".partial") / "tree").mkdir(parents=True)
        copy, content = site.patch(patches[1])
        assert sorted(path.name for path in site.copies.iterdir()) == sorted([content, "lock"])
        assert copy.parent.stat().st_mtime > month_ago


class TestRefused:
    def test_what_does_not_apply_is_told_with_file_hunk_and_reason(self, site: Site) -> None:
        first = made(site.tree, line(3, "three"))

        def change(tree: Path) -> None:
            line(10, "ten")(tree)
            line(30, "thirty")(tree)

        second = made(site.tree, change).replace(b"-30\n", b"--- a/other\n")
        error = site.refuses(("1-first.patch", first), ("2-second.patch", second))
        assert "2-second.patch does not apply; applied before it: 1-first.patch" in error.message
        assert "  file: hunk 2 of 2, line 27: the lines that it changes are not there\n    | 27\n" in error.message
        assert "git format-patch" in error.hint
        assert error.exit_code == 22

    def test_what_the_source_has_already(self, site: Site) -> None:
        patch = made(site.tree, line(3, "three"))
        line(3, "three")(site.tree)
        error = site.refuses(("a.patch", patch))
        assert "none was applied before it" in error.message
        assert error.hint == "The source has all of it already: leave the patch out."

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "No valid patches in input"),
            (b"\x00\xff not a patch", "No valid patches in input"),
            (b"--- a/file\n+++ b/file\n@@ -1,3 +1,3 @@\n 1\n", "corrupt patch at line"),
            (b"--- a/none\n+++ b/none\n@@ -1 +1 @@\n-1\n+2\n", "none: does not exist in index"),
            (new_file("file", "x"), "file: already exists in index"),
        ],
    )
    def test_what_is_no_patch_or_of_another_tree(self, site: Site, content: bytes, told: str) -> None:
        assert told in site.refuses(("a.patch", content)).message

    @pytest.mark.parametrize(
        "path",
        ["../outside", "below/../../outside", ".git/hooks/post-checkout", ".git/config", "link/inside", "below/.GIT/config"],
    )
    def test_what_would_be_written_elsewhere(self, site: Site, path: str) -> None:
        message = site.refuses(("a.patch", new_file(path, "x"))).message
        assert path in message

    def test_a_whole_path(self, site: Site, tmp_path: Path) -> None:
        target = tmp_path / "outside"
        text = f"--- /dev/null\n+++ b{target}\n@@ -0,0 +1 @@\n+x\n"
        # Below the tree, as git cuts the first part of each path off.
        copy, _ = site.patch(("a.patch", text.encode()))
        assert not target.exists()
        assert (copy / str(target)[1:]).exists()
        assert f"{target}" in site.refuses(("b.patch", f"--- /dev/null\n+++ b/{target}\n@@ -0,0 +1 @@\n+x\n".encode())).message

    def test_a_link_and_what_would_be_written_through_it(self, site: Site, tmp_path: Path) -> None:
        link = f"diff --git a/way b/way\nnew file mode 120000\n--- /dev/null\n+++ b/way\n@@ -0,0 +1 @@\n+{tmp_path}\n"
        link += "\\ No newline at end of file\n"
        told = "a.patch makes way a symbolic link"
        assert told in site.refuses(("a.patch", link.encode())).message
        through = link.encode() + new_file("way/outside", "x")
        assert "way" in site.refuses(("a.patch", through)).message

        def move(tree: Path) -> None:
            (tree / "link").unlink()
            (tree / "link").symlink_to("/etc")

        moved = made(site.tree, move)
        assert "a.patch makes link a symbolic link" in site.refuses(("a.patch", moved)).message

    def test_a_submodule(self, site: Site) -> None:
        text = "diff --git a/sub b/sub\nnew file mode 160000\nindex 0000000..1111111\n--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n"
        text += f"+Subproject commit {'1' * 40}\n"
        assert "sub" in site.refuses(("a.patch", text.encode())).message

    def test_a_link_to_the_tree_itself_by_its_whole_path(self, site: Site) -> None:
        patch = made(site.tree, line(3, "three"))
        (site.tree / "own").symlink_to(site.tree / "file")
        with pytest.raises(SourceError, match="leads outside: own"):
            site.patch(("a.patch", patch))


@pytest.mark.parametrize("name", PLANTS)
def test_nothing_runs(site: Site, tmp_path: Path, program: str, marker: Path, name: str) -> None:
    patch = made(site.tree, line(3, "three"))
    attributes = new_file(".gitattributes", "* filter=x diff=x merge=x text")
    # Some plants commit, some only configure; a name of theirs is not in the way of the patch.
    variables = PLANTS[name](site.tree, program) or {}
    marker.unlink(missing_ok=True)
    patches = [("a.patch", patch)] + ([] if (site.tree / ".gitattributes").exists() else [("b.patch", attributes)])
    copy, _ = make_git(tmp_path, **variables).patch(site.tree, patches, site.copies)
    assert not marker.exists()
    assert "three" in (copy / "file").read_text()


# Of a file of the tree, so that no compiler has a part in it.
FEATURES = "pkg/features/features.go"


@dataclass
class Job:
    """A checkout of the sample, a hub with a base, and patches in a directory."""

    directory: Path
    host: str

    @property
    def source(self) -> Path:
        return self.directory / "src"

    def run(self, command: str, *more: str | Path) -> Ended:
        what = ("--source", self.source, "--recipes", self.directory / "recipes", "--image", "note", "--engine", "builtin")
        where = ("--hub", f"{self.host}/istio", "--base-registry", f"{self.host}/istio-base")
        cache = {"ISTIO_BUILD_CACHE": str(self.directory / "cache"), "DOCKER_CONFIG": str(self.directory)}
        return istio_build(command, *what, *(where if command != "lock" else where[2:]), *more, env=cache, cwd=self.directory)

    def write_patch(self, name: str, text: str, directory: str = "patches") -> Path:
        """A patch that puts a comment at the top of a file."""

        def change(tree: Path) -> None:
            path = tree / FEATURES
            path.write_text(f"// {text}\n{path.read_text()}")

        path = self.directory / directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made(self.source, change))
        return path


@pytest.fixture
def job(tmp_path: Path, source: Path) -> Iterator[Job]:
    shutil.copytree(source, tmp_path / "src", symlinks=True)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "note.yaml").write_text(RECIPE.replace("source: VERSION", f"source: {FEATURES}"))
    (tmp_path / "recipes" / "note.Dockerfile.j2").write_text(TEMPLATE)
    with hub_with_a_base(tmp_path) as host:
        yield Job(tmp_path, host)


def references(ended: Ended) -> Sequence[str]:
    assert ended.code == 0, ended.stderr
    return ended.stdout.splitlines()


class TestAPush:
    def test_a_patched_build_does_not_take_the_release_over(self, job: Job) -> None:
        patch = job.write_patch("a.patch", "patched")
        clean = references(job.run("push"))
        refused = job.run("push", "--patch", patch, "--tag", "1.29.0")
        assert refused.code == 26
        assert "this one has patches on its source" in refused.stderr
        own = job.run("push", "--patch", patch)
        [first, *_] = references(own)
        assert "/note:1.29.0-patched-" in first
        assert "The source has patches on it: a.patch." in own.stderr
        assert references(job.run("push")) == clean
        references(job.run("push", "--patch", patch, "--tag", "1.29.0", "--replace"))
        # What is patched holds nobody up who builds the release itself.
        assert references(job.run("push")) == clean

    def test_the_same_patches_give_the_same_digest_from_wherever_they_come(self, job: Job) -> None:
        one = job.write_patch("a.patch", "patched")
        other = job.write_patch("a.patch", "patched", "elsewhere")
        first = job.run("push", "--patch", one, "--output-format", "json").report()
        shutil.rmtree(job.directory / "cache")
        second = job.run("push", "--patch", other.parent, "--output-format", "json").report()
        assert second["images"][0]["state"] == "unchanged"
        assert second["patches"] == first["patches"] == {"a.patch": second["patches"]["a.patch"]}
        rebuilt = job.run("push", "--rebuild", "--patch", other, "--output-format", "json").report()
        assert rebuilt["images"][0]["state"] == "built"
        assert rebuilt["images"][0]["digest"] == first["images"][0]["digest"]
        job.write_patch("a.patch", "otherwise")
        assert job.run("push", "--patch", one, "--output-format", "json").report()["images"][0]["state"] == "built"

    def test_what_is_written_of_them(self, job: Job) -> None:
        patch = job.write_patch("a.patch", "patched")
        [reference, *_] = references(job.run("push", "--patch", patch))
        registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=lambda _: None))
        index = registry.get_manifest(ImageReference.parse(reference))
        assert index
        annotations = index.annotations()
        assert annotations["dev.istio-build.patches"].startswith("a.patch=sha256:")
        commit, patched, series = annotations["org.opencontainers.image.revision"].split("-")
        assert (len(commit), patched, len(series)) == (40, "patched", 12)
        assert annotations["org.opencontainers.image.version"] == f"1.29.0-patched-{series}"
        plan = json.loads(job.run("plan", "--patch", patch, "--format", "json").stdout)
        assert plan["patches"] == [{"name": "a.patch", "sha256": annotations["dev.istio-build.patches"][-64:]}]

    def test_a_lock_is_of_its_patches(self, job: Job) -> None:
        patch = job.write_patch("a.patch", "patched")
        written = job.run("lock", "--patch", patch)
        assert "patches a.patch sha256:" in written.stdout, written.stderr
        references(job.run("push", "--locked", "--patch", patch))
        renamed = patch.rename(patch.with_name("b.patch"))
        references(job.run("push", "--locked", "--patch", renamed))
        refused = job.run("push", "--locked")
        assert refused.code == 24
        assert "patches: the lock has a.patch=sha256:" in refused.stderr
        assert "nothing is asked for" in refused.stderr
        job.write_patch("b.patch", "otherwise")
        assert job.run("push", "--locked", "--patch", renamed).code == 24
        assert "everything is compiled anew" in job.run("lock", "--patch", renamed).stdout

    def test_the_project_file_names_them_relative_to_itself(self, job: Job) -> None:
        job.write_patch("a.patch", "patched")
        (job.directory / "istio-build.yaml").write_text("patches: patches\n")
        plan = json.loads(job.run("plan", "--format", "json").stdout)
        assert [patch["name"] for patch in plan["patches"]] == ["a.patch"]

    @pytest.mark.parametrize(
        ("name", "told"),
        [("none.patch", "cannot be read: No such file"), ("empty", r"there is no *.patch"), ("a b.patch", "no name for a patch")],
    )
    def test_what_is_none(self, job: Job, name: str, told: str) -> None:
        (job.directory / "empty").mkdir()
        (job.directory / "a b.patch").write_bytes(b"")
        refused = job.run("plan", "--patch", name)
        assert refused.code == 2
        assert told in refused.stderr

    def test_a_module_beside_the_tree_is_left_behind(self, job: Job) -> None:
        patch = job.write_patch("a.patch", "patched")
        with (job.source / "go.mod").open("a") as file:
            file.write("replace example.com/x => ../x\n")
        refused = job.run("plan", "--patch", patch)
        assert refused.code == 4
        assert "replaces a module by a directory beside the tree" in refused.stderr
