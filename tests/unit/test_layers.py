"""Which folder may import which: the floors of the house, over the import graph of the package."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.helpers.import_graph import PACKAGE, ROOT, Import, find_circles, read_imports, read_sources
from tests.helpers.import_graph import folder_of as folder_on_disk

pytestmark = pytest.mark.once

# Lowest first. A folder may import itself and what stands here; a folder with sub-folders is named by its own files.
ALLOWED: dict[str, str] = {
    "measurement.cancelling": "",
    "measurement.host": "",
    "measurement.pricing": "",
    "measurement.quality": "",
    "measurement.capacity": "",
    "measurement": "measurement.cancelling measurement.capacity measurement.host measurement.pricing "
    "measurement.quality",
    "measurement.pages": "measurement",
    "metrics": "measurement measurement.capacity measurement.pages measurement.pricing measurement.quality",
    "system.http": "",
    "system.files": "",
    "system": "system.http",
    "telemetry.records": "measurement",
    "telemetry.analysis": "measurement telemetry.records",
    "telemetry.sources": "measurement.host system telemetry.records telemetry.sources.nvml",
    "telemetry.sources.nvml": "measurement system telemetry.records",
    "telemetry.sampler": "measurement measurement.pages system telemetry.analysis telemetry.records telemetry.sources",
    "telemetry.pages": "measurement measurement.pages system",
    "telemetry": "measurement measurement.host system telemetry.analysis telemetry.records telemetry.sampler "
    "telemetry.sources",
    "traffic.answers": "measurement system",
    "traffic.answers.anthropic": "measurement traffic.answers",
    "traffic.answers.inputs": "measurement traffic.answers",
    "traffic.answers.llamacpp": "measurement traffic.answers",
    "traffic.client": "measurement measurement.cancelling measurement.capacity system.http traffic.answers "
    "traffic.answers.inputs",
    "traffic.workloads": "measurement traffic.client",
    "traffic.workloads.files": "measurement traffic.answers traffic.client traffic.workloads",
    "traffic.load": "measurement system system.http traffic.answers traffic.client traffic.workloads",
    "traffic.relay": "measurement system system.http traffic.answers traffic.answers.anthropic traffic.answers.inputs "
    "traffic.answers.llamacpp traffic.client",
    "traffic.capacity": "measurement measurement.capacity traffic.client traffic.load traffic.workloads",
    "traffic": "measurement measurement.capacity traffic.answers traffic.capacity traffic.client traffic.load "
    "traffic.workloads",
    "quality": "measurement.quality traffic.client",
    "engines.api": "measurement system telemetry.sources traffic.client",
    "engines": "engines.api engines.lifecycle",
    "engines.lifecycle": "engines.api system system.files system.http telemetry.sources",
    "engines.kv_cache": "engines.api measurement",
    "engines.vocabulary": "engines.lifecycle system",
    "engines.attached": "engines.api engines.lifecycle measurement measurement.host system telemetry telemetry.sources",
    "engines.openai": "engines.api engines.attached engines.lifecycle traffic.client",
    "engines.simulated.model": "measurement",
    "engines.simulated.api": "engines.simulated.model",
    "engines.simulated": "engines.api engines.lifecycle engines.simulated.api engines.simulated.model system.http "
    "telemetry measurement traffic.client",
    "engines.llamacpp": "engines engines.api engines.attached engines.kv_cache engines.lifecycle measurement telemetry "
    "traffic.client",
    "engines.ollama.cleanup": "engines.lifecycle system",
    "engines.ollama": "engines engines.api engines.attached engines.kv_cache engines.lifecycle engines.ollama.cleanup "
    "engines.vocabulary measurement system system.http telemetry telemetry.sources traffic.answers traffic.client",
    "engines.vllm": "engines.api engines.attached engines.kv_cache engines.lifecycle measurement system telemetry "
    "traffic.client",
    "engines.vllm.offline": "engines.api engines.kv_cache engines.lifecycle engines.vllm measurement system telemetry "
    "traffic.answers traffic.client",
    "engines.vllm.__init__": "engines.api engines.lifecycle engines.vllm engines.vllm.offline",
    "budgets.confidence": "",
    "budgets": "budgets.confidence measurement measurement.host measurement.pages measurement.pricing metrics",
    "budgets.capacity": "budgets budgets.confidence measurement measurement.capacity metrics",
    "budgets.calibration": "budgets budgets.confidence measurement",
    "budgets.stored": "budgets measurement metrics",
    "reports.compact": "",
    "baselines": "reports.compact system.files",
    "budgets.comparison": "budgets budgets.confidence measurement metrics",
    "reports.wire": "budgets budgets.stored measurement measurement.capacity measurement.host measurement.quality "
    "metrics quality",
    "reports.host": "measurement",
    "reports.plots": "budgets measurement metrics reports.wire",
    "reports": "budgets measurement reports.compact reports.host reports.wire",
    "reports.matrix": "budgets measurement reports reports.wire",
    "reports.measured": "reports reports.matrix",
    "reports.terminal": "budgets measurement reports reports.matrix reports.measured",
    "reports.github": "budgets reports reports.terminal",
    "reports.markdown": "budgets reports reports.host reports.matrix reports.measured reports.page reports.terminal",
    "reports.page": "budgets measurement reports reports.matrix reports.plots",
    "reports.files": "reports reports.markdown reports.page",
    "baselines.rejudging": "budgets budgets.stored measurement metrics reports reports.wire",
    "baselines.calibration": "baselines baselines.rejudging budgets budgets.calibration measurement metrics reports",
    "baselines.two_reports": "baselines baselines.rejudging budgets measurement metrics",
    "plugin.app_loads": "measurement traffic.load",
    "plugin.cancelling": "engines.api measurement measurement.cancelling",
    "plugin.curves": "budgets budgets.capacity engines.api measurement measurement.capacity",
    "plugin.hiding": "system",
    "plugin.measuring": "budgets engines.api engines.lifecycle measurement measurement.capacity measurement.host "
    "measurement.pages measurement.pricing measurement.quality metrics plugin.app_loads plugin.cancelling "
    "plugin.curves system telemetry telemetry.analysis telemetry.pages telemetry.records telemetry.sampler "
    "telemetry.sources traffic traffic.answers traffic.client traffic.relay",
    "plugin.baselines": "baselines budgets budgets.comparison measurement measurement.quality quality reports "
    "reports.wire system.files",
    "plugin.markers": "budgets engines engines.api metrics",
    "plugin.engine_options": "engines engines.api",
    "plugin.preflight": "budgets engines engines.api measurement.pages measurement.pricing plugin.engine_options "
    "metrics plugin.markers telemetry",
    "plugin.pairing": "budgets budgets.comparison engines.api measurement plugin.measuring traffic",
    "plugin.calibration": "baselines baselines.calibration engines.lifecycle plugin.preflight reports",
    "plugin.provenance": "system telemetry",
    "plugin.page": "baselines budgets reports reports.page system",
    "plugin.ending": "",
    "plugin.quality": "budgets engines.api measurement measurement.quality quality",
    "plugin": "baselines budgets budgets.comparison engines engines.api engines.lifecycle engines.vllm.offline "
    "measurement metrics plugin.baselines plugin.calibration plugin.cancelling plugin.ending plugin.engine_options "
    "plugin.hiding plugin.markers plugin.measuring plugin.page plugin.pairing plugin.preflight plugin.provenance "
    "plugin.quality reports reports.files reports.github reports.markdown reports.page reports.terminal reports.wire "
    "system system.files telemetry telemetry.sampler telemetry.sources traffic traffic.client",
    "testing": "telemetry.sources.nvml",
    "commands": "baselines baselines.calibration baselines.rejudging baselines.two_reports budgets engines.api "
    "engines.lifecycle measurement reports reports.compact system.files",
    "commands.store": "baselines commands measurement reports system.files",
}
# Other packages that only some places may import, not even for type checkers.
RESERVED = {
    "pytest": (
        "plugin",
        "plugin.baselines",
        "plugin.calibration",
        "plugin.cancelling",
        "plugin.ending",
        "plugin.hiding",
        "plugin.markers",
        "plugin.page",
        "plugin.pairing",
        "plugin.preflight",
    ),
    "_pytest": (),
    "xdist": ("plugin.xdist",),
    "execnet": ("plugin.xdist",),
    "pynvml": ("telemetry.sources.nvml",),
}
MOST_FILES = 16
# A folder whose ``__init__`` picks among its sub-folders: that file stands above them, its other files below.
FACES = {f"{ROOT}.engines.vllm": "engines.vllm.__init__"}

SOURCES = read_sources()
IMPORTS = list(read_imports(SOURCES))
FOLDERS = sorted({folder_on_disk(module) for module in SOURCES} - {""})


def folder_of(module: str) -> str:
    """The folder by which the table names a module; empty for the top of the package."""
    return FACES.get(module) or folder_on_disk(module)


def allowed(folder: str) -> set[str]:
    return {folder, *ALLOWED[folder].split()}


def wrong_imports(imports: list[Import]) -> list[str]:
    """One line for each import that the tables above do not allow. The top of the package may import anything."""
    return [
        f"{found.module}:{found.line} imports {found.target}"
        for found in sorted(imports)
        if (folder_of(found.module) and _is_up(found)) or _is_reserved(found)
    ]


def _is_up(found: Import) -> bool:
    ours = found.target == ROOT or found.target.startswith(f"{ROOT}.")
    return ours and folder_of(found.target) not in allowed(folder_of(found.module))


def _is_reserved(found: Import) -> bool:
    homes = RESERVED.get(found.target)
    within = found.module.removeprefix(f"{ROOT}.")
    return homes is not None and folder_of(found.module) not in homes and within not in homes


def test_every_folder_stands_in_the_table() -> None:
    assert sorted(ALLOWED) == sorted([*FOLDERS, *FACES.values()])


def test_each_folder_imports_only_what_the_table_allows() -> None:
    assert not wrong_imports(IMPORTS)


def test_the_table_allows_nothing_that_is_not_used() -> None:
    used = {(folder_of(i.module), folder_of(i.target)) for i in IMPORTS if i.target.startswith(f"{ROOT}.")}
    arrows = [(folder, low) for folder in ALLOWED for low in ALLOWED[folder].split()]
    unused = [arrow for arrow in arrows if arrow not in used]
    assert not unused


def test_the_floors_have_no_circle() -> None:
    assert not find_circles({folder: set(low.split()) for folder, low in ALLOWED.items()})


def test_no_files_import_one_another() -> None:
    arrows: dict[str, set[str]] = defaultdict(set)
    for found in IMPORTS:
        if found.target in SOURCES and found.target != found.module:
            arrows[found.module].add(found.target)
    assert not find_circles(arrows)


WAYS = (
    "\nimport {target}\n",
    "\nfrom {target} import anything\n",
    "\ndef lazily():\n    import {target}\n",
    "\nif TYPE_CHECKING:\n    from {target} import Anything\n",
    "\nimport_module('{target}')\n",
)


@pytest.mark.parametrize("module", [module for module in SOURCES if folder_of(module)])
def test_a_wrong_import_in_any_file_is_found(module: str) -> None:
    upper = next(folder for folder in reversed(ALLOWED) if folder not in allowed(folder_of(module)))
    reserved = "xdist" if module != f"{ROOT}.plugin.xdist" else "pynvml"
    wrong = [(way, target) for way in WAYS for target in (f"{ROOT}.{upper}", ROOT, reserved)]
    added = "".join(way.format(target=target) for way, target in wrong)
    found = wrong_imports(list(read_imports({**_others(module), module: SOURCES[module] + added})))
    assert [line.rpartition(" ")[2] for line in found[-len(wrong) :]] == [target for _, target in wrong]


def _others(module: str) -> dict[str, str]:
    """The names of the other modules, without their source: imports are told by the names of modules."""
    return {name: "" for name in SOURCES if name != module}


def test_circles_are_found() -> None:
    assert find_circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


# ------------------------------------------------------------------------------------------------- what one sees by ls


def test_the_top_of_the_package_has_folders_only() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "py.typed"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_can_be_taken_in_at_a_glance(folder: str) -> None:
    names = [path.stem for path in PACKAGE.joinpath(*folder.split(".")).glob("*.py")]
    assert len(names) <= MOST_FILES
    prefixes = Counter(name.split("_")[0] for name in names if not name.startswith("__"))
    assert not [prefix for prefix, times in prefixes.items() if times > 2], "a prefix that three files bear is a folder"


def test_unit_tests_have_the_folders_of_the_package() -> None:
    here = Path(__file__).parent
    tests = {".".join(path.parent.relative_to(here).parts) for path in here.rglob("test_*.py")} - {""}
    assert tests <= set(FOLDERS)
    assert not [path.name for path in here.rglob("*.py") if not path.name.startswith(("test_", "conftest", "__init__"))]
