"""What a push sends: a recipe with its settings and inputs, as a page and as a record."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from ..bundle.page import Bundle, bundle_kernel
from ..bundle.recipes import Recipe
from ..records import PushRecord, now
from ..reuse import Source
from ..runs import find_commit
from .client import Client
from .once import locate_note
from .quota import expect_hours
from .versions import make_page_url


@dataclasses.dataclass(frozen=True)
class PushRequest:
    """What `push_kernel` was asked for.

    Attributes:
        client, resume, runs, say, send_anyway, sources: as `push_kernel` takes them.
        recipe: Recipe.
        overrides: dict of typed settings.
        metadata: dict of kernel-metadata.json, without networks to resume.
        bundles: dict of max_hours to the Bundle with it, as far as it was needed.
    """

    client: Client
    recipe: Recipe
    overrides: dict
    metadata: dict
    resume: bool
    runs: Path
    say: Callable[[str], None]
    send_anyway: bool
    sources: Sequence[Source]
    bundles: dict[float | None, Bundle] = dataclasses.field(default_factory=dict)

    @property
    def kernel_id(self) -> str:
        """The kernel, as "owner/slug"."""
        return self.metadata["id"]

    @property
    def note_path(self) -> Path:
        """Path of the note of a push of this kernel."""
        kernel = self.kernel_id.replace("/", "-")
        return locate_note(self.runs, f"push-{self.client.service}-{kernel}")

    def add_max_hours(self, max_hours: float | None) -> dict:
        """The settings, with the max_hours that was chosen, or None."""
        return self.overrides if max_hours is None else {**self.overrides, "max_hours": max_hours}

    def bundle(self, max_hours: float | None = None) -> Bundle:
        """The page, with the max_hours that was chosen for it, or None."""
        if max_hours not in self.bundles:
            settings = self.add_max_hours(max_hours)
            self.bundles[max_hours] = bundle_kernel(self.recipe.name, settings)
        return self.bundles[max_hours]

    def make_record(
        self, bundle: Bundle, metadata: dict, timeout: float, max_hours: float | None
    ) -> PushRecord:
        """The record of a push that is about to be made, without its version."""
        commit, dirty = find_commit()
        return PushRecord(
            service=self.client.service,
            recipe=self.recipe.name,
            build_id=bundle.build_id,
            pushed=now(),
            settings=self.overrides,
            kernel=self.kernel_id,
            url=make_page_url(self.client, self.kernel_id),
            timeout_hours=timeout,
            max_hours=max_hours,
            expected_hours=expect_hours(self.recipe, self.overrides),
            dataset_sources=tuple(metadata["dataset_sources"]),
            kernel_sources=tuple(metadata["kernel_sources"]),
            commit=commit,
            dirty=dirty,
        )
