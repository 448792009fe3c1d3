"""What Slicer's tools would extract of the panel for translators, and under which context: the rule of its Utilities/Scripts/update_translations.py.

That script makes ``translate("context", "...")`` of every ``_("...")``, and Qt's lupdate collects those. Standard library only.
"""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "FedLiverSlicer"
FILES = (MODULE / "FedLiverSlicer.py", *sorted((MODULE / "Logic" / "fedliver" / "slicer").glob("*.py")))
_PASSED_ON = ("session.translated", "self.translated", "self._", "translate")


def context_of(path: Path) -> str:
    """The name of the file, after the name of its folder where that is a package."""
    return f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").is_file() else path.stem


def calls(tree: ast.AST) -> list[ast.Call]:
    """All ``_("...")`` and ``self._("...")`` in the order of the source; not those of a variable, which nobody can extract."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in ("_", "self._")]
    return sorted((call for call in found if _is_sentence(call)), key=lambda call: call.lineno)


def _is_sentence(call: ast.Call) -> bool:
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)


def sentence_of(call: ast.Call) -> str:
    return str(call.args[0].value)  # type: ignore[attr-defined]


@cache
def extracted() -> frozenset[tuple[str, str]]:
    """Contexts and sentences of all :data:`FILES`."""
    return frozenset((context_of(path), sentence_of(call)) for path in FILES for call in calls(ast.parse(path.read_text())))


def misplaced(looked_up: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What was looked up and cannot be found, of all that is ours: by its context, or by its words."""
    contexts, sentences = {context for context, _ in extracted()}, {sentence for _, sentence in extracted()}
    return sorted(one for one in looked_up if one not in extracted() and (one[0] in contexts or one[1] in sentences))


def own_translators(tree: ast.AST) -> list[str]:
    """Where a file makes a ``_`` instead of using the one that is passed to it: with that, its sentences might be looked up under another's name."""
    return [ast.unparse(node) for node in ast.walk(tree) if _assigns_another(node) or (_takes_another(node) and calls(node))]


def _assigns_another(node: ast.AST) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return any(ast.unparse(target) in ("_", "self._") for target in targets) and (value is None or ast.unparse(value) not in _PASSED_ON)


def _takes_another(node: ast.AST) -> bool:
    arguments = node.args.args if isinstance(node, ast.FunctionDef | ast.Lambda) else []
    return any(one.arg == "_" and (one.annotation is None or ast.unparse(one.annotation) != "Translate") for one in arguments)
