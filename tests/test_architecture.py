"""The shape of the code: direction of imports, size of modules, what an import costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "collectopt"
LAYERS = (
    {"exceptions"},
    {"_lazy", "_figure"},
    {"schema"},
    {"features"},
    {"models"},
    {"objective", "rules"},
    {"policy"},
    {"evaluation"},
    {"simulation", "messages", "tracking"},
    {"jobs", "integrations", "testing"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(SOURCE.rglob("*.py"))
OPTIONAL = {"mlflow", "optuna", "shap", "pyspark", "holidays", "babel", "gymnasium"}


def package(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def wrong_way(path: Path, text: str) -> list[str]:
    own = package(path)
    wrong = []
    for name in imported(ast.parse(text)):
        parts = name.split(".")
        if parts[0] != "collectopt" or len(parts) < 2 or parts[1] not in LEVEL:
            continue
        other = parts[1]
        if other != own and LEVEL[other] >= LEVEL[own]:
            wrong.append(f"{own} imports {name}")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_to_the_left(path: Path):
    if path.parent != SOURCE or path.stem in LEVEL:
        assert wrong_way(path, path.read_text()) == []


def test_the_walk_finds_an_arrow_that_points_the_wrong_way():
    text = "from collectopt.policy import allocate"
    assert wrong_way(SOURCE / "models" / "x.py", text)
    assert wrong_way(SOURCE / "rules" / "x.py", "import collectopt.objective.terms")
    assert not wrong_way(SOURCE / "policy" / "x.py", "import collectopt.objective.terms")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_stay_small_and_load_no_optional_package(path: Path):
    text = path.read_text()
    assert len(text.splitlines()) <= 600
    top = {n.split(".")[0] for n in imported(ast.Module(ast.parse(text).body, []))}
    assert not top & OPTIONAL


def loaded_after(code: str) -> set[str]:
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_import_is_light():
    heavy = {
        "pandas", "lightgbm", "mlflow", "sklearn", "matplotlib", "pyarrow", "duckdb", "scipy",
        "pydantic", "typer", "rich",
    }  # fmt: skip
    assert not loaded_after("import collectopt") & heavy
    assert "pyarrow" in loaded_after("import collectopt; collectopt.Ledger")


def test_every_public_name_can_be_had():
    import collectopt

    for name in collectopt.__all__:
        assert getattr(collectopt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Leger'"):
        _ = collectopt.Leger


def test_packages_offer_what_they_list():
    import importlib

    for path in SOURCE.iterdir():
        if (path / "__init__.py").exists():
            module = importlib.import_module(f"collectopt.{path.name}")
            assert module.__doc__
            for name in module.__all__:
                assert getattr(module, name) is not None


def test_wording_is_kind():
    """People who owe money are customers."""
    forbidden = ("debt" + "or", "schuld" + "ner")
    root = SOURCE.parents[1]
    files = [*MODULES, *root.glob("*.md"), *root.glob("notebooks/*.py"), *SOURCE.rglob("*.toml")]
    for path in files:
        text = path.read_text().lower()
        assert not any(word in text for word in forbidden), path
