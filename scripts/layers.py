#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""layers.py [--self-test] - checks the shape of the tree: who includes whom, where #if and libc's names may
stand, how long a file may be.

Owns: the table of layers, as data. A rule that changes is changed here, in the first screen of this file.
--self-test shows every rule a tree that breaks it, and fails where a rule stays silent.
"""
import os
import re
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What a module may include: itself, and what is named here. Nothing includes test or bench.
CORE = ["sizeclass", "alloc/base", "alloc/os", "alloc"]
LAYERS = {
    "sizeclass": [],
    "alloc/base": ["sizeclass"],
    "alloc/os": ["sizeclass", "alloc/base"],
    "alloc": ["sizeclass", "alloc/base", "alloc/os"],
    "hash": CORE,
    "chan": CORE,
    "alloc/slice": CORE,
    "test": CORE + ["hash", "chan", "alloc/slice", "bench"],
    "bench": CORE + ["hash", "chan", "alloc/slice"],
    # Compiled into copies of the core that are worse on purpose, so it sees what is inside.
    "bench/planted": CORE,
}
# Of a module's headers, the only ones for the modules that stand on it (tests under test/white see all).
# options.h: the primitives have traces of their own in ASHLAR_DEBUG.
PUBLIC = {"alloc": {"alloc/alloc.h", "alloc/ashlar.h", "alloc/epoch.h", "alloc/options.h"}}
PUBLIC_BINDS = {"hash", "chan", "alloc/slice", "bench"}

SHIPPED = CORE + ["hash", "chan", "alloc/slice"]
MAX_LINES = 500
# #if may stand where the machine and the kernel differ, in the C headers, and for these conditions.
IF_FOLDERS = ("alloc/base/", "alloc/os/")
IF_FILES = {"alloc/ashlar.h", "alloc/epoch.h", "hash/hash.h", "chan/chan.h", "alloc/slice/growslice.h"}
IF_CONDITIONS = {"alloc/override_cxx.cc": re.compile(r"\b(ASHLAR_STATIC_ARCHIVE|__cpp_exceptions)\b"),
                 "alloc/slice/errors.h": re.compile(r"\b__cpp_exceptions\b"),
                 "hash/exceptions.h": re.compile(r"\b__cpp_exceptions\b"),
                 "hash/tags.h": re.compile(r"\b__(SSE2|x86_64)__\b")}
IF_ANYWHERE = re.compile(r"\b__cplusplus\b")
# Headers of the C++ library that bring no code of the C++ run time along.
STD_ALLOWED = {"algorithm", "array", "atomic", "bit", "climits", "compare", "concepts", "cstddef", "cstdint",
               "functional", "initializer_list", "iterator", "limits", "new", "numeric", "optional", "span", "tuple",
               "type_traits", "utility"}
# Header-only templates for programs that have a C++ run time; no file of the library includes them.
STD_FOR_USERS = {path: STD_ALLOWED | {"cstring", "memory", "ranges", "stdexcept"}
                 for path in ("alloc/slice/errors.h", "alloc/slice/view.h", "alloc/slice/block.h", "alloc/slice/slice.h", "alloc/slice/shared_slice.h")}
STD_FOR_USERS["hash/policies.h"] = STD_ALLOWED | {"string_view"}
LIBC_NAMES = ["malloc", "free", "calloc", "realloc", "reallocarray", "aligned_alloc", "posix_memalign", "memalign",
              "valloc", "pvalloc", "malloc_usable_size", "free_sized", "free_aligned_sized", "cfree", "mallinfo",
              "mallinfo2", "malloc_info", "malloc_stats", "malloc_trim", "mallopt", r"__libc_\w+"]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# A definition: the name at file scope with its parameters, no `;` before the brace, and no `.`, `->` or `::` before it.
DEFINES_LIBC = re.compile(
    r"^(?!\s*(?:return|else|typedef|using|if|while|for|//|\*|///)\b)[^;=()/]*?(?<![\w.:>])"
    r"(" + "|".join(LIBC_NAMES) + r")\s*\([^;]*\)[^;]*\{", re.M)
DEFINES_NEW = re.compile(r"^[^;/]*\boperator\s+(?:new|delete)\s*(?:\[\s*\])?\s*\([^;]*\)[^;]*\{", re.M)


def module_of(path):
    """The module that a path from the root belongs to, or None."""
    fitting = [m for m in LAYERS if path.startswith(m + "/")]
    return max(fitting, key=len) if fitting else None


def find_files(root):
    """Every text file that we write, as paths from the root."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not re.match(r"\.git$|__pycache__$", f) and
                            not (folder == root and re.match(r"build(-|$)", f)))
        for file in sorted(files):
            path = os.path.join(folder, file)
            if not os.path.islink(path):
                yield os.path.relpath(path, root)


def is_script(text):
    return text.startswith("#!")


def strip_comments(text):
    """Without comments and the contents of strings; the lines stay where they are."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
    return pattern.sub(lambda m: '""' if m[0][0] == '"' else "\n" * m[0].count("\n"), text)


def check_shape(path, text, problems):
    code = path.endswith((".h", ".cc", ".c", ".py", ".sh", ".mk")) or path == "Makefile" or is_script(text)
    lines = text.count("\n")
    if code and lines > MAX_LINES:
        problems.append(f"{path}: {lines} lines, more than {MAX_LINES}: split it")
    if code and "SPDX-License-Identifier: MIT" not in "".join(text.splitlines(True)[:3]):
        problems.append(f"{path}:1: no SPDX-License-Identifier: MIT on top")
    if re.match(r"#!.*python", text) and not text.startswith("#!/usr/bin/python3\n"):
        problems.append(f"{path}:1: python scripts start with #!/usr/bin/python3 (env may find another one)")


def check_includes(root, path, text, problems):
    """Reports forbidden includes; returns the includes of our own files."""
    module, ours = module_of(path), []
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, name = match.groups()
        where = f"{path}:{number}"
        if kind == "<":
            if module in SHIPPED and "." not in name and name not in STD_FOR_USERS.get(path, STD_ALLOWED) and "/" not in name:
                problems.append(f"{where}: <{name}> is not free of the C++ run time (STD_ALLOWED)")
            continue
        target = module_of(name)
        if target is None or ".." in name or not os.path.exists(os.path.join(root, name)):
            problems.append(f'{where}: "{name}" is no path from the root of the tree to a file of a module')
            continue
        ours.append(name)
        if target != module and target not in LAYERS[module]:
            problems.append(f"{where}: {module} may not include {target}")
        elif module in PUBLIC_BINDS and name not in PUBLIC.get(target, {name}):
            problems.append(f"{where}: {module} may include of {target} only {', '.join(sorted(PUBLIC[target]))}")
    return ours


def check_conditionals(path, text, problems):
    if module_of(path) not in SHIPPED or path.startswith(IF_FOLDERS) or path in IF_FILES:
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b(.*)", line)
        if not match:
            continue
        condition = match[2]
        allowed = IF_CONDITIONS.get(path)
        if IF_ANYWHERE.search(condition) or (allowed and allowed.search(condition)):
            continue
        problems.append(f"{path}:{number}: #if stands only in {', '.join(IF_FOLDERS)} and the public C headers")


def check_libc_names(path, text, problems):
    if module_of(path) not in SHIPPED or re.match(r"alloc/override_\w+\.cc$", path):
        return
    for pattern in (DEFINES_LIBC, DEFINES_NEW):
        for match in pattern.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            line = match[0].strip().splitlines()[0]
            problems.append(f"{path}:{number}: only alloc/override_*.cc defines libc's names: {line}")


def check_cycles(graph, problems):
    """Headers that include each other in a circle cannot be understood one after the other."""
    done, path = set(), []

    def visit(node):
        if node in path:
            problems.append("includes in a circle: " + " -> ".join(path[path.index(node):] + [node]))
            return
        if node in done:
            return
        path.append(node)
        for target in graph.get(node, []):
            visit(target)
        path.pop()
        done.add(node)

    for node in sorted(graph):
        visit(node)


def check(root):
    problems, graph = [], {}
    for path in find_files(root):
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
            text = f.read()
        check_shape(path, text, problems)
        if path.endswith((".h", ".cc", ".c")) and module_of(path):
            bare = strip_comments(text)
            graph[path] = check_includes(root, path, text, problems)
            check_conditionals(path, bare, problems)
            check_libc_names(path, bare, problems)
    check_cycles(graph, problems)
    return problems


HEAD = "// SPDX-License-Identifier: MIT\n"
# Trees that must be reported, each with a word of the report; and one that must not.
GOOD = {"sizeclass/s.h": HEAD, "alloc/alloc.h": HEAD + '#include <atomic>\n#include "sizeclass/s.h"\n// malloc(n) {\n',
        "alloc/x.cc": HEAD + "void f() { heap.free(p); if (q) { free(q); }\n  g(malloc(3)); }\n",
        "alloc/override_libc.cc": HEAD + "void* malloc(size_t n) { return 0; }\n",
        "alloc/override_cxx.cc": HEAD + "#ifdef ASHLAR_STATIC_ARCHIVE\n#endif\nvoid* operator new(size_t n) {}\n",
        "alloc/os/os.cc": HEAD + "#if defined(X)\n#endif\n", "chan/chan.h": HEAD + '#include "alloc/alloc.h"\n'}
BAD = [
    ("may not include alloc", {"sizeclass/t.h": HEAD + '#include "alloc/alloc.h"\n', "alloc/alloc.h": HEAD}),
    ("may not include chan", {"hash/h.h": HEAD + '#include "chan/c.h"\n', "chan/c.h": HEAD}),
    ("may not include alloc/os", {"alloc/base/b.h": HEAD + '#include "alloc/os/o.h"\n', "alloc/os/o.h": HEAD}),
    ("only alloc/alloc.h", {"hash/h.h": HEAD + '#include "alloc/span.h"\n', "alloc/span.h": HEAD}),
    ("no path from the root", {"alloc/a.cc": HEAD + '#include "b.h"\n', "alloc/b.h": HEAD}),
    ("C++ run time", {"alloc/a.cc": HEAD + "#include <string>\n"}),
    ("in a circle", {"alloc/a.h": HEAD + '#include "alloc/b.h"\n', "alloc/b.h": HEAD + '#include "alloc/a.h"\n'}),
    ("#if stands only", {"alloc/a.cc": HEAD + "#if defined(__x86_64__)\n#endif\n"}),
    ("#if stands only", {"alloc/override_cxx.cc": HEAD + "#ifdef OTHER\n#endif\n"}),
    ("libc's names: extern", {"alloc/a.cc": HEAD + 'extern "C" void* malloc(size_t n) {\n  return nullptr;\n}\n'}),
    ("libc's names: void*", {"alloc/a.cc": HEAD + "void* realloc(void* p,\n              size_t n) noexcept {\n}\n"}),
    ("libc's names: void free", {"alloc/a.cc": HEAD + "void free(void* p) { (void)p; }\n"}),
    ("libc's names: void*", {"alloc/a.cc": HEAD + "void* operator new[](size_t n) { return f(n); }\n"}),
    ("lines, more than", {"alloc/a.cc": HEAD + "\n" * MAX_LINES}),
    ("no SPDX", {"alloc/a.cc": "int x;\n"}),
    ("python scripts start", {"scripts/p": "#!/usr/bin/env python3\n# SPDX-License-Identifier: MIT\n"}),
]


def self_test():
    failures = []
    for expected, tree in [(None, GOOD)] + BAD:
        with tempfile.TemporaryDirectory() as root:
            for path, text in tree.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            problems = check(root)
        if expected is None and problems:
            failures.append(f"self-test: a good tree is reported: {problems}")
        if expected is not None and not any(expected in p for p in problems):
            failures.append(f"self-test: no report of '{expected}' for {sorted(tree)}, but {problems}")
    return failures


def main():
    problems = self_test() if sys.argv[1:] == ["--self-test"] else check(ROOT)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
