"""One plan for every release at which a recipe changes: whatever is wrong with any of them shows here, not at its user's."""

import pytest

from builder.plan.model import FilesLayer, Plan
from builder.plan.planner import make_plan
from builder.recipe.istio_release import IstioRelease
from tests.samples.images import AMD64, ARM64
from tests.samples.plans import built_in, image_of, lock_for, make_request

RELEASES = built_in().turning_points()
PLATFORMS = (AMD64, ARM64)
ALL = make_request(images=("all",))


def plan_at(release: IstioRelease) -> Plan:
    book = built_in().at(release)
    return make_plan(ALL, book, lock_for(book))


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_every_image_can_be_planned(release: IstioRelease) -> None:
    plan = plan_at(release)
    book = built_in().at(release)
    planned = {image.image for image in plan.images} | {mirror.image for mirror in plan.mirrors}
    assert planned == {recipe.image for recipe in book.images}
    for image in plan.images:
        assert [platform.platform for platform in image.platforms] == list(PLATFORMS)
        dockerfile = image.platforms[0].dockerfile
        assert dockerfile.startswith("FROM ")
        assert ("\nENTRYPOINT [" in dockerfile) == bool(image.entrypoint)
        assert ("\nCMD [" in dockerfile) == bool(image.command)
        assert ("\nUSER " in dockerfile) == bool(image.user)


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_istioctl_is_stamped_where_this_release_looks(release: IstioRelease) -> None:
    step = next(step for step in plan_at(release).compiles if step.key == "linux_arm64/standard")
    flags = " ".join(step.command.ldflags)
    package = "istio.io/pkg/version" if release < IstioRelease(1, 19, 0) else "istio.io/istio/pkg/version"
    assert f"-X {package}.buildHub=registry.corp.example/istio" in flags
    assert (f"-X {package}.buildArch=arm64" in flags) == (release >= IstioRelease(1, 17, 0))


def test_the_default_variant_of_old_releases_has_the_plain_tag_alone() -> None:
    old = image_of(plan_at(IstioRelease(1, 10, 0)), "pilot-default")
    assert [reference.tag for reference in old.references] == ["1.10.0"]
    new = image_of(plan_at(IstioRelease(1, 12, 0)), "pilot-debug")
    assert [reference.tag for reference in new.references] == ["1.12.0", "1.12.0-debug"]


def test_a_directory_of_the_tree_is_one_layer_with_the_modes_of_its_files() -> None:
    operator = image_of(plan_at(IstioRelease(1, 20, 1)), "operator-debug")
    layer = operator.platforms[1].layers[0]
    assert isinstance(layer, FilesLayer)
    assert [(file.path, file.mode) for file in layer.files] == [
        ("/var/lib/istio/manifests/a.yaml", "0644"),
        ("/var/lib/istio/manifests/b/run.sh", "0755"),
    ]


def test_the_path_of_old_install_cni_goes_on_where_its_base_stops() -> None:
    old = image_of(plan_at(IstioRelease(1, 13, 0)), "install-cni-debug")
    assert dict(old.platforms[0].env)["PATH"] == "/usr/local/bin:/usr/bin:/bin:/opt/cni/bin"


def test_the_bases_of_install_cni_are_those_of_its_own_dockerfile() -> None:
    releases = {
        "1.20.6": "distroless",
        "1.20.8": "cni-iptables",
        "1.21.0": "distroless",
        "1.22.3": "cni-iptables",
        "1.23.0": "iptables",
    }
    for text, base in releases.items():
        release = IstioRelease.parse(text)
        assert release
        image = image_of(plan_at(release), "install-cni-distroless")
        assert image.base
        assert image.base.name == base
