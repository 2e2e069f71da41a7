"""What is to be done to make the root file system of one base image on one platform."""

from dataclasses import dataclass, field

from builder.oci.reference import Platform
from builder.plan.lock import UrlArtifact
from builder.recipe.rootfs_schema import Rootfs


@dataclass(frozen=True, slots=True, kw_only=True)
class RootfsStep:
    """Unpack these packages and set them up as the recipe says; `sources` are the lines for the image's own apt."""

    image: str
    platform: Platform
    packages: tuple[UrlArtifact, ...]
    sources: tuple[str, ...]
    # It holds mappings, which have no hash.
    rootfs: Rootfs = field(hash=False)

    @property
    def key(self) -> str:
        """`base-linux-arm64`."""
        return f"{self.image}-{self.platform.slug}"

    def identity(self) -> list[object]:
        """Everything that decides its bytes, as JSON values; packages by their sums, wherever they come from."""
        sums = [package.sha256 for package in self.packages]
        return [str(self.platform), sums, self.sources, self.rootfs.model_dump(mode="json")]
