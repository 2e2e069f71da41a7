"""Users of an image from the recipe to the layout: planned for each base, made of its layers, checked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.cli.plan_view import plan_dockerfiles, plan_json, plan_table
from builder.errors import BaseImageError, RegistryError
from builder.images.check import read_layer_of
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.reference import ImageReference, Platform
from builder.plan.lock import LockedBase, LockedBasePlatform
from builder.plan.model import AccountsLayer, Plan
from builder.recipe.schema import ImageUser
from tests.samples.accounts import read_accounts
from tests.samples.images import (
    AMD64,
    ARM64,
    BASE_LAYER,
    COMMITTED_AT,
    SampleFile,
    base_layers,
    make_config,
    make_digest,
    make_tar,
    write_image,
)
from tests.samples.plans import change_image, image_of, load_book, make_base, make_lock, make_sample_plan
from tests.samples.seeding import seed
from tests.unit.build.test_scheduler import Site

APPLICATION = ImageUser(name="application", uid=1338)
PASSWD = "root:x:0:0:{of}:/root:/bin/sh\n"


def plan_with(*users: ImageUser, **changes: Any) -> Plan:  # noqa: ANN401 - arguments of make_sample_plan
    """pilot with these users, on `base` and on `distroless`."""
    return make_sample_plan(images=("pilot",), book=change_image(load_book(), "pilot", users=users), **changes)


def users_layer(plan: Plan, key: str, platform: Platform = AMD64) -> AccountsLayer:
    image = next(image for image in image_of(plan, key).platforms if image.platform == platform)
    layer = image.layers[-1]
    assert isinstance(layer, AccountsLayer)
    return layer


class TestPlan:
    def test_users_are_a_layer_behind_the_files_named_after_the_base(self) -> None:
        plan = plan_with(APPLICATION)
        layers = [users_layer(plan, f"pilot-{variant}") for variant in ("debug", "distroless")]
        assert [layer.archive for layer in layers] == ["2-users-base.tar", "2-users-distroless.tar"]
        step = layers[0].users
        assert [(user.name, user.uid, user.gid, user.home, user.shell) for user in step.users] == [
            ("application", 1338, 1338, "/home/application", "/bin/sh")
        ]
        assert step.mtime == COMMITTED_AT

    def test_the_base_is_the_manifest_of_the_platform_where_the_engine_gets_it(self) -> None:
        step = users_layer(plan_with(APPLICATION), "pilot-debug", ARM64).users
        base = make_base("base")
        assert step.base == base.reference.repository.at(base.on(ARM64).manifest)

    def test_variants_on_one_base_have_one_layer(self) -> None:
        plan = make_sample_plan(images=("app",))
        assert users_layer(plan, "app-debug") == users_layer(plan, "app-distroless")

    @pytest.mark.parametrize(
        "users",
        [
            (APPLICATION.model_copy(update={"uid": 1339}),),
            (APPLICATION.model_copy(update={"name": "app"}),),
            (APPLICATION.model_copy(update={"home": "/srv"}),),
            (APPLICATION, ImageUser(name="more", uid=5)),
            (),
        ],
    )
    def test_the_fingerprint_covers_them(self, users: tuple[ImageUser, ...]) -> None:
        one, other = plan_with(APPLICATION), plan_with(*users)
        for key in ("pilot-debug", "pilot-distroless"):
            assert image_of(one, key).fingerprint != image_of(other, key).fingerprint

    def test_the_fingerprint_does_not_tell_where_the_base_comes_from(self) -> None:
        mirrored = make_lock(bases=(make_base("base", registry="mirror.example/istio"), *make_lock().bases[1:]))
        one, other = plan_with(APPLICATION), plan_with(APPLICATION, lock=mirrored)
        assert image_of(one, "pilot-debug").fingerprint == image_of(other, "pilot-debug").fingerprint

    def test_every_view_shows_them(self) -> None:
        plan = plan_with(APPLICATION)
        assert "    user   application (1338:1338)  /home/application\n" in plan_table(plan, ())
        assert "\n# what `useradd -m --uid 1338 application` makes" in plan_dockerfiles(plan)
        layer = json.loads(plan_json(plan, ()))["images"][0]["platforms"][0]["layers"][-1]
        assert layer["users"]["users"][0]["uid"] == 1338
        assert layer["users"]["base"] == str(make_base("base").reference.repository.at(make_digest("base linux/amd64")))


class Registered(Site):
    """A site whose registry has the bases, each with accounts of its own on each platform."""

    def lock_bases(self) -> tuple[LockedBase, ...]:
        return tuple(self._lock_base(name) for name in ("base", "distroless", "iptables"))

    def _lock_base(self, name: str) -> LockedBase:
        made = {platform: self._seed_base(name, platform) for platform in (AMD64, ARM64)}
        platforms = tuple(
            LockedBasePlatform(platform=platform, manifest=manifest.digest, config=make_config(platform), layers=base_layers())
            for platform, manifest in made.items()
        )
        return replace(make_base(name), platforms=platforms)

    def _seed_base(self, name: str, platform: Platform) -> Manifest:
        passwd = SampleFile(path="/etc/passwd", content=PASSWD.format(of=f"{name} {platform}").encode())
        layout = write_image(self.root / "seed" / name / platform.slug, make_config(platform), [BASE_LAYER, make_tar([passwd])])
        return seed(self.registry, layout, ImageReference.parse(f"docker.io/istio/{name}:{platform.architecture}"))

    def plan_for(self, image: str, *users: ImageUser) -> Plan:
        """This image, with these users where any are given."""
        book = change_image(load_book(), image, users=users) if users else load_book()
        return make_sample_plan(images=(image,), book=book, lock=make_lock(bases=self.lock_bases()))


@pytest.fixture
def site(tmp_path: Path) -> Registered:
    site = Registered(tmp_path)
    for path in ("cert-chain.pem", "key.pem"):
        file = tmp_path / "tree/tests/testdata/certs/dns" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("no certificate")
    return site


def passwd_of(layout: Layout, platform: Platform) -> str:
    child = next(child for child in layout.index().children() if child.platform == platform)
    layers = layout.manifest(child).layers()
    return read_accounts([(layout.blob(layer.digest), layer.media_type) for layer in layers]).passwd


class TestBuilding:
    def test_each_variant_keeps_the_accounts_of_its_own_base(self, site: Registered) -> None:
        layouts = site.build(site.plan_for("pilot", APPLICATION))
        for variant, base in (("debug", "base"), ("distroless", "distroless")):
            for platform in (AMD64, ARM64):
                assert passwd_of(layouts[f"pilot-{variant}"], platform) == (
                    PASSWD.format(of=f"{base} {platform}") + "application:x:1338:1338::/home/application:/bin/sh\n"
                )

    def test_the_home_is_the_users(self, site: Registered) -> None:
        layout = site.build(site.plan_for("app"))["app-debug"]
        layers = layout.manifest(layout.index().children()[0]).layers()
        entries = {entry.path: entry for entry in read_layer_of(layout, layers[-1])}
        assert (entries["/home/application"].owner, entries["/home/application"].mode) == ("1338:1338", "0750")

    def test_a_base_is_read_once_for_all_variants_and_then_cached(self, site: Registered) -> None:
        plan = site.plan_for("app")
        site.build(plan)
        pulled = site.registry.operations("pull_blob")
        # The one layer that both platforms have, and one of each; two may come for the shared one at the same time.
        assert len(set(pulled)) == 3
        assert len(pulled) <= 4
        site.build(plan)
        assert site.registry.operations("pull_blob") == pulled

    def test_again_gives_the_same_digests(self, site: Registered) -> None:
        plan = site.plan_for("app")
        digests = [{key: layout.index().digest for key, layout in site.build(plan).items()} for _ in range(2)]
        assert digests[0] == digests[1]

    def test_a_base_that_is_gone_is_told(self, site: Registered) -> None:
        plan = site.plan_for("app")
        site.registry.manifests.clear()
        with pytest.raises(BaseImageError, match=r"docker\.io/istio/base@sha256:[0-9a-f]+ is not there any more"):
            site.build(plan)

    def test_a_registry_that_fails_ends_the_run(self, site: Registered) -> None:
        plan = site.plan_for("app")
        site.registry.fail_on = lambda operation, _: RegistryError("out of order") if operation == "pull_blob" else None
        with pytest.raises(RegistryError, match="out of order"):
            site.build(plan)
        assert {subject for subject in site.failed() if subject.startswith("application")}
        assert site.engine.targets == []

    def test_a_user_of_the_base_under_another_number_is_refused(self, site: Registered) -> None:
        plan = site.plan_for("pilot", ImageUser(name="root", uid=5))
        with pytest.raises(BaseImageError, match=r"user root \(5\) cannot be added: there is root \(0\)"):
            site.build(plan)
