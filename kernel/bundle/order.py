"""Reading order: the story first, its machinery below, the settings last."""

import dataclasses

from .definitions import find_uses
from .source import Module

STORY = {  # folder: the heading above its modules
    "models": "The network",
    "augmentation": "Augmentation",
    "methods": "Fitting one network",
    "inference": "Prediction, average and submission",
}
MACHINERY = ("training", "analysis", "data", "system")


@dataclasses.dataclass(frozen=True)
class Order:
    """The modules of a page in the order in which they stand on it.

    Attributes:
        opening: the recipe, and the module with its `main` if that is another.
        story: dict of the folders of STORY that have modules, and these.
        machinery: dict of the folders of MACHINERY that have modules, and these.
        settings: the settings modules.
    """

    opening: list[Module]
    story: dict[str, list[Module]]
    machinery: dict[str, list[Module]]
    settings: list[Module]

    def list_modules(self) -> list[Module]:
        """All modules from top to bottom."""
        folders = [*self.story.values(), *self.machinery.values()]
        return [*self.opening, *sum(folders, []), *self.settings]


def order_modules(modules: dict[str, Module], opening: list[str]) -> Order:
    """Put the modules of a page into reading order.

    Within a folder a module stands above those that it imports. Of equals, those that
    methods/ imports (apart from the opening) stand first, the others follow, each by name.
    Only what a module needs while it is being defined is moved above it.

    Args:
        modules: dict of all modules of the page, by name.
        opening: the names of the modules that come first.

    Raises:
        BundleError: a name that a module needs while it is being defined and that
            stands below it, or a module in a folder that no page has.
    """
    uses = {name: find_uses(module, modules) for name, module in modules.items()}
    rest = [module for name, module in modules.items() if name not in opening]
    settings = [module for module in rest if module.is_settings]
    folders = {folder: [] for folder in (*STORY, *MACHINERY)}
    for module in rest:
        if module.is_settings:
            continue
        if module.folder not in folders:
            what = f"a module in the folder {module.folder or module.package.name}"
            module.refuse(1, what, f"move it to one of {', '.join(folders)}")
        folders[module.folder].append(module)
    needed = {name: [use.module for use in found] for name, found in uses.items()}
    imported = {
        name: [item.module for item in module.own_imports.values()]
        for name, module in modules.items()
    }
    methods = [name for name in modules if name.startswith("methods/") and name not in opening]
    first = {other for name in methods for other in imported[name]}
    ordered = {
        folder: lift(sort_importers_first(members, first), needed)
        for folder, members in folders.items()
        if members
    }
    settings.sort(key=lambda module: (module.name != "system/settings.py", module.name))
    order = Order(
        opening=[modules[name] for name in opening],
        story={folder: m for folder, m in ordered.items() if folder in STORY},
        machinery={folder: m for folder, m in ordered.items() if folder in MACHINERY},
        settings=lift(settings, imported),
    )
    check_uses(order.list_modules(), uses)
    return order


def sort_importers_first(members: list[Module], first: set[str]) -> list[Module]:
    """Modules of a folder, each above those that it imports.

    Args:
        members: list of Module.
        first: the names of modules that stand first among equals; the others by name.
    """
    waiting = {module.name: module for module in members}
    ordered = []
    while waiting:
        imported = {
            item.module for module in waiting.values() for item in module.own_imports.values()
        }
        free = [name for name in waiting if name not in imported]
        name = min(free, key=lambda name: (name not in first, name))
        ordered.append(waiting.pop(name))
    return ordered


def lift(members: list[Module], needed: dict[str, list[str]]) -> list[Module]:
    """Modules in the same order, but each below those of them that it needs."""
    by_name = {module.name: module for module in members}
    placed = {}

    def place(name):
        if name in by_name and name not in placed:
            for other in by_name:
                if other in needed[name]:
                    place(other)
            placed[name] = by_name[name]

    for name in by_name:
        place(name)
    return list(placed.values())


def check_uses(modules: list[Module], uses: dict) -> None:
    """Refuse what a module needs while it is being defined and stands below it."""
    places = {module.name: place for place, module in enumerate(modules)}
    for module in modules:
        for use in uses[module.name]:
            if places[use.module] > places[module.name]:
                what = (
                    f"{use.name} of {use.module} is used while this module is being "
                    "defined, but stands below it on the page"
                )
                remedy = "use it inside a function, or define it in this module"
                module.refuse(use.line, what, remedy)
