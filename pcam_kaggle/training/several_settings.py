"""The members of a run of several methods."""

import dataclasses

from ..system.settings import Part, setting

MEMBERS = ("midnight", "vit", "efficientnet", "densenet")


@dataclasses.dataclass(frozen=True)
class MemberSettings(Part):
    """Which methods are trained, and in which order."""

    members: tuple = setting(
        MEMBERS, "trained in this order, while there is time", MEMBERS, kind="names"
    )

    def check(self):
        if not self.members or len(set(self.members)) < len(self.members):
            raise ValueError(
                f"members: expected one or more of {','.join(MEMBERS)}, each once. "
                f"Received: members={','.join(self.members)}"
            )
