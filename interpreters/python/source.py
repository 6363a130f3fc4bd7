"""From source text to code: removes marks of editors and models, and reads a script's declarations.

Lines keep their numbers: a removed line is replaced by an empty one.
"""

import ast
import dis

AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
DECLARATIONS = ("INPUT_SCHEMA", "OUTPUT_SCHEMA")
FENCES = ("```", "~~~")

_Expr, _Module, _Expression = ast.Expr, ast.Module, ast.Expression
_compile = compile
_TREE = ast.PyCF_ONLY_AST


def bare(text):
    """The source without a byte order mark and without a fence around it."""
    if text[:1] == "\ufeff":
        text = text[1:]
    return _unfenced(text) if text[:1] in ("`", "~", "\n", "\r", " ", "\t") else text


def _unfenced(text):
    """Whether the source begins with a fence; Python itself never does."""
    fence = text.lstrip()[:3]
    if fence not in FENCES:
        return text
    lines = text.split("\n")
    first = next(number for number, line in enumerate(lines) if line.strip())
    lines[first] = ""
    for number in range(len(lines) - 1, first, -1):
        if lines[number].strip() == fence:
            del lines[number:]
            break
        if lines[number].strip():
            # The fence was left open, or is closed after the last line of code.
            lines[number] = lines[number].rstrip().removesuffix(fence)
            break
    return "\n".join(lines)


def compiled(text, file):
    """The script without its last statement if that is an expression, and that expression."""
    tree = _compile(text, file, "exec", _TREE)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, _Expr):
        return _compile(tree, file, "exec", AWAIT), None
    value = _compile(_Expression(last.value), file, "eval", AWAIT)
    del tree.body[-1]
    return (_compile(tree, file, "exec", AWAIT) if tree.body else None), value


def declared(text, file):
    """A script's declarations in its docstring and its constants, without running it."""
    tree = _compile(text, file, "exec", _TREE)
    code = _compile(tree, file, "exec", AWAIT)
    said = {"summary": ast.get_docstring(tree)}
    for statement in tree.body:
        for name in _names(statement):
            if name in said:
                raise _refused(name, statement, text, file, "is assigned twice")
            said[name] = _literal(name, statement, text, file)
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("STORE_") and instruction.argval in DECLARATIONS and instruction.argval not in said:
            where = instruction.positions
            raise _refused(instruction.argval, where, text, file, "is not assigned by a plain statement of its own")
    return {name.lower(): value for name, value in said.items()}


def _names(statement):
    """The declarations that a statement assigns."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    else:
        return []
    return [target.id for target in targets if isinstance(target, ast.Name) and target.id in DECLARATIONS]


def _literal(name, statement, text, file):
    try:
        return ast.literal_eval(statement.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise _refused(name, statement.value, text, file, "is computed") from None


def _refused(name, where, text, file, why):
    message = (
        f"{name} {why}; write it as a literal, as in {name} = {{\"type\": \"object\"}}, at the top level: "
        "it is read without running the script"
    )
    line, column = where.lineno, (where.col_offset or 0) + 1
    lines = text.split("\n")
    quoted = lines[line - 1] if line and line <= len(lines) else None
    return SyntaxError(message, (file, line, column, quoted))
