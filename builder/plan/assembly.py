"""What an engine is asked to assemble for an image of a plan: the same where it is run as where it is shown. Pure."""

from pathlib import Path

from builder.oci.image_config import AddedConfig, BaseImage
from builder.oci.reference import Platform
from builder.plan.lock import LockedBase
from builder.plan.model import ImagePlan, PlatformImage
from builder.ports import AssemblyTarget


def assembly_target(image: ImagePlan, on: PlatformImage, work: Path, source_date_epoch: int) -> AssemblyTarget:
    """The target for this image on this platform, with its context and destination below `work`.

    All variants of an image share one context, as they hold the same files.
    """
    return AssemblyTarget(
        name=f"{image.key}-{on.platform.slug}",
        platform=on.platform,
        base=_base_image(image.base, on.platform) if image.base else None,
        layers=tuple(layer.archive for layer in on.layers),
        config=AddedConfig(
            user=image.user,
            entrypoint=image.entrypoint,
            command=image.command,
            working_dir=image.workdir,
            env=on.env,
            labels=on.labels,
        ),
        dockerfile=on.dockerfile,
        context=work / "context" / on.platform.slug / image.image,
        destination=work / "assembled" / image.key / on.platform.slug,
        source_date_epoch=source_date_epoch,
    )


def _base_image(base: LockedBase, platform: Platform) -> BaseImage:
    on = base.on(platform)
    return BaseImage(reference=base.reference, config=on.config, layers=on.layers)
