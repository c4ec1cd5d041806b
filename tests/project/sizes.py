"""Report what may have grown too large: long files, long functions, blocks with many keys."""

import ast
from pathlib import Path

from ftool.recipe.problems import all_keys

PACKAGE = Path(__file__).parents[2] / "ftool"
FILE_LINES, FUNCTION_LINES, BLOCK_KEYS = 400, 60, 30


def long_files() -> list[str]:
    """Return files with more lines than one reads at a time."""
    return [
        f"{module.relative_to(PACKAGE)}: {lines} lines"
        for module in sorted(PACKAGE.rglob("*.py"))
        if (lines := len(module.read_text(encoding="utf-8").splitlines())) > FILE_LINES
    ]


def long_functions() -> list[str]:
    """Return functions that do not fit on a screen."""
    return [
        f"{module.relative_to(PACKAGE)}: {node.name}: {lines} lines"
        for module in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]


def large_blocks() -> list[str]:
    """Return blocks of a recipe with more keys than a person keeps in mind."""
    blocks: dict[str, int] = {}
    for key in all_keys():
        block = key.rpartition(".")[0] or "the recipe"
        blocks[block] = blocks.get(block, 0) + 1
    return [f"{block}: {keys} keys" for block, keys in blocks.items() if keys > BLOCK_KEYS]


if __name__ == "__main__":
    for line in (*long_files(), *long_functions(), *large_blocks()):
        print(line)
