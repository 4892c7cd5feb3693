"""What the docs tell people to give to Helm is what the chart takes."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from tests.chart.charts import CHART, Helm

from servers.kubernetes_build import KUBERNETES

_HOW_TO = CHART.parents[1] / "docs" / "how-to"
_TO_HELM = re.compile(r"^\$ helm (install|upgrade) (.*)$", re.MULTILINE)
_VALUES = re.compile(r"^```yaml\n(# values\.yaml\n.*?)^```$", re.MULTILINE | re.DOTALL)


def _pages() -> list[Path]:
    return [page for page in sorted(_HOW_TO.glob("*.md")) if "helm " in page.read_text()]


def test_there_are_commands_and_values_in_the_docs() -> None:
    text = "".join(page.read_text() for page in _pages())
    assert len(_TO_HELM.findall(text)) >= 3
    assert len(_VALUES.findall(text)) >= 2


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.name)
def test_helm_takes_the_commands_and_values_of_a_page(helm: Helm, page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    files = []
    for number, values in enumerate(_VALUES.findall(text)):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(values)
        assert yaml.safe_load(values)
    version = KUBERNETES.removeprefix("v")
    for file in files:
        helm.must("template", "laneway", str(CHART), "--kube-version", version, "--values", str(file))
    for _, line in _TO_HELM.findall(text):
        release, chart, *flags = shlex.split(line, comments=True)
        assert chart == "charts/laneway"
        # Values of a file are looked at above.
        flags = [flag for flag in flags if flag not in ("--values", "values.yaml", "--create-namespace")]
        helm.must("template", release, str(CHART), "--kube-version", version, *flags)
