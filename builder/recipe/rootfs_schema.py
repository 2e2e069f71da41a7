"""What a root file system is made of, as data: packages, and what their scripts would have set up after unpacking."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from builder.recipe.yaml_file import Schema

Architecture = Literal["amd64", "arm64"]
RootPath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_.+@-]+)+$")]
Mode = Annotated[str, StringConstraints(pattern=r"^[0-7]{4}$")]
PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]+$")]


class Archive(Schema):
    """A package archive."""

    url: str = Field(default="", description="Its address; --apt-mirror NAME=URL replaces it, or gives it where this is empty.")
    suites: tuple[str, ...] = Field(min_length=1, description="Its suites; {{ suite }} is the distribution's.")
    components: tuple[str, ...] = Field(min_length=1, description="Its components, such as main.")
    architectures: tuple[Architecture, ...] = Field(description="The architectures it is used for.")


class Distribution(Schema):
    """A family of Debian or Ubuntu suites."""

    keyring: RootPath = Field(description="The file, on the machine that builds, with the keys its archives are signed with.")
    keyring_package: str = Field(description="The Debian package that has this file.")
    archives: Mapping[str, Archive] = Field(description="Its archives by name.")


class Account(Schema):
    """A user of the image, with a group of the same name."""

    name: str = Field(description="The name.")
    uid: int = Field(description="The number.")
    gid: int = Field(default=-1, description="The group's number; the user's by default.")
    home: RootPath = Field(default="/nonexistent", description="The home directory.")
    shell: RootPath = Field(default="/usr/sbin/nologin", description="The login shell.")
    comment: str = Field(default="", description="The fifth field of /etc/passwd.")
    create_home: bool = Field(default=False, description="Make the home directory, with what /etc/skel holds.")
    mode: Mode = Field(default="0750", description="The mode bits of the home directory that is made.")


class Content(Schema):
    """A file that no package has."""

    text: str = Field(description="What it holds.")
    mode: Mode = Field(default="0644", description="Its mode bits, four octal digits in quotes.")


class Rootfs(Schema):
    """An image made of Debian or Ubuntu packages, which are unpacked and never run."""

    essential: bool = Field(default=False, description="Also take all packages that every system has (Essential: yes).")
    packages: tuple[PackageName, ...] = Field(default=(), description="Packages, each with all that it depends on.")
    packages_alone: tuple[PackageName, ...] = Field(default=(), description="Packages without what they depend on.")
    distribution_packages: Mapping[str, tuple[PackageName, ...]] = Field(
        default={}, description="More packages, by the name of the distribution."
    )
    accounts: tuple[Account, ...] = Field(default=(), description="Users that are added, each with a group.")
    copies: Mapping[RootPath, RootPath] = Field(
        default={}, description="Files made from the defaults that packages bring; left out where the default is not there."
    )
    alternatives: Mapping[RootPath, RootPath] = Field(
        default={},
        description="Links that go through /etc/alternatives, and what they lead to; left out where that is not there.",
    )
    links: Mapping[RootPath, str] = Field(default={}, description="Symbolic links and their targets.")
    directories: Mapping[RootPath, Mode] = Field(default={}, description="Directories and their mode bits.")
    capabilities: Mapping[RootPath, tuple[Literal["net_admin", "net_bind_service", "net_raw"], ...]] = Field(
        default={}, description="Programs that may do more than who starts them."
    )
    contents: Mapping[RootPath, Content] = Field(default={}, description="Files that no package has.")
    appended: Mapping[RootPath, str] = Field(default={}, description="Text put at the end of files of packages.")
    modes: Mapping[RootPath, Mode] = Field(default={}, description="Mode bits of files, where scripts of packages set them.")
    remove: tuple[str, ...] = Field(default=(), description="What is left out, as patterns; * also matches slashes.")
    keep: tuple[str, ...] = Field(default=(), description="What is kept of that, as patterns.")
    database: Literal["dpkg", "distroless"] = Field(
        default="distroless",
        description="How packages are recorded: for dpkg and apt, or in status.d, for scanners alone.",
    )


ACCOUNT_FILES = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid")
