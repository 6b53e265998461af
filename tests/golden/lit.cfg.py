"""Golden IR tests: `// RUN:` lines of .snl files, checked with FileCheck."""
import lit.formats

config.name = "snlpc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".snl", ".test"]
config.excludes = ["Inputs"]
config.test_exec_root = lit_config.params["scratch"]
config.substitutions += [
    ("%snlpc", lit_config.params["snlpc"]),
    (r"\bFileCheck\b", lit_config.params["filecheck"] + " --dump-input-filter=error"),
    (r"\bnot\b(?= %snlpc| /| --crash)", lit_config.params["not"]),
]
