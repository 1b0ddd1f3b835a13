"""All checks of deploy/: one line each, details where one fails. scripts/check-deploy puts the tools on the path."""

import sys
from collections.abc import Iterable
from pathlib import Path

from . import DEPLOY, compose, images, launcher, pod_security, programs, reach, schemas, settings, shell
from .network import Place

CI = sorted((programs.CHART / "ci").glob("*.yaml"))
# Whom each file of values lets in, and where it says that Redis is: None, nobody that is a pod.
TRAINERS = {
    "one-model": Place({"app": "trainer"}, "training", {"team": "training"}),
    "replicas-elsewhere": None,
}
STORES = {"one-model": Place({"app": "redis"})}
LABELLED = Place({"treeroll-client": "true"})
ANYWHERE = Place(None, "")


class Report:
    """Prints and remembers."""

    failed = False

    def __call__(self, what: str, complaints: Iterable[str]) -> None:
        found = list(complaints)
        print(f"{'FAIL' if found else 'ok  '}  {what}", *found, sep="\n      ", flush=True)
        self.failed |= bool(found)


def main() -> int:
    """Returns an exit code."""
    if "--fix" in sys.argv:
        settings.SCHEMA.write_text(settings.schema_text())
    report = Report()
    report("the chart's schema has the program's settings", settings.schema_drift())
    report("chart: helm lint --strict", (each for values in CI for each in programs.lint_chart(values)))
    for values in CI:
        _check_values(report, values)
    for file in images.DOCKERFILES:
        report(f"docker/{file.name}: hadolint", programs.lint_dockerfiles([file]))
        report(f"docker/{file.name}: user, tools, health, what it copies", images.check(file))
    report("compose: its schema", programs.check_compose(compose.FILES))
    report("compose: restricted, and as the program knows it", compose.check(compose.FOLDER / "compose.yaml"))
    report("ray/cluster.yaml: Ray's schema and options", launcher.check(launcher.CLUSTER))
    for file in shell.FILES:
        report(f"{file.relative_to(DEPLOY)}: shellcheck, and as the program knows it", shell.check(file))
    report("YAML: yamllint", programs.lint_yaml(_plain_yaml()))
    return int(report.failed)


def _check_values(report: Report, values: Path) -> None:
    what = f"chart with ci/{values.name}"
    try:
        objects = programs.render(values)
    except programs.HelmRefused as error:
        report(what, [str(error)])
        return
    report(f"{what}: Kubernetes {', '.join(schemas.VERSIONS)}", schemas.check(objects))
    report(f"{what}: restricted pod security", pod_security.check(objects))
    trainer, store = TRAINERS.get(values.stem, LABELLED), STORES.get(values.stem, ANYWHERE)
    report(f"{what}: who reaches what", reach.check(objects, trainer, store))
    report(f"{what}: the program's settings and options", settings.check(objects))


def _plain_yaml() -> list[Path]:
    """Files that are YAML as they are: no templates."""
    return [file for file in sorted(DEPLOY.rglob("*.yaml")) if "templates" not in file.parts]


if __name__ == "__main__":
    sys.exit(main())
