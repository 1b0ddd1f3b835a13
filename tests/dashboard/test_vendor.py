"""What pages use of others lies in the repository, as its lock says, with licences; and pages use nothing else."""

import hashlib
import json
import re
from pathlib import Path

import treeroll.dashboard.app
from treeroll.dashboard.shape import COLUMNS

STATIC = treeroll.dashboard.app.STATIC
VENDOR = STATIC / "vendor"
ROOT = Path(__file__).parents[2]


def test_files_are_what_the_manifest_says_and_no_others() -> None:
    hashes = json.loads((VENDOR / "manifest.json").read_text())["files"]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    del found["manifest.json"]
    assert found == hashes
    (script,) = (name for name in hashes if name.endswith(".js"))
    assert script == f"ui-{hashes[script][:8]}.js"
    assert f"../vendor/{script}" in (STATIC / "js" / "ui.js").read_text()


def test_every_package_has_its_licence_in_the_version_of_the_lock() -> None:
    wanted = json.loads((ROOT / "scripts" / "vendor_ui" / "package.json").read_text())["dependencies"]
    locked = json.loads((ROOT / "scripts" / "vendor_ui" / "package-lock.json").read_text())["packages"]
    licences = (VENDOR / "LICENSES.txt").read_text()
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version
        assert locked[f"node_modules/{name}"]["integrity"].startswith("sha512-")
        assert f"== {name} {version} (" in licences


def test_pages_load_nothing_from_elsewhere_and_write_no_html() -> None:
    for path in [STATIC / "index.html", STATIC / "app.css", *(STATIC / "js").glob("*.js")]:
        text = path.read_text()
        assert not re.search(r"https?://(?!HOST)", text), path
        for forbidden in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "dangerouslySetInnerHTML",
            "document.write",
            "eval(",
            "new Function",
        ):
            assert forbidden not in text, path


def test_the_browser_reads_columns_in_the_order_that_the_server_writes() -> None:
    script = (STATIC / "js" / "shape.js").read_text()
    table = script[script.index("COLUMNS = [") : script.index("];")]
    assert re.findall(r'\["(\w+)", "(\w+)"\]', table) == [(name, kind.lstrip("<")) for name, kind in COLUMNS.items()]
