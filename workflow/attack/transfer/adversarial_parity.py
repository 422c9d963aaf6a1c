"""Parity of target models on adversarial images, which photos alone do not show."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ....attacks.pgd.attempts import CleanImage
from ....attacks.protocols import attack_settings
from ....contracts import AttackSettings, ParityResult, TransferSource, images_from_pixels
from ....engine.parity import ParityImages
from ....errors import ParityError
from ....evaluate.generate.photos import shipped_photos
from ....storage.documents import document_sha256
from ...models.parity import measure_parity, stored_parity
from ...models.parity_images import clean_photos
from ...models.resolve import ResolvedModel
from ...models.verified_engine import VerifiedEngine, failure
from ..job import PreparedAttack

PARITY_STEPS = 10
"""Steps of the attack on the sample photos; more of them move images no further from photos."""


@dataclass(frozen=True)
class AdversarialParity:
    """Parity on sample photos that are attacked on the source, at the largest epsilon.

    Attributes:
        attack: The attack on the source.
        source: The source.
    """

    attack: PreparedAttack
    source: TransferSource

    def result(self, model: ResolvedModel, verified: VerifiedEngine) -> ParityResult | None:
        """The result of a target model, measured if it is required and not stored.

        Args:
            model: Target model.
            verified: Its engine, which takes images.

        Returns:
            The result; ``None`` for the reference, or if it is neither stored nor required.

        Raises:
            ParityError: If the engine does not agree with its reference on such images.
        """
        loaded, required = verified.loaded, self.attack.choice.parity
        if loaded.is_reference:
            return None
        result = stored_parity(model, loaded, self._description)
        if result is None and required:
            result = measure_parity(model, loaded, self._images, progress=self.attack.progress)
        if result is not None and required and not result.passed:
            raise ParityError(f"On adversarial images: {failure(result)}")
        return result

    @cached_property
    def _description(self) -> str:
        condition = self.attack.selection.conditions[-1]
        epsilon = float(condition["epsilon"])
        digest = document_sha256([self.source, self._settings, epsilon])[:8]
        return (
            f"{len(shipped_photos())} sample photos clean, the same attacked on "
            f"{self.source.model} at epsilon {epsilon:.4g} ({digest})"
        )

    @property
    def _settings(self) -> AttackSettings:
        """Settings of a short attack: only its images are needed, not its numbers."""
        settings = self.attack.settings
        return replace(
            attack_settings(settings.protocol, steps=(PARITY_STEPS,)),
            step_size=settings.step_size,
            relative_step=settings.relative_step,
            losses=settings.losses[:1],
            restarts=1,
            seed=settings.seed,
            relative_epsilon=settings.relative_epsilon,
            attack_wrong=True,
        )

    @cached_property
    def _images(self) -> ParityImages:
        from ....attacks.pgd.pgd import run_pgd

        photos = [
            CleanImage(item, images_from_pixels(pixels))
            for item, pixels in clean_photos(self.attack.preprocessing)
        ]
        job = replace(
            self.attack.pgd_job(self.attack.selection.conditions[-1]),
            settings=self._settings,
            traced=frozenset(),
            keep_images=True,
        )
        images = {attempt.item.id: attempt.adversarial for attempt in run_pgd(job, photos)}
        attacked_items = [replace(photo.item, id=f"{photo.item.id} (attacked)") for photo in photos]
        adversarial = [
            photo.image if (image := images[photo.item.id]) is None else image for photo in photos
        ]
        return ParityImages(
            items=(*(photo.item for photo in photos), *attacked_items),
            data=np.stack([*(photo.image for photo in photos), *adversarial]).astype(np.float32),
            clean=len(photos),
            description=self._description,
            kind="images",
        )
